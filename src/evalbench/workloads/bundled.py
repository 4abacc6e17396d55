"""The real data sets that scikit-learn ships, so that nothing is fetched."""

import numpy as np
from sklearn import datasets

from evalbench.errors import ConfigError
from evalbench.tasks import kind_of
from evalbench.workloads.dataset import Dataset

DESCRIPTIONS = {
    "breast_cancer": "Wisconsin diagnostic breast cancer: tumour from 30 measurements of cell nuclei",
    "diabetes": "disease progression after one year from 10 measurements of a patient",
    "digits": "handwritten digits, 8 x 8 grey pixels",
    "iris": "species of iris from 4 measurements of a flower",
    "wine": "cultivar of a wine from 13 chemical measurements",
}


def load(name: str) -> Dataset:
    """Return one of scikit-learn's bundled data sets by name."""
    if name not in DESCRIPTIONS:
        raise ConfigError("dataset.name", "must be one of " + ", ".join(DESCRIPTIONS), name, "choose one of them")
    source = getattr(datasets, f"load_{name}")()
    regression = name == "diabetes"
    classes = () if regression else tuple(str(label) for label in source.target_names)
    inputs = source.data.astype(np.float32)
    return Dataset(
        name=name,
        kind=kind_of(len(classes)),
        inputs=inputs,
        targets=source.target.astype(np.float32 if regression else np.int64),
        features=tuple(str(feature) for feature in source.feature_names),
        numeric=np.ones(inputs.shape[1], dtype=bool),
        classes=classes,
        description=DESCRIPTIONS[name],
        image=(1, 8, 8) if name == "digits" else None,
    )
