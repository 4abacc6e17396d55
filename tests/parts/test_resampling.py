"""Resampling: the rows of an epoch by class, drawn from the trial's own stream, of training rows alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier

import plain
from conftest import make_cell
from evalbench import cell as cells
from evalbench import engines, parts
from evalbench.engine import training
from evalbench.engine.batches import Batches
from evalbench.engines import sklearn
from evalbench.engines.predicted import split_of
from evalbench.errors import ConfigError
from evalbench.parts.hooks import EpochRows
from evalbench.trial import Entrant
from evalbench.workloads import fit_scaling

SMALL = ("dataset=anes96", "model.width=4", "model.depth=1", "budget.epochs=3")
COUNTS = np.array([120, 108, 65, 22, 56, 90, 105])
"""Training rows of each class, about: 0.6 of 200, 180, 108, 37, 94, 150 and 175."""


def chosen(option: str, *more: str) -> EpochRows:
    cell = make_cell("dataset=anes96", f"resampling={option}", *more)
    hook = parts.epoch_rows(cell.config, cell.dataset, 566)
    assert hook is not None
    return hook


@pytest.mark.parametrize(
    ("option", "more", "expected"),
    [
        ("oversample", (), np.full(7, 120)),
        ("undersample", (), np.full(7, 22)),
        ("balanced", (), np.full(7, 81)),
        ("oversample", ("resampling.strength=0",), COUNTS),
        ("balanced", ("resampling.strength=0",), COUNTS),
        ("oversample", ("resampling.strength=0.5",), np.sqrt(COUNTS * 120)),
    ],
)
def test_an_epoch_has_the_rows_of_each_class_that_are_asked_for(
    option: str, more: tuple[str, ...], expected: np.ndarray
) -> None:
    cell = make_cell("dataset=anes96")
    train, hook = split_of(cell.config, cell.dataset, Entrant(0)).train, chosen(option, *more)
    rows = hook(train, torch.Generator().manual_seed(0))
    assert len(rows) == hook.num_rows
    assert set(rows) <= set(train)
    assert np.bincount(cell.dataset.targets[rows]) == pytest.approx(expected, abs=1)
    repeats = np.unique_counts(rows).counts
    for number in range(7):  # the rows of a class are repeated equally
        of_class = repeats[cell.dataset.targets[np.unique(rows)] == number]
        assert np.ptp(of_class) <= 1


def test_rows_of_other_classes_take_the_place_of_a_class_that_a_split_lacks() -> None:
    cell, hook = make_cell("dataset=anes96"), chosen("oversample")
    rows = np.flatnonzero(cell.dataset.targets != 3)
    assert len(hook(rows, torch.Generator().manual_seed(0))) == hook.num_rows


def test_an_epoch_is_drawn_anew_from_the_stream_of_its_member_alone() -> None:
    cell = make_cell("dataset=anes96")
    rows = np.stack([split_of(cell.config, cell.dataset, Entrant(seed)).train for seed in (0, 1)])
    together, alone = (
        Batches(each, 50, seeds, chosen("balanced")) for each, seeds in ((rows, [5, 6]), (rows[1:], [6]))
    )
    steps = together.steps_per_epoch
    every, own = (list(batches.chunks(0, 2 * steps, most)) for batches, most in ((together, 99), (alone, 1)))
    assert torch.equal(torch.cat([chunk[:, 1].flatten() for chunk in every]), torch.cat([c.flatten() for c in own]))
    first, second = (
        torch.cat([chunk.flatten() for chunk in alone.chunks(e * steps, (e + 1) * steps, 9)]) for e in (0, 1)
    )
    assert not torch.equal(first.sort().values, second.sort().values)
    resumed = torch.cat([chunk.flatten() for chunk in alone.keep([0]).chunks(steps, 2 * steps, 9)])
    assert torch.equal(resumed, second)


def test_validation_and_test_rows_stay_as_they_are() -> None:
    plainly, resampled = (
        training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
        for cell in (make_cell(*SMALL), make_cell(*SMALL, "resampling=oversample"))
    )
    for part in ("validation_rows", "test_rows"):
        assert torch.equal(getattr(plainly[0].data, part), getattr(resampled[0].data, part))
    cohort, splits = resampled
    for epoch in range(2):
        for rows, split in zip(cohort.batches._epoch(epoch), splits, strict=True):
            assert not set(rows) & {*split.validation, *split.test}


@pytest.mark.slow
@pytest.mark.parametrize("option", ["oversample", "undersample", "balanced"])
def test_a_cohort_trains_as_a_plain_loop_does_and_resumes_with_the_same_bits(option: str, tmp_path: Path) -> None:
    cell = make_cell(*SMALL, f"resampling={option}", "trainer.checkpoint_minutes=1e-9")
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    path, entrants = tmp_path / "x.pt", cell.entrants(0, 1)
    whole = training.train(cell.config, cell.dataset, entrants, path)  # its last checkpoint is before the last epoch
    assert path.is_file()
    assert training.train(cell.config, cell.dataset, entrants, path) == whole
    expected = plain.train(cell, 1)
    for result in (alone, whole[1]):
        assert [point.val_loss for point in result.curve] == pytest.approx(expected.val_losses, rel=2e-4)
        assert result.metrics == pytest.approx(expected.metrics, rel=2e-3)
    assert cell.id != make_cell(*SMALL).id


def test_an_estimator_is_fitted_to_the_rows_of_one_epoch() -> None:
    cell = make_cell(
        "dataset=anes96",
        "resampling=balanced",
        "model=estimator",
        "model._target_=sklearn.ensemble.ExtraTreesClassifier",
    )
    cells.check(cell)
    ((_, results),) = engines.of(cell.config).train_all(cell.config, cell.dataset, cell.entrants(2), cell.id)
    assert not isinstance(results, Exception)
    split, scaling_seed = (
        split_of(cell.config, cell.dataset, Entrant(2)),
        sklearn._seed(cell.config, cell.dataset, Entrant(2)),
    )
    rows = sklearn._rows(cell.config, cell.dataset, split, Entrant(2))
    assert np.ptp(np.bincount(cell.dataset.targets[rows])) <= 1
    scaling = fit_scaling(cell.dataset, split.train)
    model = ExtraTreesClassifier(random_state=scaling_seed)
    model.fit(scaling.inputs(cell.dataset, rows), cell.dataset.targets[rows])
    right = model.predict(scaling.inputs(cell.dataset, split.test)) == cell.dataset.targets[split.test]
    assert results[0].metrics["test/accuracy"] == pytest.approx(right.mean())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("dataset=diabetes", "resampling=oversample"), "needs one class per row, which diabetes does not have"),
        (("dataset=diabetes", "resampling=oversample", "model=random_forest"), "needs one class per row"),
        (("dataset=wine", "resampling=balanced", "resampling.strength=2"), "strength must be a number from 0 to 1"),
        (
            ("dataset=wine", "resampling=balanced", "resampling._target_=builtins.dict", "~resampling.strength"),
            "must be a class that is derived from",
        ),
        (("dataset=wine", "resampling=balanced", "+resampling.share=2"), "must hold settings"),
    ],
)
def test_what_cannot_be_resampled_is_refused_in_one_line(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        cells.check(make_cell(*overrides))
    assert "\n" not in str(refusal.value)
