"""Comparing with an earlier evaluation, and the gate for continuous integration."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.comparison import compare
from evalbench.comparison.__main__ import main
from evalbench.record.options import Options
from evalbench.statistics.verdicts import Quality

OPTIONS = ["--baseline", "sgd", "--metric", "accuracy", "--rope", "0.005"]


def table(path: Path, worse: float = 0.0, on: str = "abcdef", offset: int = 0, seeds: int = 8) -> Path:
    generator = np.random.default_rng(3 + offset)
    rows = [
        {
            "technique": t,
            "workload": w,
            "seed": s + offset,
            "score": 0.8 + 0.01 * generator.normal() - worse * (t == "adam" and w in on) + 1e-4 * ((s + offset) % 3),
        }
        for t in ("sgd", "adam")
        for w in "abcdef"
        for s in range(seeds)
    ]
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_what_got_worse_closes_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = table(tmp_path / "old.csv"), table(tmp_path / "new.csv", worse=0.05)
    jittered = pd.read_csv(new)
    jittered["score"] += np.random.default_rng(9).normal(0, 0.002, len(jittered))
    jittered.to_csv(new, index=False)
    assert main([str(old), str(new), *OPTIONS, "--gate"]) == 1
    said = capsys.readouterr().out
    assert "| adam | got worse |" in said
    assert "gate: closed, adam got worse" in said
    assert main([str(old), str(new), *OPTIONS]) == 0  # without the gate it only tells
    assert main([str(new), str(old), *OPTIONS, "--gate"]) == 0
    assert "| adam | got better |" in capsys.readouterr().out


def test_the_same_table_twice_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = table(tmp_path / "old.csv")
    assert main([str(old), str(old), *OPTIONS, "--gate"]) == 0
    said = capsys.readouterr().out
    assert said.count("practically the same") == 2
    assert "Nothing differs" in said


@pytest.mark.slow
def test_noise_does_not_close_the_gate(tmp_path: Path) -> None:
    old, new = table(tmp_path / "old.csv"), table(tmp_path / "new.csv")
    noisy = pd.read_csv(new)
    noisy["score"] += np.random.default_rng(1).normal(0, 0.01, len(noisy))
    noisy.to_csv(new, index=False)
    assert main([str(old), str(new), *OPTIONS, "--gate"]) == 0


def test_tables_of_one_technique_are_compared(tmp_path: Path) -> None:
    sides = {name: table(tmp_path / f"{name}.csv", worse=worse) for name, worse in (("old", 0.0), ("new", 0.05))}
    for number, path in enumerate(sides.values()):
        adam = pd.read_csv(path).query("technique == 'adam'")
        jitter = np.random.default_rng(number).normal(0, 0.002, len(adam))
        adam.assign(score=adam["score"] + jitter).to_csv(path, index=False)
    (change,) = compare(sides["old"], sides["new"], Options(baseline="adam", rope=0.005, pairing="seed")).changes
    assert (change.technique, change.words) == ("adam", "got worse")


def test_what_broke_on_one_data_set_is_not_averaged_away(tmp_path: Path) -> None:
    old, new = table(tmp_path / "old.csv"), table(tmp_path / "new.csv", worse=0.02, on="c")
    noisy = pd.read_csv(new)
    noisy["score"] += np.random.default_rng(1).normal(0, 0.003, len(noisy))
    noisy.to_csv(new, index=False)
    found = compare(old, new, Options("sgd", "accuracy", rope=0.005, pairing="seed"))
    adam = next(change for change in found.changes if change.technique == "adam")
    assert adam.quality is not Quality.INFERIOR
    assert adam.worse_on == ("c",)
    assert found.worse == ("adam",)


@pytest.mark.slow
def test_other_seeds_are_compared_without_pairs(tmp_path: Path) -> None:
    old, new = table(tmp_path / "old.csv"), table(tmp_path / "new.csv", worse=0.05, offset=100)
    found = compare(old, new, Options("sgd", "accuracy", rope=0.005, pairing="seed"))
    assert not any(change.paired for change in found.changes)
    assert found.worse == ("adam",)
    one = [pd.read_csv(path) for path in (old, new)]
    for path, rows in zip((old, new), one, strict=True):
        rows[rows["workload"] == "a"].to_csv(path, index=False)
    assert compare(old, new, Options("sgd", "accuracy", rope=0.005, pairing="seed")).worse == ("adam",)


def test_what_differs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = table(tmp_path / "old.csv"), table(tmp_path / "new.csv")
    rows = pd.read_csv(new)
    more = rows[rows["technique"] == "adam"].assign(technique="lion")
    pd.concat([rows[rows["workload"] != "f"], more[more["workload"] != "f"]]).to_csv(new, index=False)
    assert main([str(old), str(new), *OPTIONS]) == 0
    said = capsys.readouterr().out
    assert "Only in the new evaluation: lion." in said
    assert "Workloads of one evaluation alone: f." in said


@pytest.mark.slow
def test_tables_that_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = table(tmp_path / "old.csv")
    assert main([str(old), str(tmp_path / "none.csv"), *OPTIONS]) == 2
    assert main([str(old), str(old)]) == 2
    assert "--baseline" in capsys.readouterr().err
    other = pd.read_csv(old).replace({"workload": {name: name * 2 for name in "abcdef"}})
    other.to_csv(tmp_path / "other.csv", index=False)
    assert main([str(old), str(tmp_path / "other.csv"), *OPTIONS]) == 2
    said = capsys.readouterr().err
    assert "no workload in common" in said
    assert said.count("\n") == 1
    assert main([str(old), str(old), *OPTIONS[:-1], "2%", "--effect", "ratio"]) == 2
    assert "leave --effect ratio out" in capsys.readouterr().err


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.slow
def test_what_fails_in_the_new_one_does_not_pass_the_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], offset: int
) -> None:
    wide = ["--baseline", "sgd", "--metric", "quality", "--rope", "0.3"]  # all scores lie within the ROPE
    old, rows = table(tmp_path / "old.csv"), pd.read_csv(table(tmp_path / "new.csv", offset=offset))
    adam = rows["technique"] == "adam"
    for gone, change in (
        (adam, "got worse"),
        (adam & (rows["seed"] - offset < 7), "got worse"),
        (adam & (rows["workload"] == "c"), "got worse on c"),
        (adam & (rows["seed"] - offset < 1), "slightly worse" if offset == 0 else "within noise"),  # never the same
    ):
        rows.assign(state=np.where(gone, "FAILED", "COMPLETE")).to_csv(tmp_path / "new.csv", index=False)
        code = main([str(old), str(tmp_path / "new.csv"), *wide, "--gate"])
        assert f"| adam | {change} |" in capsys.readouterr().out
        assert code == ("got worse" in change)
    one = [pd.read_csv(tmp_path / name).query("workload == 'a'") for name in ("old.csv", "new.csv")]
    one[1]["state"] = np.where(one[1]["technique"] == "adam", "DIVERGED", "COMPLETE")
    for name, part in zip(("old.csv", "new.csv"), one, strict=True):
        part.to_csv(tmp_path / name, index=False)
    assert main([str(old), str(tmp_path / "new.csv"), *wide, "--gate"]) == 1


def test_another_metric_does_not_pass_the_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = table(tmp_path / "old.csv")
    rows = pd.read_csv(old)
    rows.assign(direction="minimize").to_csv(tmp_path / "new.csv", index=False)
    assert main([str(old), str(tmp_path / "new.csv"), *OPTIONS, "--gate"]) == 2
    assert "workload a has other metrics (maximize accuracy and minimize" in capsys.readouterr().err
    assert main([str(old), str(old), "--baseline", "sgd", "--rope", "-1"]) == 2


@pytest.mark.slow
def test_two_folders_differ_in_provenance(tmp_path: Path) -> None:
    from report.conftest import make  # the same small folders as the report's tests

    old, new = make(tmp_path / "old", seeds=6), make(tmp_path / "new", seeds=6)
    raw = json.loads((new / "evaluation.json").read_text())
    raw["provenance"]["versions"]["torch"] = "9.9"
    raw["workloads"]["digits"]["fingerprint"] = "other"
    (new / "evaluation.json").write_text(json.dumps(raw))
    found = compare(old / "results.csv", new / "results.csv")
    assert found.provenance == {"version of torch": ("2.13.0", "9.9"), "data of digits": ("00ff1ce", "other")}
    assert not any(change.paired for change in found.changes)  # the data are not the same: neither are the seeds
