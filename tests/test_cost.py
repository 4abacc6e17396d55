"""The costs of single techniques: counts are right, times exist, and nothing is measured twice."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from conftest import compose_config, make_cell
from evalbench import cell as cells
from evalbench import cost, provenance
from evalbench.energy import Instruments, Rest
from evalbench.engines import timed_cohort
from evalbench.engines.timed_cohort import TimedCohort
from evalbench.evaluation.conclude import conclude
from evalbench.evaluation.costs import mean_cost, measure_costs
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store
from recorded_graphs import RecordingDevice

COMPARED = ("evaluation.name=costs", "evaluation.factor=optimizer", "evaluation.baseline=sgd", "num_seeds=2")
SMALL = ("dataset=wine", "model.width=8", "model.depth=1", "budget.epochs=2")


def test_counts_are_right() -> None:
    sgd, adam = (make_cell(*SMALL, f"optimizer={name}", "optimizer.batch_size=32") for name in ("sgd", "adam"))
    (first, second), (adam_first, _) = cost.measure([(cell.config, cell.dataset) for cell in (sgd, adam)], rounds=2)
    parameters = 13 * 8 + 8 + 8 * 3 + 3
    assert (first.round, second.round) == (0, 1)
    assert (first.steps, first.parameters) == (2 * 4, parameters)  # four batches of 106 rows
    assert first.flops_per_step == 2 * 32 * (2 * 13 * 8 + 3 * 8 * 3)  # no gradient for the inputs of the first layer
    assert first.optimizer_state_bytes == 0
    assert adam_first.optimizer_state_bytes == pytest.approx(
        2 * 4 * parameters, abs=64
    )  # two moments, and step counters
    assert (adam_first.peak_memory_bytes or 0) > (first.peak_memory_bytes or 0) > 2 * 4 * parameters
    assert min(first.step_seconds, first.inference_seconds or 0) > 0
    assert first.samples_per_second == pytest.approx(32 / first.step_seconds)


class Reading:
    """Count a joule at each reading."""

    def __init__(self) -> None:
        self.count = 0

    def joules(self) -> float:
        self.count += 1
        return float(self.count)


class Stuck:
    """Count nothing."""

    def joules(self) -> float:
        return 7.0


@pytest.mark.slow
def test_energy_is_known_where_a_meter_counts() -> None:
    cell = make_cell(*SMALL, "optimizer=bgd")
    pairs = [(cell.config, cell.dataset)]
    ((without,),) = cost.measure(pairs, 1)
    assert (without.measured_on, without.alone) == ("CPU", None)
    assert (without.gpu_step_joules, without.cpu_step_joules, without.gpu_idle_watts) == (None, None, None)
    tools = Instruments({"gpu": Stuck(), "cpu": Reading()}, lambda: False)
    ((measured,),) = cost.measure(pairs, 1, lambda _: tools)
    assert (measured.alone, measured.gpu_step_joules, measured.gpu_idle_watts) == (False, None, 0.0)
    assert measured.cpu_step_joules is not None
    assert 0 < measured.cpu_step_joules < 2  # two readings, and more than one step
    assert measured.cpu_idle_watts is not None


def test_short_chunks_are_repeated() -> None:
    cell = make_cell(*SMALL, "optimizer=sgd", "optimizer.batch_size=53")
    trial = TimedCohort(cell.config, cell.dataset)
    assert len(trial.rows) == 2
    trial._choose_unit(timed_cohort.UNIT_SECONDS / 9)
    assert (len(trial.unit), trial.repeats, trial.unit_steps) == (2, 5, 10)
    trial._choose_unit(2 * timed_cohort.UNIT_SECONDS)
    assert (len(trial.unit), trial.repeats, trial.unit_steps) == (1, 1, 1)


def test_the_way_of_replay_is_chosen_before_steps_are_timed() -> None:
    cell = make_cell(*SMALL, "optimizer=adam")
    trial = TimedCohort(cell.config, cell.dataset)
    device = RecordingDevice()
    trial.cohort.replay.device = device
    trial.warm_up()
    captured, replayed = device.captured, device.replayed
    assert captured == 1
    trial.measure(0, Instruments(), Rest())
    assert (device.captured, device.replayed > replayed) == (1, True)


def test_costs_of_several_settings_are_their_mean() -> None:
    first = {"round": 3, "steps": 100, "step_seconds": 1.0, "gpu_step_joules": 4.0, "measured_on": "X", "alone": True}
    second = {"round": 3, "steps": 300, "step_seconds": 2.0, "gpu_step_joules": 2.0, "measured_on": "X", "alone": False}
    mean = {
        "round": 3,
        "steps": 200,
        "step_seconds": 700 / 400,
        "gpu_step_joules": 2.5,
        "measured_on": "X",
        "alone": False,
    }
    assert mean_cost([first, second]) == pytest.approx(mean)
    assert mean_cost([first]) == first
    older = {key: second[key] for key in ("round", "steps", "step_seconds")}  # from before energy was measured
    assert mean_cost([first, older])["gpu_step_joules"] is None


def test_costs_on_the_cpu_and_on_a_gpu_are_those_of_two_machines(tmp_path: Path) -> None:
    for number, model in enumerate(("H100", "A100", "H100")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "information").write_text(f"Model: \t NVIDIA {model}\nIRQ: 7\n")
    assert provenance.machine("auto", tmp_path).endswith(" cores, 1 x NVIDIA A100 + 2 x NVIDIA H100")
    assert provenance.machine("cpu", tmp_path) == provenance.machine("auto", tmp_path / "none")
    assert provenance.machine("cpu", tmp_path).endswith(" cores, CPU")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_cuda_device_has_its_name_and_the_memory_of_one_trial() -> None:
    small, large = (make_cell("dataset=wine", f"model.width={width}") for width in (8, 512))
    pairs = [(cell.config, cell.dataset) for cell in (large, small, large)]
    (first,), (second,), (third,) = cost.measure(pairs, 1, cost.instruments_of)
    assert first.measured_on == torch.cuda.get_device_name()
    assert first.peak_memory_bytes == pytest.approx(third.peak_memory_bytes, rel=0.2)
    assert (second.peak_memory_bytes or 0) < (first.peak_memory_bytes or 0) / 2
    if first.gpu_step_joules is not None:  # nvidia-ml-py is installed
        assert first.gpu_idle_watts is not None
        assert 0.2 * first.gpu_idle_watts < first.gpu_step_joules / first.step_seconds < 2000


@pytest.mark.slow
def test_costs_are_measured_once_in_the_configured_number_of_passes(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")

    def measured(rounds: int) -> pd.DataFrame:
        chosen = (*COMPARED, *SMALL, f"reports={tmp_path}", f"cost.rounds={rounds}")
        plan = Plan.of([compose_config(*chosen, f"optimizer={name}") for name in ("sgd", "adam")])
        link(plan, store, "command")
        for cell in plan.cells:
            cells.run(cell, store)
        measure_costs(plan, store)
        conclude(plan, store)
        path = plan.folder / "costs.csv"
        return pd.read_csv(path) if path.exists() else pd.DataFrame()

    assert measured(0).empty
    first, second, third = measured(2), measured(1), measured(3)
    assert list(first["round"]) == [0, 1, 0, 1]
    pd.testing.assert_frame_equal(first, second)
    assert list(third["round"]) == [0, 1, 2] * 2
