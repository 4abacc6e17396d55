"""The public API: an evaluation from Python is the one from the command line."""

import multiprocessing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import evalbench
from conftest import Inline
from evalbench.errors import InputError
from evalbench.models.mlp import MLP
from evalbench.workloads import Dataset, Kind

SMALL = ("budget.epochs=2", "num_seeds=3", "tracker=none", "cost.rounds=0")
SWEEP = ("optimizer=sgd,adam", "dataset=iris", "model.width=8", *SMALL)


def made(name: str) -> Dataset:
    """Return a data set of 40 rows, as a user makes one of arrays."""
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    return Dataset(
        name, Kind.BINARY, rows, (rows[:, 0] > 0).astype(np.int64), ("a", "b", "c"), np.ones(3, bool), ("no", "yes")
    )


@pytest.mark.slow
def test_it_is_the_evaluation_of_the_command_line_also_if_its_cells_train_in_processes(
    workspace: Path, inline: Inline
) -> None:
    inline("-m", *SWEEP, "reports=typed", "store.url=sqlite:///typed.sqlite")
    (typed,) = (workspace / "typed").glob("sweep-*")
    evaluation = evalbench.evaluate(SWEEP, workers=1)
    assert evaluation.folder == Path("reports") / typed.name
    assert (evaluation.folder / "results.csv").read_bytes() == (typed / "results.csv").read_bytes()
    assert evaluation.outcome.num_trials == len(evaluation.results) == 6
    assert list(evaluation.report.verdicts["technique"]) == ["sgd", "adam"]
    assert evaluation._repr_markdown_() == evaluation.report._repr_markdown_()
    assert "evalbench -m optimizer=sgd,adam dataset=iris" in (evaluation.folder / "report.md").read_text()


@pytest.mark.slow
def test_networks_and_data_sets_may_be_objects(workspace: Path) -> None:
    evaluation = evalbench.evaluate(
        SMALL,
        models={"small": partial(MLP, width=4, depth=1), "large": partial(MLP, width=16, depth=1)},
        datasets={"my data": made("mine"), "others": pd.DataFrame({"x": range(40), "y": ["a", "b"] * 20})},
        baseline="large",
        num_seeds=2,
        name="mine",
    )
    assert evaluation.folder == Path("reports/mine")
    results = evaluation.results
    assert set(results["state"]) == {"COMPLETE"}
    assert results.groupby(["technique", "workload"]).size().to_dict() == {
        (technique, workload): 2 for technique in ("small", "large") for workload in ("my data", "others")
    }
    assert evaluation.report.verdicts["technique"][0] == "large"  # the baseline comes first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overrides": ["optimizer=adan"]}, "optimizer has no option 'adan': choose one of adam,"),
        ({"overrides": ["num_seed=3"]}, "there is no key 'num_seed': did you mean 'num_seeds'?"),
        (
            {"overrides": ["model.depth=range(1,1)"]},
            "the sweep must have at least one cell, but one of its lists is empty",
        ),
        ({"overrides": "optimizer=sgd,adam"}, "overrides must be a list of texts, not 'optimizer=sgd,adam'"),
        ({"overrides": [3]}, r"overrides must be a list of texts, not \[3\]"),
        ({"overrides": ["-m", "optimizer=sgd,adam"]}, "overrides must be KEY=VALUE, not '-m'"),
        ({"overrides": ["dataset=iris"], "datasets": made("x")}, "dataset must be given once"),
        ({"overrides": ["model=cnn"], "models": {"mine": MLP}}, "model must be given once"),
        ({"workers": -1}, "workers must be a whole number of at least 0, not -1"),
        ({"datasets": 3}, "datasets must be frames or arrays by name, or .*Dataset, one or more, not int"),
        ({"models": [MLP]}, "models must be networks by name"),
        ({"models": {1: MLP}}, "models: a name must have letters, digits, _ and - only, not 1"),
        ({"models": {}}, "models must be networks by name, at least one"),
        ({"models": {"mlp": MLP}}, "models: 'mlp' is the name of a model that is there already"),
        ({"models": {"a b": MLP}}, "models: a name must have letters, digits, _ and - only, not 'a b'"),
        ({"models": {"mine": lambda in_features, out_features: None}}, "models: mine must be a class or function of a"),
        ({"models": {"mine": partial(MLP, 3)}}, "models: mine must be .* keyword arguments"),
        ({"models": {"mine": partial(MLP, width=np.ones(2))}}, "models: mine must have arguments that are plain"),  # type: ignore[arg-type]
        ({"datasets": [np.ones((3, 3))]}, r".*evalbench\.workloads\.Dataset, one or more, not ndarray"),
        ({"datasets": {"x": "y"}}, "x: data must be a frame of pandas or Polars, .*, not str"),
        ({"datasets": made("x"), "workers": 2}, "workers must be 0 with data sets that are objects, not 2"),
        ({"overrides": ["trainer.devices=2", "trainer.split=members"]}, "trainer.devices must be 1 in the process"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(workspace: Path, arguments: Mapping[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}") as refused:
        evalbench.evaluate(**arguments)
    assert "\n" not in str(refused.value)
    assert not list(workspace.rglob("report.md"))


def test_a_worker_that_reads_the_script_trains_nothing(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(InputError, match="call it below if __name__ == '__main__':"):
        evalbench.evaluate(SWEEP, workers=1)


def test_names_are_listed_and_others_are_missing() -> None:
    assert set(dir(evalbench)) == {
        "Comparison", "Evaluation", "Report", "__version__", "compare", "evaluate", "judge", "load_weights"
    }  # fmt: skip
    assert all(getattr(evalbench, name) is not None for name in dir(evalbench))
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        evalbench.train  # noqa: B018
