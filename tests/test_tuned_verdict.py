"""A planted case: a default that is a hundred times too small must not decide against a technique that was tuned."""

from pathlib import Path

import pytest

from conftest import compose_config
from evalbench import tuning
from evalbench.config import parse_plain
from evalbench.evaluation.conclude import conclude
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.record.folder import load
from evalbench.report.analysis.findings import JudgedFindings, find
from evalbench.statistics.verdicts import Quality
from evalbench.store import Store

SHARED = (
    "evaluation.name=planted",
    "evaluation.factor=optimizer",
    "evaluation.baseline=minibatch_sgd",
    "evaluation.question=Does a bad default decide?",
    "budget.epochs=5",
    "num_seeds=6",
    "+search=random",
    "search.num_candidates=8",
    "optimizer.space.batch_size=null",
    "cost.rounds=0",
)
TECHNIQUES = {"minibatch_sgd": (), "adam": ("optimizer.lr=1.0e-5", "optimizer.space.betas=null")}  # 0.001 is Adam's own


@pytest.mark.slow
def test_a_technique_with_a_bad_default_loses_untuned_and_does_not_lose_tuned(workspace: Path) -> None:
    configs = []
    for dataset in ("breast_cancer", "iris", "wine"):
        for technique, own in TECHNIQUES.items():
            choice = {"optimizer": technique, "dataset": dataset}
            config = compose_config(*SHARED, *(f"{key}={value}" for key, value in choice.items()), *own)
            configs.append(parse_plain(config.tree, config.choices, choice))
    plan, store = Plan.of(configs), Store("sqlite:///outputs/store.sqlite")
    link(plan, store, "command")
    for cell in plan.cells:
        tuning.run(cell, store)
    outcome = conclude(plan, store)
    assert outcome.page is not None
    found = find(load(outcome.page.parent))
    assert isinstance(found, JudgedFindings)
    assert found.tuned is not None
    assert found.tuned.defaults is not None
    assert found.tuned.defaults.verdict("adam").quality is Quality.INFERIOR
    assert found.judged.verdict("adam").quality not in (Quality.INFERIOR, Quality.WORSE)
    assert "What tuning changed in the verdicts" in outcome.page.read_text()
