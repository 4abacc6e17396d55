"""The benchmark measures what it says: all engines train the same trials."""

from pathlib import Path

import pytest

from benchmarks import engine, graphs, search, table
from benchmarks.work import Work


@pytest.mark.slow
def test_a_whole_sweep_trains_the_work_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CELLS", 2)
    work = Work("mlp", "32", ("dataset=wine", "model=mlp", "budget.epochs=10"))
    accuracies = engine._whole_sweep(work, range(4), tmp_path)
    assert len(accuracies) == 4
    assert accuracies[:2] == engine._cohort(work, range(2), tmp_path)


@pytest.mark.slow
def test_every_engine_reaches_the_same_accuracy_and_is_in_the_table(tmp_path: Path) -> None:
    work = Work("mlp", "32", ("dataset=wine", "model=mlp", "budget.epochs=10"))
    absent = Work("nothing", "32", ("model=nothing",))
    bench = engine.measure([work, absent], 5, (1, 2), (2,), None, 1, 1, threads=1)
    timings = bench.timings[work]
    assert table.disagreements(bench.timings) == []
    assert set(bench.skipped) == {absent.name}
    for key in ("cohort-1", "cohort-2", "cell-2", "lightning", "loop", "loop_over_cores", "scikit_learn"):
        assert len(timings[key].seconds) == 1, key
    exact = {key: timings[key].accuracies[0] for key in ("cohort-2", "cell-2", "lightning", "loop", "loop_over_cores")}
    assert max(exact.values()) == pytest.approx(min(exact.values()), abs=1e-6)

    page = table.markdown(table.chapters(bench.timings, bench.skipped, bench.parts, "the command"))
    assert "| evalbench, cohort of 2 | 1 | 1 |" in page
    assert "agree on the test accuracies" in page
    timings["cohort-2"].accuracies[0] += 0.5
    assert len(table.disagreements(bench.timings)) == 1


@pytest.mark.slow
def test_the_search_is_compared_on_the_same_candidates() -> None:
    table = search.measure(4, 2, ("dataset=wine", "budget.epochs=2"))
    assert "| evalbench, 4 candidates × 2 seeds | 8 |" in table
    assert table.count("one Lightning fit per trial") == 2


def test_the_page_of_replayed_steps_says_which_goals_are_reached() -> None:
    times = graphs.StepTimes("cnn", 64, {"direct": [6e-3, 12e-3, 9e-3], "replayed": [1e-3, 2e-3, 3e-3]})
    busy = graphs.busy_share([(10, 12), (11, 12), (11, 13), (18, 20)])
    assert busy == 0.5
    fit = graphs.FitTimes(64, "direct", 1.5, 0.02, busy)
    page = graphs.page("a device", [times], [fit])
    assert "| cnn | 64 | 9000 | 2000 |  |  | 6.00 |" in page
    assert "Goal for cnn, 64 members: 5 times as fast. It was reached." in page
    assert "| 64 | direct | 1.50 | 20.0 | 50% | 50% |" in page
    slow = graphs.StepTimes("transformer", 64, {"direct": [1.0], "replayed": [1.0]})
    assert "Goal for transformer, 64 members: 1.8 times as fast. It was not reached." in graphs.page("", [slow], [])
