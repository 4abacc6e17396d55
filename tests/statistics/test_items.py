"""Items of one test set: McNemar's exact test, clusters as in statsmodels, bounded memory."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from evalbench.statistics.design import interval_of
from evalbench.statistics.effects import MOST_WALSH, hodges_lehmann
from evalbench.statistics.items import Items
from evalbench.statistics.matrices import Matrix
from evalbench.statistics.significance import sign_flip, stratified_flip


def items(values: np.ndarray, clusters: np.ndarray | None = None) -> Items:
    seeds = tuple(range(values.size))
    codes = None if clusters is None else Matrix(clusters[:, None].astype(float), seeds, ("w",))
    return Items(Matrix(values[:, None], seeds, ("w",)), codes)


def differing(better: int, worse: int, same: int) -> np.ndarray:
    return np.repeat([1.0, -1.0, 0.0], [better, worse, same])


@pytest.mark.parametrize("counts", [(12, 5, 3), (30, 12, 200), (400, 380, 10_000), (40, 40, 0)])
def test_items_that_score_0_or_1_have_mcnemars_exact_test(counts: tuple[int, int, int]) -> None:
    better, worse, same = counts
    reference = mcnemar([[0, worse], [better, same]], exact=True).pvalue
    assert sign_flip(differing(*counts), np.random.default_rng(0)) == pytest.approx(reference)


def test_the_spread_of_items_counts_two_more_on_each_side() -> None:
    few = items(differing(1, 0, 299))
    assert few.sds == pytest.approx([np.sqrt(5 / 304 - (1 / 300) ** 2)])
    assert items(differing(0, 0, 300)).sds == pytest.approx([0.0])  # copies: no spread, no interval
    scores = np.random.default_rng(0).normal(size=50)
    assert items(scores).sds == pytest.approx([scores.std(ddof=1)])


def test_clusters_have_statsmodels_robust_error() -> None:
    draw = np.random.default_rng(3)
    sizes = draw.integers(1, 9, 25)
    clusters = np.repeat(np.arange(25), sizes)
    values = draw.normal(0.2, 1.0, clusters.size) + draw.normal(0, 1.0, 25)[clusters]
    fit = sm.OLS(values, np.ones(values.size)).fit()
    robust = fit.get_robustcov_results("cluster", groups=clusters, use_correction=True, df_correction=False)
    error = float(robust.bse[0])
    mine = items(values, clusters)
    assert mine.means == pytest.approx([values.mean()])
    assert mine.values.mean() == pytest.approx(values.mean())
    assert mine.sds / np.sqrt(mine.worth) == pytest.approx([error])
    assert mine.freedom == pytest.approx([sizes.sum() ** 2 / (sizes**2).sum() - 1])
    half = stats.t.ppf(0.975, mine.freedom[0]) * error
    assert interval_of(mine, 0.95).high == pytest.approx(values.mean() + half)
    assert mine.counts == (values.size,)
    alone = items(values, np.arange(values.size))
    assert interval_of(alone, 0.95).high == pytest.approx(interval_of(items(values), 0.95).high)


def test_thousands_of_differences_need_no_draws() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(0.02, 1.0, 20_000)
    normal = 2 * stats.norm.sf(abs(values.sum()) / np.sqrt((values**2).sum()))
    assert sign_flip(values, draw) == pytest.approx(normal)
    assert stratified_flip(values.reshape(200, 100), draw)[0] == pytest.approx(normal)
    assert stats.wilcoxon(values).pvalue == pytest.approx(normal, abs=0.2)
    part = values[: MOST_WALSH // 2]
    middle = hodges_lehmann(part)
    assert hodges_lehmann(np.tile(part, 3)) == pytest.approx(middle, abs=0.01)
    assert hodges_lehmann(differing(2_000, 1_000, 200)) == 0.0
