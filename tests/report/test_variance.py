"""Where the noise comes from, in the report: a planted source is named, and what is not complete is refused."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalbench.errors import TableError
from evalbench.record.folder import load
from evalbench.record.variance import FILE
from evalbench.report.analysis.findings import find
from evalbench.report.sections.variance import VARIANCE

Make = Callable[..., Path]


def planted(folder: Path, make_folder: Make) -> pd.DataFrame:
    """Write scores that follow the split, with little else, and the same split effect for both techniques."""
    make_folder(folder, techniques=("sgd", "adam"), workloads=("wine", "diabetes"), seeds=3)
    noise, splits = np.random.default_rng(0), (-0.05, 0.0, 0.02, 0.03, 0.07)
    rows = [
        (name, workload, init, order, split, "COMPLETE", 0.9 + splits[split] + 0.002 * noise.standard_normal())
        for workload, name in product(("wine", "diabetes"), ("sgd", "adam"))
        for init, order, split in product(range(6), range(5), range(5))
    ]
    columns = ["technique", "workload", "init_seed", "order_seed", "split_seed", "state", "score"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(folder / FILE, index=False)
    return table


def text(folder: Path) -> str:
    return "\n\n".join(VARIANCE.markdown(find(load(folder))))


@pytest.mark.usefixtures("pictures")
@pytest.mark.slow
def test_the_planted_source_is_named_and_cancels_in_the_difference(tmp_path: Path, make_folder: Make) -> None:
    table = planted(tmp_path, make_folder)
    table.loc[7, "state"] = "DIVERGED"
    table.sample(frac=1, random_state=1).to_csv(tmp_path / FILE, index=False)  # the order of the rows is not used
    said = text(tmp_path)
    assert "- **Redraw splits**: they carry the largest part of the variance of the scores of `sgd` on `wine` (" in said
    assert "- **Redraw all three together**: what none of them carries alone is the largest part" in said
    assert "6 initial weights × 5 orders × 5 splits: 600 trials. 1 of them diverged" in said
    assert "1/150" in said
    numbers = next(iter(VARIANCE.drawings(find(load(tmp_path))).values())).numbers()
    shares = {
        (row["minus"], row["technique"]): row["share"] for row in numbers.to_dict("records") if row["source"] == "split"
    }
    assert min(shares["", "sgd"], shares["", "adam"]) > 0.98
    assert shares["sgd", "adam"] < 0.2


@pytest.mark.slow
def test_an_incomplete_design_is_refused_for_its_technique_alone(tmp_path: Path, make_folder: Make) -> None:
    table = planted(tmp_path, make_folder)
    table.loc[160, "state"], table.loc[160, "score"] = "FAILED", np.nan  # adam on wine
    table.drop(index=310).to_csv(tmp_path / FILE, index=False)  # sgd on diabetes
    said = text(tmp_path)
    for name, workload in (("adam", "wine"), ("sgd", "diabetes")):
        why = "1 of 150 trials failed or are missing, and only a complete design is decomposed"
        assert f"- `{name}` on `{workload}` is not decomposed: {why}." in said
    assert "- `adam − sgd` on `wine` is not decomposed: 1 of 300 trials" in said
    assert "the scores of `sgd` on `wine`" in said
    assert len(next(iter(VARIANCE.drawings(find(load(tmp_path))).values())).figure().axes) == 4


@pytest.mark.slow
def test_scores_that_are_all_the_same_have_no_noise(tmp_path: Path, make_folder: Make) -> None:
    planted(tmp_path, make_folder).assign(score=0.9).to_csv(tmp_path / FILE, index=False)
    said = text(tmp_path)
    assert "`sgd` on `wine` is not decomposed: all values are the same." in said
    assert "![" not in said


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("technique", "lion", "technique must be one of sgd, adam, not 'lion'"),
        ("workload", "iris", "workload must be one of wine, diabetes"),
        ("state", "LOST", "state must be one of"),
        ("split_seed", 1, "more than one row"),
        ("score", "nan", "score must be a finite number for technique sgd, workload wine, init_seed 0, order_seed 0"),
        ("init_seed", "first", "column init_seed holds numbers only"),
        ("order_seed", 0.5, "order_seed is not a whole number"),
    ],
)
def test_a_wrong_table_is_refused(column: str, value: object, message: str, tmp_path: Path, make_folder: Make) -> None:
    table = planted(tmp_path, make_folder)
    table[column] = pd.Series([value, *table[column][1:]], dtype=object)
    table.to_csv(tmp_path / FILE, index=False)
    with pytest.raises(TableError, match=message):
        load(tmp_path)
