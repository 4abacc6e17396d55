"""The benchmark measures what it says: all engines train the same trials."""

import os
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from benchmarks import engine, gpu, large, peers, reading, records, search, steps, table, twelve, wheels
from benchmarks.chapters import markdown
from benchmarks.engine import Part
from benchmarks.real_data import RealData
from benchmarks.records import Circumstances
from benchmarks.rounds import Engine
from benchmarks.work import DEVICE, Work
from evalbench.engine.batches import Batches
from evalbench.workloads import draw_split, frames, images


@pytest.mark.slow
def test_a_whole_sweep_trains_the_work_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CELLS", 2)
    alone = ("hydra/launcher=basic", "cost.rounds=0")
    work = Work("mlp", "32", ("dataset=wine", "model=mlp", "budget.epochs=10", *alone))
    accuracies = engine._whole_sweep(work, range(4), tmp_path)
    assert len(accuracies) == 4
    assert accuracies[:2] == engine._cohort(work, range(2), tmp_path)


@pytest.mark.slow
def test_every_engine_reaches_the_same_accuracy_and_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "CORES", 1)  # joblib then starts no process
    work = Work("mlp", "32", ("dataset=wine", "model=mlp", "budget.epochs=10"))
    part = Part(work, "mlp-32", 0, 5, cohorts=(1, 2), vmapped=(2,), cells=(2,))
    engine.measure(part, tmp_path, 5, most_rounds=1, threads=1, say=lambda _: None)
    absent = Work("nothing", "32", ("model=nothing",))
    engine.measure(Part(absent, "nothing-32", 1, 5), tmp_path, 5)
    measured = records.read(tmp_path)
    assert list(measured) == ["mlp-32", "nothing-32"]
    timings = measured["mlp-32"].timings
    assert table.disagreements(measured) == []
    exact = ("cohort-2", "cell-2", "lightning", "loop", "loop_over_cores", "vmap-2")
    for key in (*exact, "cohort-1", "scikit_learn"):
        assert len(timings[key].seconds) == 1, key
    accuracies = [timings[key].accuracies[0] for key in exact]
    assert max(accuracies) == pytest.approx(min(accuracies), abs=1e-6)

    page = markdown(table.chapters(measured))
    assert "| evalbench, cohort of 2 | 1 | 1 |" in page
    assert "(g) (b) as a CUDA graph: CUDA graphs need a CUDA device" in page or DEVICE.type == "cuda"
    assert "- nothing, batch 32: " in page
    assert "| the slowest cohort (mlp, batch 32: evalbench, cohort of " in page
    assert "agree on the test accuracies" in page
    timings["cohort-2"].accuracies[0] += 0.5
    assert len(table.disagreements(measured)) == 1


@pytest.mark.slow
def test_the_search_is_compared_on_the_same_candidates() -> None:
    table = search.measure(4, 2, ("dataset=wine", "budget.epochs=2"))
    assert "| evalbench, 4 candidates × 2 seeds | 8 |" in table
    assert table.count("one Lightning fit per trial") == 2


def test_a_part_that_is_interrupted_keeps_its_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("mlp", "32", ("dataset=wine", "model=mlp", "budget.epochs=1"))

    def train(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
        return [0.5 for _ in seeds]

    def interrupted(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
        raise KeyboardInterrupt

    def fails(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
        raise ValueError("no such\nnetwork")

    engines = {
        Engine("loop", "(b) PyTorch loop", 2, warm=False): train,
        Engine("bad", "(c)", 2, warm=False): fails,
        Engine("lightning", "(a)", 1, warm=False): interrupted,
    }
    monkeypatch.setattr(Part, "engines", lambda _: engines)
    with pytest.raises(KeyboardInterrupt):
        engine.measure(Part(work, "mlp-32", 0, 1), tmp_path, 1, say=lambda _: None)
    timings = records.read(tmp_path)["mlp-32"].timings
    assert timings["loop"].accuracies == {0: 0.5, 1: 0.5}
    assert timings["loop"].engine == next(iter(engines))
    page = markdown(table.chapters(records.read(tmp_path)))
    assert "- (a): the bench ended before its first round" in page
    assert "- (c): failed: ValueError: no such" in page


def test_the_page_shows_steps_before_and_after_and_says_which_aims_are_reached() -> None:
    busy = 0.5
    measured = steps.Steps(
        Circumstances("a command", "today", "a machine", "cuda", "versions"),
        [
            steps.StepTimes("cnn", 64, {"direct": [6e-3, 12e-3, 9e-3], "replayed": [1e-3, 2e-3, 3e-3]}),
            steps.StepTimes("transformer", 64, {"direct": [1.0], "replayed": [1.0]}),
        ],
        [steps.FitTimes(64, "direct", 1.5, 0.02, busy)],
    )
    page = markdown(table.chapters({}, measured))
    assert "| cnn | 64 | 3449 | 9000 | 2000 |" in page
    assert "| a step of cnn, 64 members, replayed | a direct step | ≥ 5 | 6.00 (3.00–6.00) | reached |" in page
    assert "| a direct step | ≥ 1.8 | 1.00 | missed: 56% of the aim |" in page
    assert "| 64 | direct | 1.50 | 20.0 | 50% | 50% |" in page


def test_wheels_have_the_tested_versions() -> None:
    constraints = "# tested\nMako==1.4.3\nhydra-core==1.3.8  # composes\n"
    assert wheels.pinned(("mako", "hydra_core", "ictonyx"), constraints) == [
        "Mako==1.4.3",
        "hydra-core==1.3.8",
        "ictonyx",
    ]


def test_wheels_are_unpacked_with_the_metadata_of_evalbench(tmp_path: Path) -> None:
    wheels.write_metadata(tmp_path)
    with zipfile.ZipFile(tmp_path / "some-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some/__init__.py", "")
    site = tmp_path / "site"
    gpu.unpack(tmp_path, site)
    assert (site / "some" / "__init__.py").exists()
    (distribution,) = metadata.distributions(name="evalbench-dl", path=[str(site)])
    assert distribution.version == metadata.version("evalbench-dl")
    assert [entry.value for entry in distribution.entry_points] == ["evalbench.__main__:main"]


def test_the_summary_has_each_failed_test_with_its_first_lines() -> None:
    log = """[gw1] [ 50%] PASSED tests/engine/test_graphs.py::test_one
[gw0] [100%] FAILED tests/engine/test_graphs.py::test_two[a b]
=================================== FAILURES ===================================
_______________________________ test_two[a b] _________________________________
tests/engine/test_graphs.py:7: in test_two
    assert first == second
E   assert 1 == 2
=========================== short test summary info ============================
FAILED tests/engine/test_graphs.py::test_two[a b] - assert 1 == 2
"""
    assert gpu.read_tests(log) == [
        "  1 passed, 1 failed",
        "  FAILED test_two[a b]: assert 1 == 2 @ test_graphs.py:7",
    ]
    assert gpu.read_tests("a crash") == ["  no test ended: a crash"]


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_ended_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "slow_part.py").write_text("import time\ndef main(arguments):\n    time.sleep(60)\n")
    (tmp_path / "short_part.py").write_text("def main(arguments):\n    print(arguments)\n    return 3\n")
    run = gpu.Run(tmp_path, seconds=60, environment={**os.environ, "PYTHONPATH": str(tmp_path)})
    for part in (gpu.Part("slow", 1, "slow_part"), gpu.Part("short", 10, "short_part", ("one",))):
        with gpu.start(run, part) as process:
            gpu.run_part(run, part, process)
    said = [line.split("] ")[-1] for line in run.summary]
    assert said[0] == "slow: out of time"
    assert said[-2:] == ["short: exit code 3", f"  ['one', '--records', '{tmp_path / 'records'}']"]
    assert run.failed


@pytest.mark.slow
def test_a_real_data_set_goes_from_a_file_to_a_row_of_the_table(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{number},{'yes' if number % 3 else 'no'}\n" for number in range(60))

    def write(path: Path) -> None:
        path.write_text(text)

    data = RealData("mine", "small", "made", write, ("model=ridge",))
    outcome = twelve.measure(data, tmp_path, ("num_seeds=1",))
    assert outcome.command == "evalbench -m dataset=csv dataset.path=mine.csv model=ridge"
    assert outcome.seconds > 0
    assert outcome.peak_mib > 50
    assert outcome.scores == "accuracy: ridge 0.667"  # two thirds say yes
    assert outcome.said.startswith("binary, 2 classes. Splits: 60 % train")
    assert "| mine (made) | small |" in twelve.table([outcome])


@pytest.mark.parametrize("name", ["images", "table"])
def test_every_way_to_read_gives_the_same_batches(name: str, tmp_path: Path) -> None:
    dataset, members = reading.made(tmp_path, name, 50), 2
    splits = [draw_split(dataset, 0.2, 0.2, seed) for seed in range(members)]
    batches = Batches(np.stack([split.train for split in splits]), 8, range(members))
    expected = [inputs.numpy() for inputs, _ in reading.loader(dataset, splits, batches, 0)()]
    for on_host in (False, True):
        read = [inputs.numpy() for inputs, _ in reading.cohort(dataset, splits, batches, on_host)()]
        of_trials = [inputs[member] for member in range(members) for inputs in read]
        assert all(np.array_equal(*pair) for pair in zip(of_trials, expected, strict=True))


def test_large_data_are_made_once(tmp_path: Path) -> None:
    pictures, rows = large.make_images(tmp_path, 50), large.make_table(tmp_path, 200)
    times = [path.stat().st_mtime_ns for path in (*pictures.rglob("*.png"), rows)]
    assert large.make_images(tmp_path, 50) == pictures
    assert large.make_table(tmp_path, 200) == rows
    assert [path.stat().st_mtime_ns for path in (*pictures.rglob("*.png"), rows)] == times
    assert images.folder(str(pictures)).image == (3, 32, 32)
    assert frames.parquet(str(rows)).classes == ("0", "1")
