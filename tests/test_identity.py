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
        ("dataset=iris optimizer=sgd", "5cb2fe74b2d184eb18b7", "a1dbd8d6651391a41751"),
        (
            "dataset=moons optimizer=muon +optimizer.clip_norm=1.5 schedule=one_cycle loss.label_smoothing=0.1"
            " budget=steps seed=7",
            "79da9ccb4c819f78fb38",
            "1f701eeda336cc58907a",
        ),
        (
            "dataset=diabetes activation=leaky_relu activation.gain=1.3 trainer.precision=64-true +budget.patience=3"
            " optimizer=bgd",
            "d1a1c7beb978e959a31d",
            "f886dea7082ed7cb5203",
        ),
        (
            "dataset=csv dataset.path=t.csv dataset.name=t schedule=warmup",
            "171328f62d5ef9f29efc",
            "c5773350986367acf6c0",
        ),
        ("dataset=digits model=cnn split.test=0.3", "60de8cfc147d7b25425d", "b0c9b416303684aec40e"),
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
    assert cell.id == "c77d6368d9239bc65ca6"
    assert (tuned.spec(1).trial_id, tuned.id) == ("d01e9a37d14d9d7bf15e", "ce9bd3574a5c513212f1")
    assert (best.spec(1).trial_id, best.id) == ("caba9bc809feca891572", "7d06d7806f5aa61f4f82")


def test_studies() -> None:
    cell = make_cell(*SEARCH)
    studies = [Study(cell, number) for number in (0, 1)]
    assert [study.id for study in studies] == ["d65d49040b0a627c0f70", "455b34add02078e2177e"]
    assert studies[0].unchosen[0].trial_id == "4ff6c217e19bdd1c0a19"
    other = make_cell("dataset=iris", "optimizer=adam", "+search=tpe")
    assert Study(other, 0).id == "2b0b2d4c483e1b326358"


def test_the_trials_of_a_variance_design() -> None:
    cell = make_cell("dataset=iris", "optimizer=sgd", "evaluation.variance=3")
    assert list(cell.crossed)[1] == "8fcb20c3fe2a00a4d1b8"
    assert cell.spec(2).trial_id == "5cb2fe74b2d184eb18b7"  # of a seed, as without the design
    assert {trial.cell_id for trial in cell.trials.values()} == {cell.id}
    assert (len(cell.crossed), len(cell.specs), len(cell.trials)) == (27, 10, 37)
