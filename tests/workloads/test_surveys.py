import numpy as np
import pytest
from statsmodels.datasets import anes96, fair

from conftest import make_cell
from evalbench.errors import ConfigError
from evalbench.workloads import Kind


def test_affairs_are_a_yes_or_no_that_no_input_tells() -> None:
    dataset, answers = make_cell("dataset=fair").dataset, fair.load_pandas().data
    assert (dataset.kind, dataset.inputs.shape, dataset.classes) == (Kind.BINARY, (6366, 18), ("no", "yes"))
    assert np.array_equal(dataset.targets == 1, answers["affairs"] > 0)
    assert dataset.targets.sum() == 2053
    assert not any("affairs" in feature for feature in dataset.features)
    for column in ("occupation", "occupation_husb"):  # 6 categories, one for each row
        codes = [dataset.features.index(f"{column}={code}") for code in range(1, 7)]
        assert not dataset.numeric[codes].any()
        assert np.array_equal(dataset.inputs[:, codes].argmax(1) + 1, answers[column])
        assert (dataset.inputs[:, codes].sum(1) == 1).all()


def test_the_party_has_seven_classes_that_no_input_tells() -> None:
    dataset, answers = make_cell("dataset=anes96").dataset, anes96.load_pandas().data
    assert (dataset.kind, dataset.inputs.shape, len(dataset.classes)) == (Kind.MULTICLASS, (944, 6), 7)
    assert np.bincount(dataset.targets).tolist() == [200, 180, 108, 37, 94, 150, 175]
    assert dataset.features == ("logpopul", "TVnews", "selfLR", "age", "educ", "income")
    assert dataset.inputs == pytest.approx(answers[list(dataset.features)].to_numpy())
    assert (dataset.classes[0], dataset.classes[6]) == ("strong Democrat", "strong Republican")  # 0 and 6 in PID


def test_an_unknown_survey_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset.name must be one of anes96, fair, marriage, not 'gss'"):
        make_cell("dataset=fair", "dataset.name=gss")
