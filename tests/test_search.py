import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import CmaEsSampler
from optuna.storages.journal import JournalFileBackend

from conftest import compose_config
from evalbench import search
from evalbench.config import SearchConfig
from evalbench.errors import ConfigError
from evalbench.search import OptunaStudy
from evalbench.trial import Candidate, CandidateResult

SAMPLERS = ["random", "tpe", "gp", "cma_es", "qmc", "grid"]


def searched(*overrides: str) -> SearchConfig:
    config = compose_config("search.num_candidates=12", "search.batch=4", *overrides).search
    assert config is not None
    return config


def opened(path: Path, config: SearchConfig, known: Sequence[Candidate] = ()) -> OptunaStudy:
    return OptunaStudy("study", config, ["maximize"], str(path / "s.journal"), lambda number: number + 100, known)


def score(values: Any) -> CandidateResult:
    return CandidateResult((-abs(values["optimizer.lr"] - 0.01) - values["optimizer.batch_size"] / 1000,))


def run(path: Path, config: SearchConfig, rounds: int, known: Sequence[Candidate] = ()) -> list[Candidate]:
    """Return all candidates after some batches; the first of them may be known."""
    study, found = opened(path, config, known), []
    for _ in range(rounds):
        batch = study.ask()
        study.tell({candidate.number: score(candidate.values) for candidate in batch})
        found += batch
    return found


def copied(path: Path) -> list[tuple[str, float | None]]:
    """Return what Optuna's tools see."""
    storage = search.open_storage(str(path / "s.journal"))
    (name,) = optuna.get_all_study_names(storage)
    return [(trial.state.name, trial.value) for trial in optuna.load_study(study_name=name, storage=storage).trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.slow
def test_a_study_that_was_broken_off_and_forgotten_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: str) -> None:
    config = searched(f"+search={sampler}")
    whole = run(tmp_path / "whole", config, 3)
    assert len({str(candidate.values) for candidate in whole}) == 12
    first = run(tmp_path / "cut", config, 2)
    assert run(tmp_path / "cut", config, 3, first) == whole  # another process, the same storage
    assert run(tmp_path / "lost", config, 3, first) == whole  # the storage is lost, the store is not
    assert copied(tmp_path / "cut") == copied(tmp_path / "whole") == copied(tmp_path / "lost")


@pytest.mark.parametrize("sampler", ["tpe", "cma_es"])
@pytest.mark.slow
def test_a_study_that_grew_has_the_candidates_of_one_that_was_large_at_once(tmp_path: Path, sampler: str) -> None:
    whole = run(tmp_path / "whole", searched(f"+search={sampler}"), 3)
    small = run(tmp_path / "grown", searched(f"+search={sampler}", "search.num_candidates=6"), 2)
    assert small == whole[:6]  # a batch and a half
    assert run(tmp_path / "grown", searched(f"+search={sampler}"), 3, small) == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.slow
def test_every_candidate_lies_in_the_space(tmp_path: Path, sampler: str) -> None:
    for candidate in run(tmp_path, searched(f"+search={sampler}"), 2):
        assert list(candidate.values) == [
            "optimizer.lr",
            "optimizer.betas.0",
            "optimizer.betas.1",
            "optimizer.batch_size",
        ]
        assert 1e-4 <= candidate.values["optimizer.lr"] <= 0.1
        assert candidate.values["optimizer.batch_size"] in (16, 32, 64)


class Planted:
    """Says when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("unpickled"),)


def test_no_pickle_is_read_from_where_another_user_may_have_written_and_none_is_left_there(workspace: Path) -> None:
    config = searched("+search=cma_es", "search.num_candidates=24")
    first = run(workspace, config, 4)
    journal = workspace / "s.journal"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    trials = [line for line in lines if "system_attrs" in line]
    assert [trial["system_attrs"] for trial in trials] == 16 * [{}]
    for trial in trials:
        trial["system_attrs"] = {f"{CmaEsSampler()._attr_key_optimizer}:0": pickle.dumps(Planted()).hex()}
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert run(workspace, config, 5, first) == run(workspace / "other", config, 5)
    assert not Path("unpickled").exists()


def test_a_copy_that_says_something_else_is_made_anew(tmp_path: Path) -> None:
    config = searched("+search=random")
    run(tmp_path, searched("+search=random", "search.batch=3"), 1)
    found = run(tmp_path, config, 1)
    assert copied(tmp_path) == [("COMPLETE", pytest.approx(score(one.values).values[0])) for one in found]  # type: ignore[index]


def test_a_copy_that_cannot_be_written_costs_a_warning_and_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = searched("+search=random")
    study = opened(tmp_path, config)
    with monkeypatch.context() as full:
        full.setattr(JournalFileBackend, "append_logs", lambda *_: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
        study.tell({one.number: score(one.values) for one in study.ask()})
    assert "s.journal ([Errno 28] No space left on device): nothing is lost" in caplog.text
    study.tell({one.number: score(one.values) for one in study.ask()})
    assert len(copied(tmp_path)) == 8


def test_a_database_for_the_copy_that_cannot_be_opened_is_refused_before_anything_trains() -> None:
    with pytest.raises(ConfigError, match=r"^search\.storage must be a database that can be opened"):
        search.check(searched("+search=random", "search.storage='sqlite:////proc/none/studies.sqlite'"))


@pytest.mark.slow
def test_half_a_line_that_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    config = searched("+search=random")
    found = run(tmp_path, config, 1)
    with (tmp_path / "s.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    run(tmp_path, config, 2, found)
    assert len(copied(tmp_path)) == 8


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
    first, second, third, fourth = (one.number for one in study.ask())
    study.tell(
        {
            first: CandidateResult((0.25,), pruned=True),
            second: CandidateResult(None),
            third: CandidateResult((1,)),
            fourth: CandidateResult(None),
        }
    )
    assert copied(tmp_path) == [("PRUNED", 0.25), ("FAIL", None), ("COMPLETE", 1), ("FAIL", None)]


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


@pytest.mark.slow
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
