"""Several metrics at once, a technique against a constant, and single runs: what is said, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.options import Options
from evalbench.report import judge
from evalbench.report.__main__ import main
from evalbench.report.constant import against
from evalbench.report.joint import judge_jointly, requirement
from evalbench.report.sections.singles import singles_of
from evalbench.statistics.verdicts import Recommendation

TRUE = {"base": (0.0, 1.0), "new": (0.0002, 0.987), "lossy": (0.02, 0.9), "slow": (-0.003, 1.1), "open": (0.0, 1.0)}


def runs(seeds: int = 12) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    rows = [
        {
            "technique": name,
            "workload": "gpt",
            "seed": seed,
            "loss": 3.28 + loss + 0.0008 * generator.normal(),
            "time": 200 * time * (1 + 0.004 * generator.normal()),
        }
        for name, (loss, time) in TRUE.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


WANTED = [requirement("loss:not-worse:0.002"), requirement("time:better")]


def test_one_verdict_over_all_metrics() -> None:
    report = judge_jointly(runs(), WANTED, Options("base", pairing="seed"))
    joint = {one.technique: one for one in report.joint}
    assert joint["new"].sentence.startswith("not worse in loss, 1.")
    assert joint["new"].sentence.endswith(" % faster: adopt")
    assert {name: one.recommendation for name, one in joint.items()} == {
        "new": Recommendation.ADOPT,
        "lossy": Recommendation.HOLD,
        "slow": Recommendation.HOLD,
        "open": Recommendation.INSUFFICIENT,
    }
    assert re.fullmatch(r"loss higher by 0\.0197\d*, 10\.03 % faster: keep the baseline", joint["lossy"].sentence)
    assert list(report.verdicts["ring"]) == ["ADOPT", "HOLD", "HOLD", "INSUFFICIENT EVIDENCE"]


@pytest.mark.slow
def test_the_command_writes_the_joint_report_and_one_per_metric(tmp_path: Path) -> None:
    runs().to_csv(tmp_path / "runs.csv", index=False)
    asked = [str(tmp_path / "runs.csv"), "--baseline", "base", "--pairing", "seed", "--out", str(tmp_path / "out")]
    assert main([*asked, "--require", "loss:not-worse:0.002", "time:better"]) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "% faster: adopt → **ADOPT**" in said
    assert "intersection-union test" in said
    assert (tmp_path / "out" / "loss" / "report.html").is_file()
    assert '<a href="loss/report.html">report</a>' in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "lower time was taken as better" in (tmp_path / "out" / "time" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["loss"], "--require takes METRIC:ROLE"),
        (["loss:good"], "with a role of better, not-worse, same"),
        (["loss:better:x"], "the ROPE of loss must be a number"),
        (["loss:not-worse", "time:better"], "loss needs a ROPE: write loss:not-worse:0.01"),
        (["loss:better", "loss:same:1%"], "names a metric twice"),
        (["auc:better"], "the table has no column auc"),
    ],
)
def test_a_wrong_requirement_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(TableError, match=message):
        judge_jointly(runs(), [requirement(text) for text in texts], Options("base", pairing="seed"))


def test_a_speed_run_record_is_confirmed(tmp_path: Path) -> None:
    # records/011425_UnetAttnScale of modded-nanogpt, whose README says p=0.0002.
    path = Path(__file__).parent / "published" / "nanogpt.csv"
    table = pd.read_csv(path).assign(workload="fineweb", seed=0).rename(columns={"loss": "score"})
    report = against(table, 3.28, Options("", metric="loss"), alpha=0.01)
    assert report.verdicts["p"][0] == pytest.approx(0.0002, abs=5e-5)
    assert report.beats("UNet scales")
    assert main([str(path), "--against", "3.28", "--out", str(tmp_path / "out")]) == 0
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "**BEATS IT** (one-sided p < .001, 26 runs)" in said
    assert "lower loss was taken as better" in said


def test_a_constant_refuses_what_it_cannot_test() -> None:
    table = runs(1).rename(columns={"loss": "score"}).drop(columns="time")
    with pytest.raises(TableError, match="base has 1 run on gpt: a test needs 2"):
        against(table, 3.28, Options("", metric="loss"))
    failed = runs(3).rename(columns={"loss": "score"}).assign(state="FAILED")
    failed.loc[3:, "state"] = "COMPLETE"
    with pytest.raises(TableError, match="a run of base on gpt failed"):
        against(failed, 3.28, Options("", metric="loss"))


def singles() -> pd.DataFrame:
    shares = np.round(1319 * (0.30 + 0.004 * np.arange(3))) / 1319
    names = [f"method {index}" for index in range(3)]
    return pd.DataFrame({"technique": names, "workload": "gsm8k", "seed": 0, "accuracy": shares})


def test_without_the_size_of_the_test_set_nothing_is_claimed() -> None:
    few = singles()
    assert "not known: the number of test rows is not given" in judge(few, "method 0", score="accuracy").markdown
    other = few.rename(columns={"accuracy": "macro_f1"})
    assert "it is known for accuracy alone" in judge(other, "method 0", score="macro_f1", test_size=1319).markdown
    several = pd.concat([few, few.assign(workload="other")])
    assert singles_of(judge(several, "method 0", score="accuracy").findings) is None
