import numpy as np
import pytest

from conftest import make_cell
from evalbench.workloads import draw_split, references
from evalbench.workloads.metrics import evaluate


def test_classification_metrics_by_hand() -> None:
    dataset = make_cell("dataset=breast_cancer").dataset
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    values = evaluate(dataset, probabilities, np.array([0, 1, 1, 0]))
    assert values["test/accuracy"] == 0.5
    assert values["test/macro_f1"] == 0.5
    assert values["test/log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.7, 0.2])))
    assert values["test/auroc"] == 0.5  # of the four pairs, two are in order


def test_regression_metrics_by_hand() -> None:
    dataset = make_cell("dataset=diabetes").dataset
    values = evaluate(dataset, np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0], dtype=np.float32))
    assert values == pytest.approx({"test/r2": 1 - 9 / 14, "test/rmse": np.sqrt(3), "test/mae": 1.0})


def test_auroc_is_left_out_where_a_class_has_no_row() -> None:
    dataset = make_cell("dataset=iris").dataset
    assert "test/auroc" not in evaluate(dataset, np.full((2, 3), 1 / 3), np.array([0, 1]))


def test_the_trivial_predictor_scores_the_majority_share_and_about_zero_r2() -> None:
    cancer, diabetes = (make_cell(f"dataset={name}").dataset for name in ("breast_cancer", "diabetes"))
    split = draw_split(cancer, 0.2, 0.2, 0)
    majority = np.mean(cancer.targets[split.test] == 1)
    assert references.trivial(cancer, split)["test/accuracy"] == pytest.approx(majority)
    assert -0.1 < references.trivial(diabetes, draw_split(diabetes, 0.2, 0.2, 0))["test/r2"] <= 0


@pytest.mark.parametrize(("name", "metric", "least"), [("iris", "test/accuracy", 0.85), ("diabetes", "test/r2", 0.25)])
def test_the_linear_model_learns(name: str, metric: str, least: float) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    assert references.linear(dataset, draw_split(dataset, 0.2, 0.2, 0))[metric] > least
