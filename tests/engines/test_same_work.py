"""The engines beside each other on the same work: the same scores in one report."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from conftest import Inline

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

folder = Path(sys.argv[1])
train, validation, test = (np.genfromtxt(folder / f"{part}.csv", delimiter=",", names=True)
                           for part in ("train", "validation", "test"))
names = [name for name in train.dtype.names if name in test.dtype.names]
rows = lambda table: np.column_stack([table[name] for name in names])
model = LogisticRegression(max_iter=1000).fit(rows(train), train["target"].astype(int))
for part, table in (("validation", validation), ("test", test)):
    header = ",".join(f"p{label}" for label in model.classes_)
    np.savetxt(folder / f"{part}_predictions.csv", model.predict_proba(rows(table)), "%.17g", ",", header=header,
               comments="")
"""
MODELS = {
    "in_cohort": "_target_: peoples_modules.net",
    "in_lightning": "engine: lightning\n_target_: peoples_modules.Own\nbatch_size: 32",
    "in_script": f"""
engine: command
command: [{sys.executable}, fit.py, "{{data}}"]
technique: null
result: stdout
limit: null
folder: outputs/commands
""",
}


@pytest.mark.slow
def test_engines_give_the_same_scores_for_the_same_work_in_one_report(inline: Inline, workspace: Path) -> None:
    (workspace / "fit.py").write_text(SCRIPT)
    (workspace / "mine/model").mkdir(parents=True)
    for name, text in MODELS.items():
        (workspace / "mine/model" / f"{name}.yaml").write_text(f"{text}\n")
    optimizer = ("optimizer=minibatch_sgd", "optimizer.lr=0.05", "optimizer.batch_size=32")
    inline(
        "--config-dir", "mine", "-m", "model=in_cohort,in_lightning,ridge,in_script", "dataset=wine", *optimizer,
        "budget.epochs=3", "num_seeds=2", "tracker=none", "cost.rounds=0", "evaluation.name=it",
    )  # fmt: skip
    table = pd.read_csv(workspace / "reports/it/results.csv")
    assert set(table["state"]) == {"COMPLETE"}
    losses = table.pivot(index="seed", columns="technique", values="test/log_loss")
    assert losses["in_lightning"].tolist() == pytest.approx(losses["in_cohort"].tolist(), rel=1e-3)
    assert losses["in_script"].tolist() == pytest.approx(losses["ridge"].tolist(), rel=1e-3)
    report = (workspace / "reports/it/report.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in report for name in ("in_cohort", "in_lightning", "ridge", "in_script"))
