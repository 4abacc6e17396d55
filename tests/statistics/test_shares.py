from itertools import product

import pandas as pd
import pytest

from evalbench.statistics.shares import variance_shares


def table() -> pd.DataFrame:
    rows = [
        {"workload": w, "a": a, "b": b, "seed": s, "score": {"x": 0.0, "y": 3.0}[w] + 2.0 * a + 1.0 * b + 2.0 * a * b}
        for w, a, b, s in product("xy", (-1, 1), (-1, 1), (0, 1))
    ]
    return pd.DataFrame(rows)


def test_orthogonal_parts_add_up() -> None:
    shares = {share.factors: share.share for share in variance_shares(table(), ["a", "b"], "score", "workload")}
    assert shares == pytest.approx({("a",): 4 / 9, ("b",): 1 / 9, ("a", "b"): 4 / 9, ("rest",): 0.0})


def test_an_unbalanced_table_is_refused() -> None:
    with pytest.raises(ValueError, match="as many trials"):
        variance_shares(table().iloc[1:], ["a", "b"], "score", "workload")


def test_no_variance_is_nobodys() -> None:
    shares = variance_shares(table().assign(score=1.0), ["a"], "score", "workload")
    assert [share.share for share in shares] == [0.0, 0.0]
