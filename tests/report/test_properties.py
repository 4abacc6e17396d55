"""What must not change a verdict, whatever the table."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalbench.record.foreign import load_table
from evalbench.record.options import Options
from evalbench.report.analysis.findings import JudgedFindings, find
from evalbench.statistics.verdicts import QUALITIES, Quality, classify
from report.conftest import with_verdicts

TECHNIQUES = ("base", "one", "two")
FLIPPED = {
    Quality.SUPERIOR: Quality.INFERIOR,
    Quality.BETTER: Quality.WORSE,
    Quality.INFERIOR: Quality.SUPERIOR,
    Quality.WORSE: Quality.BETTER,
    Quality.EQUIVALENT: Quality.EQUIVALENT,
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Small tables: effects, noise, data sets and seeds as they come, ties included."""
    seeds, workloads = draw(st.integers(2, 7)), draw(st.integers(1, 7))
    effects = draw(st.lists(st.sampled_from([-0.1, -0.01, 0.0, 0.004, 0.02, 0.1]), min_size=2, max_size=2))
    noise = draw(st.sampled_from([0.0, 0.001, 0.01, 0.1]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = [
        {"technique": name, "workload": f"w{w}", "seed": seed, "score": 0.5 + effect + noise * generator.normal()}
        for name, effect in zip(TECHNIQUES, (0.0, *effects), strict=True)
        for w in range(workloads)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def judged(rows: pd.DataFrame, baseline: str = "base", direction: str = "maximize") -> JudgedFindings:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.csv"
        rows.to_csv(path, index=False)
        return with_verdicts(find(load_table(path, Options(baseline, "quality", direction, rope=0.01, pairing="seed"))))


def verdicts(found: JudgedFindings) -> dict[str, tuple[object, ...]]:
    return {
        v.challenger: (v.quality, v.recommendation, v.wins, v.losses, round(v.effect.mean, 9), v.next_step, v.half_rope)
        for v in found.judged.verdicts
    }


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(tables(), st.integers(0, 100))
def test_neither_row_order_nor_extra_columns_nor_names_matter_and_flipping_the_direction_flips_the_verdict(
    rows: pd.DataFrame, seed: int
) -> None:
    found = judged(rows)
    shuffled = rows.sample(frac=1, random_state=seed).assign(message="noted", best_epoch=3)
    assert verdicts(judged(shuffled)) == verdicts(found)
    names = {"base": "zeta", "one": "A | b", "two": "none"}
    renamed = judged(rows.replace({"technique": names}), baseline="zeta")
    assert verdicts(renamed) == {names[name]: verdict for name, verdict in verdicts(found).items()}
    assert_flipped(found, judged(rows, direction="minimize"))


def assert_flipped(up: JudgedFindings, down: JudgedFindings) -> None:
    for a, b in zip(up.judged.verdicts, down.judged.verdicts, strict=True):
        assert abs(b.effect.mean + a.effect.mean) < 1e-12
        assert (b.wins, b.losses) == (a.losses, a.wins)
        assert b.effect.side == -a.effect.side
        for quality, other in ((a.quality, b.quality), (b.quality, a.quality)):
            if quality in FLIPPED and a.effect.side:
                assert other is FLIPPED[quality]
            elif quality is Quality.INFERIOR:  # what half of the data sets say: INFERIOR one way, BETTER the other
                assert other is Quality.BETTER


@given(
    st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 0.5)
)  # fmt: skip
def test_the_class_of_the_mirrored_interval_is_the_mirrored_class(
    mean: float, half: float, share: float, rope: float
) -> None:
    inner = half * share
    there = QUALITIES[int(classify(mean - half, mean + half, mean - inner, mean + inner, rope))]
    back = QUALITIES[int(classify(-mean - half, -mean + half, -mean - inner, -mean + inner, rope))]
    if there in FLIPPED:
        assert back is FLIPPED[there]
    else:  # NON-INFERIOR seen from the other side: it may be anything but better
        assert back not in (Quality.SUPERIOR, Quality.BETTER, Quality.EQUIVALENT)


@given(st.floats(0, 0.2), st.floats(0.001, 0.3), st.floats(0.5, 0.999))
def test_a_narrower_interval_never_turns_a_claim_into_its_opposite(mean: float, half: float, share: float) -> None:
    wide = QUALITIES[int(classify(mean - half, mean + half, mean - half, mean + half, 0.01))]
    close = half * share
    narrow = QUALITIES[int(classify(mean - close, mean + close, mean - close, mean + close, 0.01))]
    if wide in (Quality.SUPERIOR, Quality.BETTER):
        assert narrow in (Quality.SUPERIOR, Quality.BETTER, Quality.EQUIVALENT)
