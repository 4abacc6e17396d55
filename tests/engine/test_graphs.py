"""A step that is replayed as a graph gives the bits of a step that is not, whatever changes from step to step."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conftest import make_cell
from evalbench.cell import Cell
from evalbench.config import Pruning
from evalbench.engine import checkpoints, graphs, training
from evalbench.engine.cohort import Cohort
from evalbench.engine.graphs import TIMED, WARM_UP, CudaDevice, Run
from evalbench.engine.halving import Halving
from evalbench.trial import Entrant, State, TrialResult
from recorded_graphs import RecordedGraph, RecordingDevice

MODEL = ("~model.depth", "~model.width")
NETWORK = {
    "mlp": ("model.width=16",),
    "dropout": ("model._target_=networks.Dropped", *MODEL),
    "noise": ("model._target_=networks.Noisy", *MODEL),
    "batch norm": ("model._target_=networks.Normed", *MODEL),
    "frozen": ("model._target_=networks.Probe", *MODEL),
}
FEW_STEPS = ("budget=steps", "budget.steps=24", "budget.validations=2")
CASES = {
    "sgd": ("optimizer=minibatch_sgd", *NETWORK["mlp"]),
    "momentum": ("optimizer=momentum", *NETWORK["dropout"]),
    "adam": ("optimizer=adam", *NETWORK["batch norm"]),
    "adamw": ("optimizer=adamw", *NETWORK["noise"]),
    "frozen body": ("optimizer=adamw", *NETWORK["frozen"]),
    "one batch": ("optimizer=bgd", "budget.epochs=20", *NETWORK["mlp"]),
    "cosine": ("schedule=cosine", *NETWORK["dropout"]),
    "cosine with momentum": ("schedule=cosine", "optimizer=momentum", *NETWORK["mlp"]),
    "clipping": ("+optimizer.clip_norm=0.05", "optimizer=momentum", *NETWORK["mlp"]),
    "accumulation": ("trainer.microbatch_size=7", *NETWORK["dropout"]),
    "lone": ("trainer.path=lone", *NETWORK["dropout"]),
    "class weights": ("loss.class_weights=balanced", *NETWORK["mlp"]),
    "patience": ("budget.patience=2", "optimizer=minibatch_sgd", "optimizer.lr=0.6", *NETWORK["mlp"]),
    "regression": ("dataset=diabetes", *NETWORK["mlp"]),
    "divergence": (
        "dataset=diabetes",
        "optimizer=minibatch_sgd",
        "optimizer.lr=0.7",
        "activation=relu",
        "model.width=16",
    ),
    "inputs on the host": ("trainer.data=host", *NETWORK["dropout"]),
    "images": ("dataset=digits", "model=cnn", *FEW_STEPS),
}
"""Steps that a graph holds as a whole."""
PARTS_AND_TASKS = {
    "mixup": ("augmentation=mixup", *NETWORK["mlp"]),
    "noise in the inputs": ("augmentation=noise", "trainer.data=host", *NETWORK["mlp"]),
    "flip and crop": ("dataset=digits", "augmentation=flip_crop", *NETWORK["mlp"], *FEW_STEPS),
    "randaugment": ("dataset=digits", "augmentation=randaugment", *NETWORK["mlp"], *FEW_STEPS),
    "balanced batches": ("dataset=marriage", "resampling=balanced", *NETWORK["mlp"], *FEW_STEPS),
    "ordered classes": ("dataset=anes96", *NETWORK["mlp"], *FEW_STEPS),
    "counts": ("dataset=randhie", *NETWORK["mlp"], *FEW_STEPS),
    "tags": ("dataset=python_roles", "dataset.num_rows=200", "model=tagger", "model.width=16", *FEW_STEPS),
}
"""Steps with parts that act on batches, and steps of other tasks."""
OUTSIDE = {
    "one cycle": ("schedule=one_cycle", *NETWORK["mlp"]),
    "muon": ("optimizer=muon", "schedule=cosine", *NETWORK["mlp"]),
    "adafactor": ("optimizer._target_=torch.optim.Adafactor", "~optimizer.betas", "~optimizer.eps", *NETWORK["mlp"]),
    "own": ("optimizer._target_=peoples_optimizers.Lion", "~optimizer.betas", "~optimizer.eps", *NETWORK["mlp"]),
}
"""Steps whose optimizer stays outside of the graph."""
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DeviceOf = Callable[[torch.device], graphs.Device | None]


def cell_of(*overrides: str) -> Cell:
    epochs = () if "budget=steps" in overrides else ("budget.epochs=12",)
    return make_cell("dataset=wine", *epochs, *overrides)


def train(
    cell: Cell, device_of: DeviceOf, entrants: list[Entrant], halving: Halving | None = None
) -> list[TrialResult]:
    """Train a cohort whose steps are captured on a device, or not if there is none."""
    cohort, splits = training.make_cohort(cell.config, cell.dataset, entrants)
    cohort.replay.device_of = device_of
    if halving is not None:
        object.__setattr__(cohort.recipe, "halving", halving)
    training._fit(cohort, cell.config)
    return training._results(cohort, cell.config, cell.dataset, splits)


def eager(_: torch.device) -> None:
    """Let steps run as if there were no graphs."""


def assert_the_same(cell: Cell, device: RecordingDevice, entrants: list[Entrant] | None = None) -> list[TrialResult]:
    members = entrants or cell.entrants(0, 1, 2, 3)
    expected = train(cell, eager, members)
    assert train(cell, lambda _: device, members) == expected
    return expected


# ── recorded on any device ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", [*CASES, "mixup", "noise in the inputs", "balanced batches"])
@pytest.mark.slow
def test_a_replayed_step_gives_the_bits_of_a_plain_one(case: str) -> None:
    device = RecordingDevice()
    results = assert_the_same(cell_of(*{**CASES, **PARTS_AND_TASKS}[case]), device)
    assert device.replayed > 2 * TIMED
    assert case != "divergence" or {State.DIVERGED, State.COMPLETE} == {result.state for result in results}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case == "muon" else ()) for case in OUTSIDE]
)
@pytest.mark.slow
def test_an_optimizer_that_cannot_be_captured_steps_after_the_replayed_gradients(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    graphs._said.clear()
    device = RecordingDevice()
    with caplog.at_level(logging.INFO, "evalbench.engine.graphs"):
        assert_the_same(cell_of(*OUTSIDE[case]), device)
    assert device.replayed > 2 * TIMED
    assert [line for line in caplog.messages if "the optimizer's step is not part of a CUDA graph: " in line]


@pytest.mark.slow
def test_members_that_differ_in_the_learning_rate_share_a_graph() -> None:
    entrants = [Entrant(seed, settings={"lr": lr}) for seed, lr in enumerate((0.001, 0.01, 0.1))]
    for overrides in (("optimizer=adam",), ("optimizer=momentum", "schedule=cosine")):
        device = RecordingDevice()
        assert_the_same(cell_of(*overrides, *NETWORK["mlp"]), device, entrants)
        assert device.replayed > 2 * TIMED


@pytest.mark.slow
def test_each_batch_shape_has_its_own_graph_and_a_smaller_cohort_new_ones() -> None:
    device = RecordingDevice()
    cell = cell_of("optimizer=adam", *NETWORK["mlp"])  # three batches an epoch, and a smaller one
    train(cell, lambda _: device, cell.entrants(0, 1))
    assert device.captured == 2
    device, halving = RecordingDevice(), Halving(Pruning(eta=2, first_rung=10), [0, 1, 2, 3])
    pruned = train(
        cell_of("optimizer=adam", "budget.epochs=19", *NETWORK["mlp"]),
        lambda _: device,
        cell.entrants(0, 1, 2, 3),
        halving,
    )
    assert [result.state for result in pruned].count(State.PRUNED) == 2
    assert device.captured == 4


def test_steps_run_directly_if_that_is_faster() -> None:
    device = RecordingDevice(graphs_are_faster=False)
    assert_the_same(cell_of("optimizer=adam", *NETWORK["mlp"]), device)
    assert (device.captured, device.replayed) == (2, 2 * TIMED)


class Refusing(RecordingDevice):
    """Refuse to capture, as CUDA does in the middle of a step."""

    def capture(self, step: Run) -> Run:
        super().capture(step)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")


class Waiting(RecordingDevice):
    """Find that a step waits for the device."""

    def waits(self, step: Run) -> bool:
        super().waits(step)
        return True


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (Refusing(), "operation not permitted when stream is capturing"),
        (Waiting(), "one of its operations waits for the device"),
    ],
    ids=["refused", "waits"],
)
def test_a_step_that_cannot_be_captured_runs_directly_and_says_so_once(
    device: RecordingDevice, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    graphs._said.clear()
    with caplog.at_level(logging.INFO, "evalbench.engine.graphs"):
        assert_the_same(cell_of("optimizer=adam", *NETWORK["mlp"]), device)
    assert caplog.messages == [f"a step is not replayed as a CUDA graph: {reason}"]
    assert device.replayed == 0


@pytest.mark.slow
def test_networks_that_train_one_by_one_are_not_captured() -> None:
    device = RecordingDevice()
    assert_the_same(cell_of("model._target_=networks.Branching", *MODEL), device)
    assert device.captured == 0


def resumed(cell: Cell, device_of: DeviceOf, path: Path) -> list[TrialResult]:
    """Train until after the eighth validation, save, and train the rest in a new cohort."""
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    cohort.replay.device_of = device_of

    class KilledError(Exception):
        pass

    def save_and_die(cohort: Cohort, next_interval: int) -> None:
        if next_interval == 8:
            checkpoints.save(cohort, path, next_interval)
            raise KilledError

    cohort.on_interval_end = save_and_die
    with pytest.raises(KilledError):
        training._fit(cohort, cell.config)
    cohort, splits = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1, 2))
    cohort.replay.device_of = device_of
    checkpoints.attach(cohort, path, 1e9)
    assert cohort.first_interval == 8
    training._fit(cohort, cell.config)
    return training._results(cohort, cell.config, cell.dataset, splits)


@pytest.mark.parametrize("case", ["adam", "cosine"])
@pytest.mark.slow
def test_a_resumed_cohort_ends_with_the_same_bits(case: str, tmp_path: Path) -> None:
    cell, device = cell_of(*CASES[case]), RecordingDevice()
    whole = train(cell, eager, cell.entrants(0, 1, 2))
    assert resumed(cell, lambda _: device, tmp_path / "x.pt") == whole
    assert device.captured > 2


LENGTHS = ([1] * 12, [2, 9, 1], [8, 4], [WARM_UP + 2 * TIMED, 3], [12])


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_every_step_is_taken_once_however_many_a_chunk_has(lengths: list[int]) -> None:
    """The steps that are watched, timed and captured are steps of the training, and none is taken past a chunk."""
    cell = cell_of("optimizer=bgd", "schedule=cosine", "budget.epochs=20", *NETWORK["mlp"])
    losses = []
    for device in (None, RecordingDevice()):
        cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
        cohort.replay.device = device
        rows = torch.cat(list(cohort.batches.chunks(0, sum(lengths), 1)))
        first_steps = [sum(lengths[:index]) for index in range(len(lengths))]
        with torch.no_grad():
            chunks = zip(torch.split(rows, lengths), first_steps, strict=True)
            losses.append(torch.cat([cohort.train_chunk(chunk, first) for chunk, first in chunks]))
    cohort.to("cpu")  # as at the end of a fit on a GPU
    assert cohort.path.keys() >= {"graph_us", "direct_us"}
    assert device is not None
    assert (device.captured, device.replayed) == (1, sum(lengths) - WARM_UP - TIMED)
    assert torch.equal(*losses)


def test_a_recorded_graph_keeps_only_its_own_memory_and_checks_each_index() -> None:
    table, index, picked = torch.arange(3.0), torch.tensor([1]), torch.zeros(1)

    def graph_of(table: torch.Tensor) -> RecordedGraph:
        return RecordedGraph(lambda: picked.copy_(table.index_select(0, index) * 2))

    graph = graph_of(table)
    index.fill_(2)
    graph.replay()
    assert picked.tolist() == [4]
    index.fill_(3)
    with pytest.raises(IndexError):
        graph.replay()
    del table
    with pytest.raises(RuntimeError, match="memory that has been freed"):
        graph.replay()


# ── captured on a CUDA device ─────────────────────────────────────────────────────────────────────────────────────────


class CountingCuda(CudaDevice):
    """Count captures and replays; the clock says that graphs are faster, or slower."""

    def __init__(self, graphs_are_faster: bool = True) -> None:
        super().__init__()
        self.captured = self.replayed = 0
        self._trend, self._reading = (-1.0 if graphs_are_faster else 1.0), 1e3

    def capture(self, step: Run) -> Run:
        replay = super().capture(step)
        self.captured += 1

        def count() -> None:
            self.replayed += 1
            replay()

        return count

    def seconds(self, step: Run) -> float:
        super().seconds(step)
        self._reading += self._trend
        return self._reading


def close(results: list[TrialResult], expected: list[TrialResult], tolerance: float) -> None:
    for result, other in zip(results, expected, strict=True):
        assert (result.state, result.steps) == (other.state, other.steps)
        losses = [point.val_loss for point in result.curve]
        assert losses == pytest.approx([point.val_loss for point in other.curve], rel=tolerance, abs=1e-6)


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("case", [*CASES, *PARTS_AND_TASKS, *OUTSIDE])
def test_a_cuda_graph_gives_the_bits_of_the_same_steps_without_it(case: str) -> None:
    cell = cell_of(*{**CASES, **PARTS_AND_TASKS, **OUTSIDE}[case])
    members = cell.entrants(0, 1, 2, 3)
    device, direct = CountingCuda(), CountingCuda(graphs_are_faster=False)
    replayed, again = train(cell, lambda _: device, members), train(cell, lambda _: direct, members)
    assert device.replayed > 2 * TIMED
    if case == "images":  # cuDNN sums in any order
        close(replayed, again, 1e-4)
    else:
        assert replayed == again
    # scheduled learning rates are float32 on the device, and Python's floats without a graph
    close(replayed, train(cell, eager, members), 1e-3 if "schedule" in str(CASES.get(case)) else 1e-5)


@pytest.mark.gpu
@cuda
def test_a_compiled_step_is_captured(tmp_path: Path) -> None:
    device = CountingCuda()
    chosen = (*NETWORK["dropout"], "optimizer=momentum", f"trainer.compile_folder={tmp_path}/own")
    cell, traced = cell_of("trainer.path=compiled", *chosen), cell_of("trainer.path=batched", *chosen)
    compiled = train(cell, lambda _: device, cell.entrants(0, 1))
    assert device.replayed > 2 * TIMED
    assert {"compiled_in_s", "compiled_us", "graph_us", "direct_us"} <= compiled[0].path.keys()
    close(compiled, train(traced, eager, traced.entrants(0, 1)), 1e-3)


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_are_captured(precision: str) -> None:
    cell = cell_of(f"trainer.precision={precision}", "schedule=cosine", *NETWORK["dropout"])
    device, direct = CountingCuda(), CountingCuda(graphs_are_faster=False)
    members = cell.entrants(0, 1)
    assert train(cell, lambda _: device, members) == train(cell, lambda _: direct, members)
    assert device.replayed > 2 * TIMED


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-3), ("bf16-mixed", 3e-2)])
def test_a_transformer_is_captured(precision: str, tolerance: float) -> None:
    cell = cell_of(
        "dataset=python_source", "model=transformer", "budget=steps", "budget.steps=30", "budget.validations=2",
        f"trainer.precision={precision}",
    )  # fmt: skip
    device, members = CountingCuda(), cell.entrants(0, 1)
    close(train(cell, lambda _: device, members), train(cell, eager, members), tolerance)  # atomics sum in any order
    assert device.replayed > 2 * TIMED


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("name", ["Adadelta", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "ASGD"])
def test_torchs_optimizers_are_captured_or_stay_outside(name: str) -> None:
    cell = cell_of(f"optimizer._target_=torch.optim.{name}", "~optimizer.betas", "~optimizer.eps", *NETWORK["mlp"])
    device, direct = CountingCuda(), CountingCuda(graphs_are_faster=False)
    members = cell.entrants(0, 1)
    assert train(cell, lambda _: device, members) == train(cell, lambda _: direct, members)
    assert device.replayed > 2 * TIMED


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("case", ["adam", "cosine"])
def test_a_resumed_cohort_ends_with_the_same_bits_on_a_cuda_device(case: str, tmp_path: Path) -> None:
    cell, device = cell_of(*CASES[case]), CountingCuda()
    assert resumed(cell, lambda _: device, tmp_path / "x.pt") == train(
        cell, lambda _: CountingCuda(), cell.entrants(0, 1, 2)
    )
    assert device.captured > 2  # some after resuming


@pytest.mark.gpu
@cuda
def test_halving_captures_the_smaller_cohort_anew() -> None:
    cell, halving = cell_of("budget.epochs=19", *CASES["cosine"]), Halving(Pruning(eta=2, first_rung=10), [0, 1, 2, 3])
    device, members = CountingCuda(), cell.entrants(0, 1, 2, 3)
    replayed = train(cell, lambda _: device, members, halving)
    assert replayed == train(cell, lambda _: CountingCuda(graphs_are_faster=False), members, halving)
    assert [result.state for result in replayed].count(State.PRUNED) == 2
    assert device.captured == 4  # both batch shapes, before and after


@pytest.mark.gpu
@cuda
def test_a_capture_goes_on_after_all_graphs_before_it_are_gone() -> None:
    """Torch refuses the pool of graphs that are gone while a tensor still lies in it, as gradients do."""
    values, device = torch.ones(3, device="cuda"), CudaDevice()
    kept: list[torch.Tensor] = []
    device.capture(lambda: kept.append(values * 2))
    replay = device.capture(lambda: values.mul_(2))
    replay()
    assert values.tolist() == [2.0] * 3


def wait() -> None:
    torch.ones(3, device="cuda").sum().item()


def draw_and_raise() -> None:
    torch.rand(3, device="cuda")
    raise RuntimeError("of the step")


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize("step", [wait, draw_and_raise])
@pytest.mark.parametrize("graphs_before", [0, 1])
def test_a_failed_capture_leaves_the_device_as_it_was(step: Run, graphs_before: int) -> None:
    values, device, stream = torch.ones(3, device="cuda"), CudaDevice(), torch.cuda.current_stream()
    before = [device.capture(lambda: values.mul_(2)) for _ in range(graphs_before)]
    with pytest.raises(RuntimeError):
        device.capture(step)
    assert torch.cuda.current_stream() == stream
    assert len(set(torch.rand(3, device="cuda").tolist())) == 3
    reserved = torch.cuda.memory_reserved()
    torch.empty(2**28, device="cuda")
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= reserved
    assert device.waits(wait)
    assert not device.waits(lambda: values.mul_(1))
    for replay in (*before, device.capture(lambda: values.mul_(2))):
        values.fill_(1)
        replay()
        assert values.tolist() == [2.0] * 3


@pytest.mark.gpu
@cuda
def test_a_cuda_device_is_chosen_and_forgotten_with_the_cohort() -> None:
    cell = cell_of(*CASES["adam"])
    cohort, _ = training.make_cohort(cell.config, cell.dataset, cell.entrants(0, 1))
    assert isinstance(cohort.to("cuda").replay.device, CudaDevice)
    with torch.no_grad():
        for chunk in cohort.batches.chunks(0, 3 * (WARM_UP + 2 * TIMED), 1):
            cohort.train_chunk(chunk.to("cuda"), 0)
    assert cohort.to("cpu").replay.device is None
