"""Stored identities, written down: a change of one of them would train every trial of that kind anew."""

from pathlib import Path

import pytest

from conftest import make_cell
from evalbench.seeds import Phase
from evalbench.tuning import Study

SEARCH = (
    "dataset=iris",
    "optimizer=muon",
    "+optimizer.clip_norm=1.5",
    "schedule=cosine",
    "+search=random",
    "search.pruning={eta: 2, first_rung: 1}",
    "+search.space.model.width={choices: [8, 16]}",
)
VALUES = {"optimizer.lr": 0.01, "optimizer.others.lr": 0.002, "optimizer.batch_size": 16, "model.width": 8}


@pytest.mark.parametrize(
    ("overrides", "trial_id", "cell_id"),
    [
        ("dataset=iris optimizer=sgd", "985b54d726fb4ef651ce", "9a508d4c66bd8a25015b"),
        (
            "dataset=moons optimizer=muon +optimizer.clip_norm=1.5 schedule=one_cycle loss.label_smoothing=0.1"
            " budget=steps seed=7",
            "014e891434c6691b3f9f",
            "3a8ea9976d6086caa050",
        ),
        (
            "dataset=diabetes activation=leaky_relu activation.gain=1.3 trainer.precision=64-true +budget.patience=3"
            " optimizer=bgd",
            "5d6cf7a4ec3544bd7670",
            "98bfb0263f4d665b1996",
        ),
        (
            "dataset=csv dataset.path=t.csv dataset.name=t schedule=warmup",
            "c9ba3d287aae7184d6e1",
            "79c08afc0e97f2140a2e",
        ),
        ("dataset=digits model=cnn split.test=0.3", "0822102ff8ff2d5ed28e", "bc0f9763050286706ae2"),
    ],
)
def test_a_measured_trial(overrides: str, trial_id: str, cell_id: str, workspace: Path) -> None:
    rows = [f"{i},{i * i % 7},{'no' if i % 3 else 'yes'}" for i in range(40)]
    (workspace / "t.csv").write_text("\n".join(["a,b,y", *rows, ""]))
    cell = make_cell(*overrides.split(" "))
    assert (cell.spec(2).trial_id, cell.id) == (trial_id, cell_id)


def test_the_trials_of_a_search() -> None:
    cell = make_cell(*SEARCH)
    tuned, best = cell.at(VALUES, Phase.TUNE), cell.at(VALUES, study=1)
    assert cell.id == "b93c39a5698040939672"
    assert (tuned.spec(1).trial_id, tuned.id) == ("9e86c14aa6cee269686d", "a28c4e579388ad9b6635")
    assert (best.spec(1).trial_id, best.id) == ("eaceab88a66dcee52c7d", "d9a2e6a12b36d8b45e06")


def test_studies() -> None:
    cell = make_cell(*SEARCH)
    studies = [Study(cell, number) for number in (0, 1)]
    assert [study.id for study in studies] == ["62c27b7cd324adf665e0", "fa847d69456c92e26d2a"]
    assert studies[0].unchosen[0].trial_id == "1ef23b4eac2b07a4c54f"
    other = make_cell("dataset=iris", "optimizer=adam", "+search=tpe")
    assert Study(other, 0).id == "57832b85e97daebc2467"


def test_the_trials_of_a_variance_design() -> None:
    cell = make_cell("dataset=iris", "optimizer=sgd", "evaluation.variance=3")
    assert list(cell.crossed)[1] == "e0585c70e06f8177a929"
    assert cell.spec(2).trial_id == "985b54d726fb4ef651ce"  # of a seed, as without the design
    assert {trial.cell_id for trial in cell.trials.values()} == {cell.id}
    assert (len(cell.crossed), len(cell.specs), len(cell.trials)) == (27, 10, 37)
