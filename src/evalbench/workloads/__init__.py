"""Workloads: data, splits and reference rows. One file per source of data, whose loader returns a `Dataset`."""

import json

from evalbench.config import Component
from evalbench.tasks import Kind
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.judging import judged
from evalbench.workloads.named import NamedWorkload
from evalbench.workloads.python import dataset_of
from evalbench.workloads.splits import Scaling, Split, development_part, draw_split, fit_scaling, hold_out, split_of
from evalbench.workloads.weighting import weight_scale

__all__ = [
    "Dataset",
    "Kind",
    "NamedWorkload",
    "Scaling",
    "Split",
    "dataset_of",
    "development_part",
    "draw_split",
    "fit_scaling",
    "hold_out",
    "judged",
    "load",
    "split_of",
    "weight_scale",
]

_loaded: dict[str, Dataset] = {}


def load(component: Component) -> Dataset:
    """Load the data set that the configuration names, once per process.

    Raises `DataError` or `ConfigError` if it cannot be used.
    """
    key = json.dumps(component.spec(), sort_keys=True, default=str)
    if key not in _loaded:
        name = component.arguments.get("name") or component.target.rpartition(".")[2]
        _loaded[key] = dataset_of(component.build(), str(name))
    return _loaded[key]
