"""The RAND Health Insurance Experiment, as statsmodels ships it, so that nothing is fetched."""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import randhie

from evalbench.errors import DataError
from evalbench.tasks import Kind
from evalbench.workloads.dataset import Dataset

NUMBERS = ("coins", "lpi", "fmde", "physlm", "disea", "linc", "lfam", "educdec", "xage")
INDICATORS = ("idp", "hlthg", "hlthf", "hlthp", "female", "child", "fchild", "black")
"""The inputs of Cameron and Trivedi, Microeconometrics (2005), chapter 20."""
TARGET, PERSON = "mdvis", "zper"


def load() -> Dataset:
    """Return the visits to a doctor in a year; a row is a year of a person.

    The persons are the groups, so that every split keeps the years of a person together. The table that statsmodels
    documents lacks them, so this is the source beside it. Raises `DataError` if a version of statsmodels lacks that.
    """
    path = Path(randhie.__file__).parent / "src" / "randhie.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file: install a statsmodels that has it, such as 0.15.0")
    years = pd.read_csv(path, usecols=[*NUMBERS, *INDICATORS, TARGET, PERSON])
    inputs = years[[*NUMBERS, *INDICATORS]].assign(coins=np.log1p(years["coins"]))
    return Dataset(
        name="randhie",
        kind=Kind.COUNT,
        inputs=inputs.to_numpy(np.float32),
        targets=years[TARGET].to_numpy(np.float32),
        features=tuple(inputs.columns),
        numeric=np.isin(inputs.columns, NUMBERS),
        description="visits to a doctor in a year, from the insurance, health and person: RAND Health Insurance"
        " Experiment, public domain",
        groups=pd.factorize(years[PERSON], sort=True)[0].astype(np.int64),
    )
