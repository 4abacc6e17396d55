"""A planted effect: the honest answer is a number of seeds, and with that number there is an answer."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.record.foreign import load_table
from evalbench.record.options import Options
from evalbench.report import Report
from evalbench.report.analysis.findings import Findings, JudgedFindings, find
from evalbench.statistics.judging import NextStep
from evalbench.statistics.verdicts import Quality, Recommendation

OPTIONS = Options("sgd", "accuracy", rope=0.005, unit="split")


def runs(num_seeds: int, effect: float, noise: float, **columns: float) -> pd.DataFrame:
    """Runs on one data set, a planted effect, and noise that belongs to the seed: more seeds repeat the first ones."""
    generator = np.random.default_rng(1)
    shared, own = generator.normal(0, noise, 400), generator.normal(0, noise, (2, 400))
    rows = [
        {
            "technique": name,
            "workload": "digits",
            "seed": seed,
            "score": 0.9 + effect * place + shared[seed] + own[place, seed] / np.sqrt(2),
            **columns,
        }
        for place, name in enumerate(("sgd", "adam"))
        for seed in range(num_seeds)
    ]
    return pd.DataFrame(rows)


def judged(path: Path, rows: pd.DataFrame) -> tuple[Findings, str]:
    file = path / "results.csv"
    rows.to_csv(file, index=False)
    found = find(load_table(file, OPTIONS))
    return found, Report(found).save(path / "report").read_text(encoding="utf-8")


@pytest.mark.slow
def test_insufficient_evidence_then_that_many_seeds_then_an_answer(tmp_path: Path) -> None:
    found, said = judged(tmp_path, runs(6, effect=0.008, noise=0.008))
    assert isinstance(found, JudgedFindings)
    first = found.judged.verdict("adam")
    assert first.recommendation is Recommendation.INSUFFICIENT
    match = re.search(r"Next: a new evaluation with (\d+) splits\.", said)
    assert match is not None
    wanted = int(match[1])
    assert first.next_step == NextStep("seeds", wanted)
    assert first.prices.seeds_for_rope == wanted
    found, said = judged(tmp_path, runs(wanted, effect=0.008, noise=0.008))
    assert isinstance(found, JudgedFindings)
    verdict = found.judged.verdict("adam")
    assert (verdict.effect.high - verdict.effect.low) / 2 <= 0.005 * 1.2  # it was promised from six seeds' spread
    assert verdict.effect.low < 0.008 < verdict.effect.high
    assert verdict.quality is Quality.BETTER
    assert verdict.recommendation is Recommendation.TRIAL


@pytest.mark.slow
def test_not_resolvable_by_seeds(tmp_path: Path) -> None:
    rows = runs(6, effect=0.008, noise=0.008, num_train=60.0, num_test=20.0)
    found, said = judged(tmp_path, rows)
    assert isinstance(found, JudgedFindings)
    assert found.judged.verdict("adam").recommendation is Recommendation.INSUFFICIENT
    assert "Next: more rows or more data sets, not more splits; any true difference lies in [" in said
    # A hundred times the rows, but in the same proportion, changes nothing: the seeds would still share them.
    again, _ = judged(tmp_path, runs(200, effect=0.008, noise=0.008, num_train=60.0, num_test=20.0))
    assert isinstance(again, JudgedFindings)
    effect = again.judged.verdict("adam").effect
    assert effect.high - effect.low > 2 * 0.005
    assert effect.side == 0
