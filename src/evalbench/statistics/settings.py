"""Averaging over the settings of the other factors, so that one seed counts once however many settings it ran with."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def average_settings(
    table: pd.DataFrame, factors: Sequence[str], values: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean over the settings of the other factors within each workload and seed, on balanced seeds only.

    A setting is one combination of the factors' levels. The settings of a workload are those that at least one of its
    seeds has; a seed that lacks one of them is left out, because a mean over fewer settings is another quantity. A
    setting that no seed has is left out for all seeds alike.

    Args:
        table: columns `workload`, `seed`, the factors and the values; one row per workload, seed and setting.
        factors: names of the other factors; empty if nothing else varies.
        values: columns to average.

    Returns:
        The averages (`workload`, `seed` and the values, one row each, in order of workload and seed) and the
        workloads and seeds that were left out.
    """
    by = ["workload", "seed"]
    if not factors or table.empty:
        return table[[*by, *values]].sort_values(by, kind="stable", ignore_index=True), table.loc[[], by]
    # A fixed order of summation: the mean of the same numbers in another order may differ in the last bit.
    ordered = table.sort_values([*by, *factors], kind="stable")
    groups = ordered.groupby(by, sort=True)
    averages = groups[list(values)].mean()
    sizes = groups.size()
    num_settings = ordered.drop_duplicates(["workload", *factors]).groupby("workload").size()
    balanced = sizes == num_settings.reindex(sizes.index, level="workload")
    left_out = sizes.index[~balanced].to_frame(index=False)
    return averages[balanced].reset_index(), left_out
