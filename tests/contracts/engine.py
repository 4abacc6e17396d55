"""Tests that every engine must pass; a subclass names the overrides that choose it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import pytest

from conftest import make_cell
from evalbench import cell as cells
from evalbench import cost, engines
from evalbench.cell import Cell
from evalbench.errors import InputError
from evalbench.seeds import Phase
from evalbench.trial import Entrant, State, TrialResult
from evalbench.workloads import draw_split

SMALL = ("dataset=wine", "budget.epochs=2")


def trained(cell: Cell, entrants: Sequence[Entrant]) -> dict[int, TrialResult]:
    """Return the results by seed; fail if a trial ended with an error."""
    results: dict[int, TrialResult] = {}
    for members, ended in engines.of(cell.config).train_all(cell.config, cell.dataset, entrants, cell.id):
        assert not isinstance(ended, Exception), ended
        results |= dict(zip((member.seed for member in members), ended, strict=True))
    return results


class EngineContract:
    """What a cell may rely on."""

    chosen: ClassVar[tuple[str, ...]]
    """Overrides that choose the engine, and something small that it trains."""
    refused: ClassVar[tuple[str, ...]]
    """More overrides, with which nothing could train."""

    def cell(self, *more: str) -> Cell:
        return make_cell(*SMALL, *self.chosen, *more)

    def raising(self) -> tuple[Cell, list[Entrant]]:
        """Return three trials that pass the check, of which the second one raises."""
        raise NotImplementedError

    def test_each_trial_ends_once_with_the_metrics_of_its_task(self) -> None:
        cell = self.cell()
        results = trained(cell, cell.entrants(0, 1, 2))
        assert sorted(results) == [0, 1, 2]
        for result in results.values():
            assert result.state is State.COMPLETE
            assert set(result.metrics) == {metric.on("test") for metric in cell.dataset.measured.values()}
            assert (result.num_train, result.num_test) == (106, 36)

    def test_a_result_depends_on_the_trial_alone(self) -> None:
        cell = self.cell()
        together = trained(cell, cell.entrants(2, 0, 1))
        assert trained(cell, cell.entrants(1))[1].metrics == pytest.approx(together[1].metrics)
        assert together[0].metrics != together[1].metrics

    def test_the_same_trials_give_the_same_bits(self) -> None:
        cell = self.cell()
        first, second = (trained(cell, cell.entrants(0, 1)) for _ in range(2))
        assert first == second

    def test_a_candidate_is_measured_on_validation_rows(self) -> None:
        cell = self.cell()
        rows = cell.dataset.take(draw_split(cell.dataset, 0.2, 0.2, 0).train)
        split = replace(cell.config.split, test=0.0)
        tuned = replace(cell, config=replace(cell.config, split=split), dataset=rows, phase=Phase.TUNE)
        (result,) = trained(tuned, tuned.entrants(0)).values()
        assert set(result.metrics) == {metric.on("val") for metric in cell.dataset.measured.values()}
        assert result.num_test is None

    def test_what_cannot_train_is_refused_in_one_line(self) -> None:
        with pytest.raises(InputError) as refusal:
            cells.check(make_cell(*SMALL, *self.chosen, *self.refused))
        assert "\n" not in str(refusal.value)

    def test_what_can_train_passes_the_check(self) -> None:
        cells.check(self.cell())

    def test_an_error_ends_one_trial(self) -> None:
        cell, entrants = self.raising()
        cells.check(cell)
        ended = list(engines.of(cell.config).train_all(cell.config, cell.dataset, entrants, cell.id))
        states = {
            member.seed: State.FAILED if isinstance(results, Exception) else results[number].state
            for members, results in ended
            for number, member in enumerate(members)
        }
        assert states == {0: State.COMPLETE, 1: State.FAILED, 2: State.COMPLETE}

    def test_the_cost_of_a_trial_alone_is_above_zero(self) -> None:
        cell = self.cell()
        ((measured,),) = cost.measure([(cell.config, cell.dataset)], rounds=1)
        assert measured.steps * measured.step_seconds > 0
