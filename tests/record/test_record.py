"""The folder of an evaluation: what evalbench 0.1.0 wrote is read, what a newer one writes is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.declared import read_evaluation
from evalbench.record.schema import VERSION
from evalbench.record.skill import best_possible
from evalbench.report import read

FIRST = Path(__file__).parent / "data" / "0.1.0"
WORDS = ["sentence", "next", "caps"]


def test_a_folder_of_the_first_version_gives_the_verdicts_that_it_gave() -> None:
    report = read(FIRST)
    expected = pd.read_csv(FIRST / "verdicts.csv").drop(columns=WORDS)
    pd.testing.assert_frame_equal(report.verdicts.drop(columns=WORDS), expected, check_dtype=False, rtol=1e-8)
    assert len(report.frame("tuning_choices")) == 10
    assert report.frame("default_verdicts")["quality"].tolist() == ["INFERIOR"]


@pytest.mark.parametrize("version", [VERSION + 1, -1, "2", None])
def test_a_version_that_nobody_knows_is_refused_in_one_line(tmp_path: Path, version: object) -> None:
    raw = json.loads((FIRST / "evaluation.json").read_text(encoding="utf-8"))
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**raw, "version": version}), encoding="utf-8")
    with pytest.raises(TableError, match=f"version must be 0 to {VERSION}, not {version!r}"):
        read_evaluation(path)
    shutil.copy(FIRST / "evaluation.json", path)
    assert read_evaluation(path).name == "tuned"


def test_best_possible_is_declared_never_guessed() -> None:
    workload = next(iter(read_evaluation(FIRST / "evaluation.json").workloads.values()))
    known = [replace(workload, metric=f"test/{name}") for name in ("r2", "rmse", "perplexity")]
    assert [best_possible(one) for one in known] == [1.0, 0.0, 1.0]
    bleu = replace(workload, metric="test/bleu")
    assert best_possible(replace(bleu, words="BLEU", best=100.0)) == 100.0
    with pytest.raises(TableError, match="metric 'test/bleu' has no best possible score"):
        best_possible(bleu)
