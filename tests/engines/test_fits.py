"""Fits side by side give what fits one after another give."""

import os
import signal
import time
from pathlib import Path

import pytest

import evalbench.engines.fits
from conftest import make_cell
from contracts.engine import trained
from evalbench.engines import Outlets, of
from evalbench.errors import JobLostError, StorageError
from evalbench.processes import forks

CHOICES = {
    "sklearn": ("dataset=wine", "model=random_forest", "model.n_estimators=3"),
    "lightning": ("dataset=wine", "budget.epochs=1", "model=lightning", "model._target_=peoples_modules.Own"),
}


@pytest.mark.slow
@pytest.mark.parametrize("overrides", CHOICES.values(), ids=CHOICES.keys())
def test_fits_side_by_side_give_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    cell = make_cell(*overrides, "save=best")
    alone = trained(cell, cell.entrants(0, 1, 2))
    monkeypatch.setattr(evalbench.engines.fits, "_at_once", lambda count: 2)
    assert trained(cell, cell.entrants(0, 1, 2)) == alone
    entrants, outlets = cell.entrants(0, 1, 2), Outlets(keep_in=tmp_path)
    results = list(of(cell.config).train_all(cell.config, cell.dataset, entrants, cell.id, outlets))
    assert len(results) == 3
    best = min(alone, key=lambda seed: min(point.rank for point in alone[seed].curve))
    assert [path.name for path in tmp_path.iterdir()] == [f"s{best}"]


def odd(task: int) -> int:
    if task == 1:
        raise ValueError("my own error")
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 3:
        raise StorageError("the weights", "no space")
    return os.getpid()


def test_an_error_or_a_death_ends_one_task() -> None:
    ended = dict(forks.each([0, 1, 2, 3, 4], odd, 2))
    assert ended[0] != ended[4]
    assert os.getpid() not in ended.values()
    assert isinstance(ended[1], ValueError)
    assert "in odd" in ended[1].__notes__[0]
    assert isinstance(ended[2], JobLostError)
    assert str(ended[2]) == "its process died with signal 9 (possibly out of memory)"
    assert isinstance(ended[3], StorageError)
    assert "the weights: no space" in str(ended[3])


def test_processes_end_with_whoever_asked_for_them() -> None:
    def sleep(task: int) -> int:
        time.sleep(0 if task == 0 else 600)
        return os.getpid()

    running = forks.each([0, 1], sleep, 2)
    next(running)
    running.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
