from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from conftest import compose_config
from evalbench import search
from evalbench.config import SearchConfig
from evalbench.errors import ConfigError
from evalbench.search import Study
from evalbench.trial import Candidate, Outcome

SAMPLERS = ["random", "tpe", "gp", "cma_es", "qmc", "grid"]
Known = Sequence[tuple[Candidate, Outcome | None]]


def searched(*overrides: str) -> SearchConfig:
    config = compose_config("search.num_trials=12", "search.batch=4", *overrides).search
    assert config is not None
    return config


def opened(path: Path, config: SearchConfig, known: Known = ()) -> Study:
    return Study("study", config, ["maximize"], str(path / "s.journal"), lambda number: number + 100, known)


def score(values: Any) -> Outcome:
    return Outcome((-abs(values["optimizer.lr"] - 0.01) - values["optimizer.batch_size"] / 1000,))


def run(path: Path, config: SearchConfig, rounds: int, known: Known = ()) -> list[tuple[Candidate, Outcome | None]]:
    """Return all candidates after some batches, on top of what is known."""
    study, found = opened(path, config, known), dict(enumerate(known))
    for _ in range(rounds):
        for candidate in study.waiting() or study.ask():
            outcome = score(candidate.values)
            study.tell(candidate, outcome)
            found[candidate.number] = (candidate, outcome)
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_was_broken_off_and_forgotten_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: str) -> None:
    config = searched(f"+search={sampler}")
    whole = run(tmp_path / "whole", config, 3)
    assert len({str(candidate.values) for candidate, _ in whole}) == 12
    first = run(tmp_path / "cut", config, 2)
    assert run(tmp_path / "cut", config, 1, first) == whole  # another process, the same storage
    assert run(tmp_path / "lost", config, 3, first) == whole  # the storage is lost, the store is not


@pytest.mark.parametrize("sampler", ["tpe", "cma_es"])
def test_a_study_that_grew_has_the_candidates_of_one_that_was_large_at_once(tmp_path: Path, sampler: str) -> None:
    whole = run(tmp_path / "whole", searched(f"+search={sampler}"), 3)
    small = run(tmp_path / "grown", searched(f"+search={sampler}", "search.num_trials=6"), 2)
    assert small == whole[:6]  # a batch and a half
    assert run(tmp_path / "grown", searched(f"+search={sampler}"), 3, small) == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_candidate_lies_in_the_space(tmp_path: Path, sampler: str) -> None:
    for candidate, _ in run(tmp_path, searched(f"+search={sampler}"), 2):
        assert list(candidate.values) == [
            "optimizer.lr",
            "optimizer.betas.0",
            "optimizer.betas.1",
            "optimizer.batch_size",
        ]
        assert 1e-4 <= candidate.values["optimizer.lr"] <= 0.1
        assert candidate.values["optimizer.batch_size"] in (16, 32, 64)


def test_the_store_is_right_where_the_two_disagree(tmp_path: Path) -> None:
    config = searched("+search=random")
    found = run(tmp_path, config, 2)
    other = [(candidate, Outcome((7.0,))) for candidate, _ in found]
    study = opened(tmp_path, config, other)
    assert study.count == 0  # asked anew, and told anew
    assert [candidate for candidate, _ in other] == study.ask() + study.ask()
    assert opened(tmp_path, config, []).count == 0


def test_half_a_line_that_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    config = searched("+search=random")
    found = run(tmp_path, config, 1)
    with (tmp_path / "s.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    assert opened(tmp_path, config, found).ask()
    assert opened(tmp_path, config, found).count == 0  # that one was never recorded: it is asked again


@pytest.mark.parametrize("line", [b"nonsense\n{}\n", b'{"op_code": 99}\n'])
def test_a_journal_that_cannot_be_read_is_set_aside_and_made_anew(tmp_path: Path, line: bytes) -> None:
    config = searched("+search=random")
    found = run(tmp_path, config, 1)
    path = tmp_path / "s.journal"
    path.write_bytes(line + path.read_bytes())
    assert run(tmp_path, config, 3, found) == run(tmp_path / "whole", config, 3)
    assert path.with_name("s.journal.broken").read_bytes().startswith(line)


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_taken_over(workspace: Path) -> None:
    folder = Path("outputs")
    opened(folder, searched("+search=random"))
    search.open_storage("outputs/s.journal")._backend._lock.acquire()  # type: ignore[attr-defined]
    assert opened(folder, searched("+search=random")).count == 0


def test_pruned_and_failed_candidates_are_so_in_optuna_too(tmp_path: Path) -> None:
    study = opened(tmp_path, searched("+search=tpe"))
    one, two, _, _ = study.ask()
    study.tell(one, Outcome((0.25,), pruned=True))
    study.tell(two, Outcome(None))
    (kept,) = optuna.get_all_study_summaries(storage=search.open_storage(str(tmp_path / "s.journal")))
    trials = optuna.load_study(
        study_name=kept.study_name, storage=search.open_storage(str(tmp_path / "s.journal"))
    ).trials
    assert [(trial.state.name, trial.value) for trial in trials] == [
        ("PRUNED", 0.25),
        ("FAIL", None),
        ("RUNNING", None),
        ("RUNNING", None),
    ]


def test_a_grid_ends_when_it_has_been_walked(tmp_path: Path) -> None:
    config = searched("+search=grid", "optimizer=sgd", "search.sampler.points=4")
    assert search.num_candidates(config) == 4
    study = opened(tmp_path, config)
    lrs = sorted(candidate.values["optimizer.lr"] for candidate in study.ask())
    assert lrs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


@pytest.mark.parametrize(
    "target", ["optuna.samplers.NoSuchSampler", "optuna.pruners.MedianPruner", "evalbench.search.num_candidates"]
)
def test_what_is_no_sampler_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=r"search\.sampler"):
        search.check(searched("+search=random", f"search.sampler._target_={target}"))


def test_what_would_only_draw_at_random_is_refused() -> None:
    choices = ("optimizer=sgd", "++optimizer.space.lr={choices: [0.1, 1]}")
    search.check(searched("+search=cma_es", "optimizer=sgd"))
    with pytest.raises(ConfigError, match=r"search\.space must have a range of numbers"):
        search.check(searched("+search=cma_es", *choices))


def test_importance_finds_the_hyperparameter_that_matters() -> None:
    space = {"a": {"low": 0.0, "high": 1.0}, "b": {"low": 0.0, "high": 1.0}}
    finished = [({"a": n / 31, "b": n * 7 % 31 / 31}, (n / 31) ** 2) for n in range(32)]
    shares = search.importance(space, finished, maximize=True)
    assert shares["a"][0] > 0.8
    assert sum(share for share, _ in shares.values()) == pytest.approx(1)
    for few in (finished[:1], [(params, 1.0) for params, _ in finished]):
        assert search.importance(space, few, maximize=True) == {}


@pytest.mark.slow
def test_the_error_of_an_importance_is_how_much_it_varies_from_search_to_search() -> None:
    space = {"a": {"low": 0.0, "high": 1.0}, "b": {"low": 0.0, "high": 1.0}}
    draw = np.random.default_rng(0).random
    searches = [[({"a": a, "b": b}, a + b) for a, b in draw((16, 2))] for _ in range(12)]
    found = [search.importance(space, finished, maximize=True)["a"] for finished in searches]
    assert np.std([share for share, _ in found]) == pytest.approx(np.mean([error for _, error in found]), rel=0.5)


def test_studies_lie_beside_the_store() -> None:
    assert search.default_storage("sqlite:///outputs/store.sqlite") == "outputs/studies.journal"
    assert search.default_storage("sqlite:////data/store.sqlite") == "/data/studies.journal"
    assert search.default_storage("postgresql+psycopg://host/x") == "postgresql+psycopg://host/x"
