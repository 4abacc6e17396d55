"""Cohorts beside training: falling back, ending members, saving, resuming, fitting into memory."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from conftest import make_cell
from evalbench import weights
from evalbench.engine import checkpoints, checks, memory, training
from evalbench.engine.cohort import Cohort
from evalbench.engine.steps import Steps
from evalbench.errors import ConfigError, StorageError
from plain import train as train_plainly

PLAIN_MODEL = ("~model.depth", "~model.width")
SMALL = ("dataset=wine", "budget.epochs=6", "model.width=16")


def test_a_model_that_cannot_be_batched_trains_member_by_member(caplog: pytest.LogCaptureFixture) -> None:
    cell = make_cell("dataset=wine", "budget.epochs=2", "model._target_=networks.Branching", *PLAIN_MODEL)
    for _ in range(2):
        checks.check(cell.config, cell.dataset)
    results = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    warnings = [record.message for record in caplog.records if record.name.startswith("evalbench")]
    reason = "networks.Branching cannot be batched and trains member by member, slowly"
    assert warnings == [f"{reason}: its control flow depends on values of tensors"]
    for seed, result in enumerate(results):
        plain = train_plainly(cell, seed)
        assert [point.val_loss for point in result.curve] == pytest.approx(plain.val_losses, rel=1e-4)


@pytest.mark.slow
def test_members_that_have_ended_are_dropped_and_other_members_are_not_disturbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    original = Steps.__call__

    def watched(self, stack, inputs, *rest):  # type: ignore[no-untyped-def]
        sizes.append(len(inputs))
        return original(self, stack, inputs, *rest)

    monkeypatch.setattr(Steps, "__call__", watched)
    settings = ("dataset=iris", "budget.epochs=40", "budget.patience=2", "optimizer.lr=0.05", "model.width=16")
    cell = make_cell(*settings)
    together = training.train(cell.config, cell.dataset, cell.entrants(*range(6)))
    assert sizes[0] == 6
    assert sizes[-1] < 5
    lengths = {len(result.curve) for result in together}
    assert len(lengths) > 1
    assert max(lengths) < 40
    for seed in (0, 3, 5):
        (alone,) = training.train(cell.config, cell.dataset, cell.entrants(seed))
        assert [p.val_loss for p in together[seed].curve] == pytest.approx([p.val_loss for p in alone.curve], rel=1e-4)
        assert together[seed].metrics == pytest.approx(alone.metrics, rel=1e-4)
        assert together[seed].steps == alone.steps == alone.curve[-1].step


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("optimizer=momentum", "schedule=one_cycle", "model._target_=networks.Dropped", *PLAIN_MODEL),
        ("model._target_=networks.Normed", *PLAIN_MODEL),
        ("optimizer._target_=torch.optim.Adafactor", "~optimizer.betas", "~optimizer.eps"),
        ("budget.patience=1", "optimizer.lr=0.05", "budget.epochs=20", "dataset=iris"),
        ("optimizer=sgd", "optimizer._target_=peoples_optimizers.ScheduleFreeAdam", "optimizer.batch_size=32"),
        ("optimizer=sgd", "optimizer._target_=torch.optim.LBFGS", "optimizer.batch_size=full"),
    ],
    ids=["adam", "dropout and schedule", "batch norm", "views", "patience", "schedule-free", "closures"],
)
def test_a_resumed_cohort_ends_with_the_bits_of_an_uninterrupted_one(tmp_path: Path, more: tuple[str, ...]) -> None:
    settings = [text for text in SMALL if not ("model.width" in text and "~model.width" in more)]
    cell = make_cell(*settings, *more)
    seeds = [0, 1, 2, 3]
    whole = training.train(cell.config, cell.dataset, cell.entrants(*seeds))
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(*seeds))

    class KilledError(Exception):
        pass

    def save_and_die(cohort: Cohort, next_interval: int) -> None:
        if next_interval == 3:
            path = tmp_path / "x.pt"
            checkpoints.save(cohort, path, next_interval, training.made_for(path, cell.entrants(*seeds)))
            raise KilledError

    cohort.on_interval_end = save_and_die
    with pytest.raises(KilledError):
        training._fit(cohort, cell.config)
    shown: list[int] = []
    assert (
        training.train(
            cell.config, cell.dataset, cell.entrants(*seeds), tmp_path / "x.pt", watch=lambda _, n: shown.append(n)
        )
        == whole
    )
    assert len(shown) <= len(cohort.recipe.validation_steps) - 3
    assert not list(tmp_path.glob("*.broken"))


def test_a_checkpoint_holds_no_pickled_code(tmp_path: Path) -> None:
    cell = make_cell(*SMALL, "trainer.checkpoint_minutes=1e-9")
    training.train(cell.config, cell.dataset, cell.entrants(0, 1), tmp_path / "x.pt")
    snapshot = torch.load(tmp_path / "x.pt", weights_only=True)
    assert snapshot["round"] == 5
    assert not list(tmp_path.glob("*.tmp"))


def flip_a_bit(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        largest = max(file.infolist(), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.file_size // 2] ^= 1
    path.write_bytes(content)


def change(**values: Any) -> Callable[[Path], None]:
    return lambda path: torch.save({**torch.load(path, weights_only=True), **values}, path)


def change_shape(path: Path) -> None:
    snapshot = torch.load(path, weights_only=True)
    torch.save({**snapshot, "state": [value[..., :1] for value in snapshot["state"]]}, path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "one bit": flip_a_bit,
    "no checkpoint": lambda path: torch.save({"something": "else"}, path),
    "a pickle of something": lambda path: torch.save(Path("x"), path),
    "another training's": change(made_for="[]"),
    "no such validation interval": change(round=99),
    "other members": change(members=[]),
    "members of another version": change(members=[{"losses": []}] * 2),
    "another shape": change_shape,
    "another optimizer's": change(optimizer=[{"no": "state"}]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_training_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    cell, path = make_cell(*SMALL, "trainer.checkpoint_minutes=1e-9"), tmp_path / "x.pt"
    whole = training.train(cell.config, cell.dataset, cell.entrants(0, 1), path)
    damage(path)
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 1), path) == whole
    assert "moved to x.pt.broken; training starts over" in caplog.text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.pt", "x.pt.broken"]


@pytest.mark.slow
def test_a_checkpoint_of_other_members_is_not_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cell, path = make_cell(*SMALL, "trainer.checkpoint_minutes=1e-9"), tmp_path / "x.pt"
    training.train(cell.config, cell.dataset, cell.entrants(0, 2, 5), path)  # files are named by the first and the last
    assert training.train(cell.config, cell.dataset, cell.entrants(0, 3, 5), path)[1].metrics == pytest.approx(
        training.train(cell.config, cell.dataset, cell.entrants(3))[0].metrics, rel=1e-4
    )
    assert "it belongs to another training" in caplog.text


@pytest.mark.parametrize("reason", ["No space left on device", "it may hold only tensors and plain values"])
def test_a_checkpoint_that_cannot_be_written_logs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    cell, path = make_cell(*SMALL, "trainer.checkpoint_minutes=1e-9"), tmp_path / "x.pt"
    whole = training.train(cell.config, cell.dataset, cell.entrants(0))
    if reason.startswith("No space"):
        path.with_suffix(".tmp").symlink_to("/dev/full")
    else:
        monkeypatch.setattr(Cohort, "snapshot", lambda *_: {"optimizer": [{"state": {0: {"seen": {1, 2}}}}]})
    assert training.train(cell.config, cell.dataset, cell.entrants(0), path) == whole
    assert caplog.text.count(reason) == 1
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_written_do_not_fail_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(*SMALL, "save=all", f"trainer.checkpoint_folder={tmp_path}")

    def full(*_: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(weights.saving, "save_file", full)
    with pytest.raises(StorageError, match=r"No space left on device .*: nothing is lost, the same command goes on"):
        list(training.train_all(cell.config, cell.dataset, cell.entrants(0, 1), "cell", tmp_path / "weights"))


@pytest.mark.slow
def test_cohorts_that_do_not_fit_are_split_and_give_the_same_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cell = make_cell(*SMALL, f"trainer.checkpoint_folder={tmp_path}")
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))
    needed = memory.member_bytes(cohort, torch.device("cpu"))
    assert needed > memory.STATE_COPIES * cohort.state_bytes
    monkeypatch.setattr(memory, "available_bytes", lambda _: int(2.5 * needed / memory.SHARE))
    parts = list(training.train_all(cell.config, cell.dataset, cell.entrants(*range(5)), "cell"))
    assert [[entrant.seed for entrant in entrants] for entrants, _ in parts] == [[0], [1, 2], [3, 4]]
    whole = training.train(cell.config, cell.dataset, cell.entrants(*range(5)))
    for entrants, results in parts:
        assert not isinstance(results, Exception)
        for entrant, result in zip(entrants, results, strict=True):
            assert result.metrics == pytest.approx(whole[entrant.seed].metrics, rel=1e-4)


@pytest.mark.slow
def test_running_out_of_memory_halves_the_cohort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cell = make_cell(*SMALL, f"trainer.checkpoint_folder={tmp_path}")
    real, sizes = training.train, []

    def train(config, dataset, entrants, *rest):  # type: ignore[no-untyped-def]
        sizes.append(len(entrants))
        if len(entrants) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return real(config, dataset, entrants, *rest)

    monkeypatch.setattr(training, "train", train)
    parts = list(training.train_all(cell.config, cell.dataset, cell.entrants(*range(5)), "cell"))
    assert [entrant.seed for entrants, _ in parts for entrant in entrants] == [0, 1, 2, 3, 4]
    assert max(len(entrants) for entrants, _ in parts) <= 2
    assert sizes[0] == 5


@pytest.mark.slow
def test_peak_memory_grows_with_the_batch() -> None:
    peaks = []
    for rows in (8, 64):
        cell = make_cell("dataset=digits", f"optimizer.batch_size={rows}")
        cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0))
        peaks.append(cohort.trace_memory()[0])
    hidden = 4 * 64 * 64  # one layer's activations at 64 rows
    assert peaks[1] - peaks[0] > hidden


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("trainer.microbatch_size=4", "model._target_=networks.Normed", *PLAIN_MODEL), "trainer.microbatch_size"),
        (("optimizer=sgd", "model._target_=networks.Normed", *PLAIN_MODEL), "optimizer.batch_size"),
        (("optimizer=sgd", "trainer.devices=2", "trainer.strategy=ddp"), "trainer.devices"),
        (
            ("trainer.devices=2", "trainer.strategy=ddp", "model._target_=networks.Normed", *PLAIN_MODEL),
            "trainer.devices",
        ),
    ],
)
def test_settings_that_cannot_be_exact_are_refused(overrides: tuple[str, ...], key: str) -> None:
    cell = make_cell("dataset=wine", *overrides)
    with pytest.raises(ConfigError) as refused:
        checks.check(cell.config, cell.dataset)
    assert refused.value.key == key


def test_muon_takes_the_matrices_and_leaves_the_other_parameters_to_another_optimizer() -> None:
    cell = make_cell("dataset=wine", "optimizer=muon", "budget.epochs=3", "model.width=16", "schedule=cosine")
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    plain = train_plainly(cell, 1)
    assert [p.val_loss for p in together[1].curve] == pytest.approx(plain.val_losses, rel=0.05)  # bfloat16 inside
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    assert np.allclose([p.val_loss for p in together[1].curve], [p.val_loss for p in alone.curve], rtol=0.05)
