"""A store of version 0.1.0 is read, and its trials are not trained again while training gives the same results.

`tests/record` reads its folder.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from conftest import Inline
from evalbench import trial

DATA = Path(__file__).parent / "data" / "version_0_1_0"
COMMAND = (
    "-m", "optimizer=sgd,adam", "dataset=iris,diabetes", "num_seeds=3", "budget.epochs=3", "tracker=none",
    "evaluation.name=old", "evaluation.baseline=sgd", "+search=random", "search.num_trials=4", "cost.rounds=0",
)  # fmt: skip


@pytest.mark.slow
def test_the_command_of_an_old_store_trains_nothing_and_gives_the_same_results(
    inline: Inline, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "TRAINING_VERSION", 2)
    Path("outputs").mkdir()
    with closing(sqlite3.connect("outputs/store.sqlite")) as store:
        store.executescript((DATA / "store.sql").read_text())
        before = store.execute("SELECT * FROM trials ORDER BY id").fetchall()
    inline(*COMMAND)
    with closing(sqlite3.connect("outputs/store.sqlite")) as store:
        assert store.execute("SELECT * FROM trials ORDER BY id").fetchall() == before
    for table in ("results.csv", "defaults.csv", "tuning.csv", "curves.csv"):
        expected = (DATA / "report" / table).read_bytes().replace(b",stage,", b",look,").replace(b",pilot,", b",1,")
        written = pd.read_csv(Path("reports/old", table), dtype=str, keep_default_na=False)
        added = [name for name in ("epochs",) if table == "tuning.csv"]  # columns of later versions
        assert written.drop(columns=added).to_csv(index=False).encode() == expected, table
    old, new = (pd.read_csv(folder / "references.csv") for folder in (DATA / "report", Path("reports/old")))
    pd.testing.assert_frame_equal(old, new, rtol=0.01)  # computed anew, nearer to the optimum
