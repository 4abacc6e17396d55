"""Data sets that Python hands over as objects: known by their content, and only in the process that has them."""

from evalbench.errors import DataError
from evalbench.workloads.dataset import Dataset

_datasets: dict[tuple[str, str], Dataset] = {}


def give(dataset: Dataset) -> dict[str, str]:
    """Keep a data set for this process; return the settings by which a configuration finds it again."""
    _datasets[dataset.name, dataset.fingerprint] = dataset
    return {"_target_": f"{__name__}.given", "name": dataset.name, "fingerprint": dataset.fingerprint}


def given(name: str, fingerprint: str) -> Dataset:
    """Return the data set of a fingerprint; raise `DataError` if this process was not given it."""
    if (name, fingerprint) not in _datasets:
        raise DataError(f"{name}: this process was not given the data: train in the process that has them, workers=0")
    return _datasets[name, fingerprint]
