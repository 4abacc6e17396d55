"""The cohort is the first engine of its contract."""

from conftest import make_cell
from contracts.engine import EngineContract
from evalbench.cell import Cell
from evalbench.trial import Entrant


class TestCohort(EngineContract):
    chosen = ("model=mlp", "model.width=8", "model.depth=1")
    refused = ("model.width=-1",)

    def raising(self) -> tuple[Cell, list[Entrant]]:
        own = ("optimizer=sgd", "optimizer._target_=engine.test_one_by_one.Poisoned")
        cell = make_cell("dataset=wine", "budget.epochs=1", *self.chosen, *own)
        return cell, [Entrant(seed, settings={"lr": lr}) for seed, lr in enumerate((0.1, 13, 0.2))]
