"""The answers of real people to surveys, as tables that statsmodels ships, so that nothing is fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd
from statsmodels.datasets import anes96, fair

from evalbench.errors import ConfigError
from evalbench.tasks import kind_of
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.inputs import CategoryInput, NumberInput
from evalbench.workloads.preprocessing import Encoding


@dataclass(frozen=True)
class _Survey:
    """Which columns of a table are inputs; the columns that are in neither list stay out."""

    source: ModuleType
    description: str
    target: str
    classes: tuple[str, ...]
    numbers: tuple[str, ...]
    codes: tuple[str, ...] = ()
    """Columns of numbered categories, each category an indicator of its own."""
    is_yes: Callable[[pd.Series], pd.Series] | None = None
    """For two classes: which answers are a yes; None: answers are numbers of classes."""


YES_NO = ("no", "yes")
PARTIES = (
    "strong Democrat", "weak Democrat", "independent Democrat", "independent",
    "independent Republican", "weak Republican", "strong Republican",
)  # fmt: skip
SURVEYS = {
    "anes96": _Survey(
        anes96,
        "party identification of a voter from 6 answers: American National Election Studies 1996, public domain",
        "PID",
        PARTIES,
        ("logpopul", "TVnews", "selfLR", "age", "educ", "income"),  # the party by other names: vote, ClinLR, DoleLR
    ),
    "fair": _Survey(
        fair,
        "extramarital affairs of a wife, yes or no, from 8 answers: Fair 1978, included in statsmodels by permission",
        "affairs",
        YES_NO,
        ("rate_marriage", "age", "yrs_married", "children", "religious", "educ"),
        ("occupation", "occupation_husb"),
        lambda affairs: affairs > 0,
    ),
    "marriage": _Survey(
        fair,
        "a wife who rates her marriage poor or very poor, 7 % of all, from 8 answers: Fair 1978, included in"
        " statsmodels by permission",
        "rate_marriage",
        YES_NO,
        ("affairs", "age", "yrs_married", "children", "religious", "educ"),
        ("occupation", "occupation_husb"),
        lambda rating: rating <= 2,
    ),
}


def load(name: str) -> Dataset:
    """Return one of the surveys by name; a row is a person."""
    if name not in SURVEYS:
        raise ConfigError("dataset.name", "must be one of " + ", ".join(SURVEYS), name, "choose one of them")
    survey = SURVEYS[name]
    answers = survey.source.load_pandas().data
    given = answers[survey.target]
    chosen = answers[[*survey.numbers, *survey.codes]].astype(dict.fromkeys(survey.codes, int))
    inputs = pd.get_dummies(chosen, columns=list(survey.codes), prefix_sep="=")
    numbers = [NumberInput(column) for column in survey.numbers]
    codes = [CategoryInput(column, tuple(map(str, sorted(set(chosen[column])))), codes=True) for column in survey.codes]
    return Dataset(
        name=name,
        kind=kind_of(len(survey.classes)),
        inputs=inputs.to_numpy(np.float32),
        targets=(given if survey.is_yes is None else survey.is_yes(given)).to_numpy(np.int64),
        features=tuple(inputs.columns),
        numeric=np.isin(inputs.columns, survey.numbers),
        classes=survey.classes,
        description=survey.description,
        encoding=Encoding((*numbers, *codes), tuple(name for name in answers.columns if name not in chosen.columns)),
    )
