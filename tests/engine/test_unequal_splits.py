"""Splits whose parts differ in size from seed to seed: each trial and reference is what it is alone."""

from pathlib import Path

import pytest

from conftest import make_cell
from evalbench.cell import REFERENCES, Cell
from evalbench.engine import training
from evalbench.errors import ConfigError
from evalbench.evaluation.plan import Plan
from evalbench.trial import State, TrialResult

SEEDS = range(4)


@pytest.fixture
def cell(workspace: Path) -> Cell:
    """A table of persons with 3 to 30 rows each."""
    sizes = [30, 3, 8, 5, 3, 3, 14, 3, 9, 4, 3, 17]
    persons = [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rows = [f"{person},{i % 7},{i % 5},{'no' if (i % 7) * (i % 5) < 6 else 'yes'}" for i, person in enumerate(persons)]
    (workspace / "t.csv").write_text("\n".join(["person,a,b,y", *rows, ""]))
    return make_cell("dataset=csv", "dataset.path=t.csv", "dataset.group=person", "budget.epochs=2", "model.width=8")


@pytest.mark.slow
def test_a_trial_is_the_same_beside_trials_of_other_sizes(cell: Cell) -> None:
    sizes = {len(cell.split(seed).train) for seed in SEEDS}
    assert len(sizes) > 1
    trained = list(training.train_all(cell.config, cell.dataset, cell.entrants(*SEEDS), cell.id))
    assert len(trained) == len({tuple(map(len, vars(cell.split(seed)).values())) for seed in SEEDS})
    together: dict[int, TrialResult] = {}
    for entrants, results in trained:
        assert not isinstance(results, Exception)
        together |= {entrant.seed: result for entrant, result in zip(entrants, results, strict=True)}
    for seed in SEEDS:
        (alone,) = training.train(cell.config, cell.dataset, cell.entrants(seed))
        assert (alone.state, alone.num_train) == (State.COMPLETE, len(cell.split(seed).train))
        assert together[seed] == alone


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_is_the_same_beside_splits_of_other_sizes(cell: Cell, name: str) -> None:
    splits = {seed: cell.split(seed) for seed in SEEDS}
    together = REFERENCES[name](cell.dataset, splits)
    assert together == {seed: REFERENCES[name](cell.dataset, {seed: splits[seed]})[seed] for seed in SEEDS}


def test_techniques_are_not_compared_on_other_rows() -> None:
    configs = [make_cell("dataset=iris", f"split={method}").config for method in ("random", "stratified")]
    with pytest.raises(ConfigError, match=r"^split must be the same in all cells, not 'random, stratified'"):
        Plan.of(configs)
