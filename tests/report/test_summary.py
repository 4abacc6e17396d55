"""`summary.json`: its schema holds for every kind of report, and what does not fit it is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft7Validator
from scipy import stats

from evalbench.comparison import compare
from evalbench.comparison.__main__ import main as compare_main
from evalbench.errors import TableError
from evalbench.record.summary import FILE, read_summary, schema, settings_hash, write_summary
from evalbench.report import Report, judge, read
from evalbench.report.__main__ import main
from evalbench.report.summary import summary_of
from report.test_algoperf import scored

Make = Callable[..., Path]
EXAMPLES = Path(__file__).parents[2] / "reports" / "examples"


def strict(part: Any) -> Any:
    """Return the schema without fields that it does not name, so that none is written without a description."""
    if isinstance(part, dict):
        closed = {key: strict(value) for key, value in part.items()}
        return closed | {"additionalProperties": False} if "properties" in part and "type" in part else closed
    return [strict(one) for one in part] if isinstance(part, list) else part


STRICT = Draft7Validator(strict(schema()))
Draft7Validator.check_schema(schema())


def summary(report: Report, folder: Path) -> dict[str, Any]:
    """Return the summary as it is written and read, every field of it described."""
    folder.mkdir(exist_ok=True)
    content = read_summary(write_summary(folder, summary_of(report.findings)))
    STRICT.validate(content)
    return content


def table(gain: float, seed: int = 0, offset: int = 0, **columns: Any) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {"technique": t, "workload": w, "seed": s + offset, "score": 0.8 + gain * (t == "b") + 0.01 * z, **columns}
        for t in "ab"
        for w in "uvwxyz"
        for s, z in enumerate(generator.normal(size=8))
    )


@pytest.mark.parametrize(
    "options",
    [
        {"costs": {"sgd": 1e-3, "bgd": 1e-3, "adam": 2e-3}},
        {"failed": ("adam", "digits"), "diverged": ("sgd", "wine", 1)},
        {"factors": {"activation": ["relu", "tanh"]}, "workloads": ("digits", "wine")},
        {"workloads": ("digits",), "techniques": ("sgd",), "factor": None},
    ],
    ids=["costs", "failed", "factors", "described"],
)
@pytest.mark.slow
def test_the_summary_of_a_folder_fits_the_schema(tmp_path: Path, make_folder: Make, options: dict[str, Any]) -> None:
    report = read(make_folder(tmp_path, **options))
    content = summary(report, tmp_path)
    kinds = {"ring": "recommendation", "quality": "quality", "wins": "wins", "cost_class": "cost_class"}
    verdicts = report.verdicts[report.verdicts["ring"] != "baseline"] if len(report.verdicts) else report.verdicts
    for row in verdicts.to_dict("records"):
        one = next(one for one in content["techniques"] if one["name"] == row["technique"])
        assert {ours: one[ours] for ours in kinds.values()} == {ours: row[theirs] for theirs, ours in kinds.items()}
        ends = [math.nan if one["effect"][name] is None else one["effect"][name] for name in ("mean", "low", "high")]
        assert ends == pytest.approx([row["effect"], row["low"], row["high"]], nan_ok=True)
        assert one["cost"] is None or one["cost"]["ratio"] == pytest.approx(row["cost_ratio"])
    assert content["date"] == "2026-01-01T00:01:00+00:00"
    assert content["kind"] == ("verdicts" if len(verdicts) else "description")


def test_effects_have_the_sign_that_the_report_prints(tmp_path: Path) -> None:
    report = judge(table(-0.1), "a", direction="minimize", metric="error", rope=0.01, unit="seed", pairing="seed")
    content = summary(report, tmp_path)
    (b,) = (one for one in content["techniques"] if not one["is_baseline"])
    assert content["unit"]["better"] == "lower"
    assert b["effect"]["mean"] == pytest.approx(report.verdicts["effect"].iloc[1])
    assert b["effect"]["high"] < 0
    assert (b["quality"], b["settings_hash"]) == ("SUPERIOR", None)


@pytest.mark.slow
def test_pages_of_every_kind_have_a_summary(tmp_path: Path) -> None:
    scored(tmp_path)
    losses = table(-0.1).rename(columns={"score": "loss"}).assign(time=lambda t: 100 + 10 * t["loss"])
    losses.to_csv(tmp_path / "loss.csv", index=False)
    table(0.1).to_csv(tmp_path / "score.csv", index=False)
    roles = ["--require", "loss:better", "time:better:1%", "--unit", "seed", "--pairing", "seed"]
    for name, file, options in (
        ("joint", "loss", ["--baseline", "a", *roles]),
        ("constant", "score", ["--against", "0.85", "--metric", "accuracy", "--rope", "0.01"]),
    ):
        assert main([str(tmp_path / f"{file}.csv"), *options, "--out", str(tmp_path / name)]) == 0
    for name, kind in (("out", "algoperf"), ("joint", "joint"), ("constant", "constant")):
        content = read_summary(tmp_path / name / FILE)
        STRICT.validate(content)
        assert content["kind"] == kind
        assert content["techniques"]
    assert {one["recommendation"] for one in read_summary(tmp_path / "joint" / FILE)["techniques"]} == {None, "ADOPT"}


@pytest.mark.parametrize("folder", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_the_examples_have_summaries_that_fit_the_schema(folder: str) -> None:
    content = read_summary(EXAMPLES / folder / FILE)
    STRICT.validate(content)
    assert content["answer"]


def test_settings_tell_techniques_of_one_name_apart() -> None:
    hashes = [
        settings_hash({"lr": 0.1, "wd": 0}),
        settings_hash({"wd": 0, "lr": 0.1}),
        settings_hash({"lr": 0.2, "wd": 0}),
        settings_hash({"lr": 0.1, "wd": 0}, space={"lr": [0.1, 0.2]}),
        settings_hash({"lr": 0.1, "wd": 0}, code={"mine": "hash"}),
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4
    assert settings_hash(None) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ('{"version": NaN}', "NaN is no number"),
        ("[]", "version must be 1, not None"),
        ('{"version": 2}', "version must be 1, not 2"),
        ('{"version": 1}', r"data must contain .*'evalbench'"),
        ("[" * 100_000, "cannot be read as JSON"),
        (f'{{"version": {"9" * 400}}}', "an integer of 400 digits is too large"),
    ],
)
def test_what_is_no_summary_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(TableError, match=words):
        read_summary(tmp_path / FILE)


def judged(folder: Path, gain: float, seed: int = 0, offset: int = 0) -> Path:
    """Write nothing but the summary of a report into a folder."""
    report = judge(
        table(gain, seed, offset), "a", metric="accuracy", rope=0.005, unit="seed", pairing="seed", name=folder.name
    )
    folder.mkdir()
    return write_summary(folder, summary_of(report.findings)).parent


def test_two_summaries_are_compared_and_gated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, same, worse = (judged(tmp_path / name, gain) for name, gain in (("old", 0.0), ("same", 0.0), ("worse", -0.1)))
    assert compare_main([str(old), str(same), "--gate"]) == 0
    assert "practically the same" in capsys.readouterr().out
    assert compare_main([str(old / FILE), str(worse), "--gate"]) == 1
    said = capsys.readouterr().out
    assert "From summaries: changes of the effects against the baseline" in said
    assert "gate: closed, b got worse" in said
    assert compare_main([str(worse), str(old), "--gate"]) == 0
    assert "| b | got better |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_summary_stands_for_its_folder(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "tables", workloads=("digits", "wine"))
    alone = tmp_path / "alone"
    alone.mkdir()
    write_summary(alone, summary_of(read(folder).findings))
    for old in (folder, folder / "results.csv"):  # an older folder has no summary: it is made of the tables
        comparison = compare(old, alone)
        assert [change.words for change in comparison.changes] == ["practically the same"] * 2
        assert not comparison.provenance
    content = read_summary(alone / FILE)
    content["provenance"]["versions"]["torch"] = "2.14.0"
    write_summary(alone, content)
    assert compare(folder, alone).provenance == {"version of torch": ("2.13.0", "2.14.0")}


def test_the_change_of_an_effect_has_welchs_interval(tmp_path: Path) -> None:
    effects = [{"mean": m, "low": m - h, "high": m + h, "confidence": 0.95, "freedom": 7} for m, h in ((1, 3), (5, 4))]
    content = read_summary(judged(tmp_path / "a", 0.0) / FILE)
    for name, effect in zip("xy", effects, strict=True):
        techniques = [{**one, "effect": effect} for one in content["techniques"] if not one["is_baseline"]]
        (tmp_path / name).mkdir()
        write_summary(tmp_path / name, {**content, "techniques": techniques})
    (change,) = compare(tmp_path / "x", tmp_path / "y").changes
    t = float(stats.t.ppf(0.975, 7))
    a, b = 3 / t, 4 / t
    freedom = (a**2 + b**2) ** 2 / (a**4 / 7 + b**4 / 7)
    half = float(stats.t.ppf(0.975, freedom)) * math.hypot(a, b)
    assert (change.low, change.mean, change.high) == pytest.approx((4 - half, 4, 4 + half))


def test_summaries_of_other_things_are_not_compared(tmp_path: Path) -> None:
    old = judged(tmp_path / "old", 0.0)
    content = json.loads((old / FILE).read_text())
    refused: dict[str, dict[str, Any]] = {
        "against other baselines": {"baseline": "c"},
        "in different units": {"unit": {**content["unit"], "name": "skill"}},
        "no technique in common": {"techniques": []},
        "must hold differences": {"kind": "joint"},
        "other data sets": {"scope": {**content["scope"], "workloads": content["scope"]["workloads"][:2]}},
    }
    for number, (words, change) in enumerate(refused.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_summary(folder, {**content, **change})
        with pytest.raises(TableError, match=words):
            compare(old, folder)
