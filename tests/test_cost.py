"""The costs of single techniques: counts are right, times exist, and nothing is measured twice."""

from pathlib import Path

import pandas as pd
import pytest

from conftest import compose_config, make_cell
from evalbench import cell as cells
from evalbench import cost
from evalbench.evaluation.conclude import conclude
from evalbench.evaluation.costs import measure_costs
from evalbench.evaluation.design import link
from evalbench.evaluation.plan import Plan
from evalbench.store import Store

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
    assert adam_first.peak_memory_bytes > first.peak_memory_bytes > 2 * 4 * parameters
    assert min(first.step_seconds, first.inference_seconds) > 0
    assert first.samples_per_second == pytest.approx(32 / first.step_seconds)


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
