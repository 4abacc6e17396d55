"""A part that changes batches: what its line in `ON_BATCH` gives it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from conftest import make_cell
from evalbench import draws, parts
from evalbench.engine import training
from evalbench.engine.checks import check
from evalbench.engine.cohort import Cohort
from evalbench.errors import ConfigError
from evalbench.parts.hooks import BatchHook


class Noise(BatchHook):
    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        return inputs + draws.normal(keys, inputs.shape[2:]), targets


def add_to(monkeypatch: pytest.MonkeyPatch, group: str, hook: BatchHook | ConfigError) -> None:
    def make(*_: Any) -> BatchHook:
        if isinstance(hook, ConfigError):
            raise hook
        return hook

    monkeypatch.setattr(parts, "ON_BATCH", {group: make, **parts.ON_BATCH})


def cohort(*seeds: int) -> Cohort:
    cell = make_cell("dataset=iris", "model.width=4", "loss.class_weights=balanced")
    return training.make_cohort(cell.config, cell.dataset, cell.entrants(*seeds))[0]


def test_its_noise_is_of_its_own_stream_of_each_trial_and_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cohort(0, 1)
    rows = next(plain.batches.chunks(0, 2, 2))
    keys = plain._keys(0, 2)
    clean, weighted = plain._batch(rows, keys)
    add_to(monkeypatch, "model", Noise())
    noisy, alone = cohort(0, 1), cohort(1)
    inputs, targets = noisy._batch(rows, keys)
    torch.testing.assert_close(inputs - clean, draws.normal(draws.stream(keys, "model"), inputs.shape[2:]))
    assert torch.equal(targets, weighted)
    assert torch.equal(alone._batch(rows[1:, 1:], alone._keys(1, 1))[0], inputs[1:, 1:])
    assert all(each.optimizer.can_be_saved for each in (noisy, plain))  # made now, with the weights to validate
    rows = plain.data.validation_rows
    assert noisy.metrics(rows, range(len(rows))) == plain.metrics(rows, range(len(rows)))


def test_settings_that_do_not_fit_are_refused_before_anything_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    add_to(monkeypatch, "model", ConfigError("model", "must be other", remedy="choose another"))
    cell = make_cell("dataset=iris")
    with pytest.raises(ConfigError, match="model must be other"):
        check(cell.config, cell.dataset)
