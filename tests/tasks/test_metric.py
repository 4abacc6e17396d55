from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from evalbench.tasks import TASKS, Kind
from evalbench.tasks.metric import METRICS, Metric, base_name, describe, find

C, N, K = 3, 60, 4
GENERATOR = np.random.default_rng(0)
CLASSES = GENERATOR.integers(0, K, (C, N))
PROBABILITIES = GENERATOR.multinomial(8, np.full(K, 1 / K), (C, N)) / 8  # ties and zeros
NUMBERS = GENERATOR.normal(size=(C, N)).astype(np.float32)
GUESSES = NUMBERS + GENERATOR.normal(size=(C, N))


def chosen(score: Callable[..., float], **more: Any) -> Callable[[Any, Any], float]:
    return lambda truth, probabilities: score(truth, probabilities.argmax(1), **more)


def of_numbers(metric: Metric) -> bool:
    return metric.name in Kind.REGRESSION.metrics or Kind.REGRESSION.name in metric.on_request


def measured(metric: Metric, predictions: Any, targets: Any) -> Any:
    assert metric.compute is not None
    return metric.compute(torch.as_tensor(predictions), torch.as_tensor(targets)).numpy()


EXPECTED = {
    "accuracy": chosen(sk.accuracy_score),
    "macro_f1": chosen(sk.f1_score, average="macro"),
    "balanced_accuracy": chosen(sk.balanced_accuracy_score),
    "log_loss": sk.log_loss,
    "perplexity": lambda truth, probabilities: np.exp(sk.log_loss(truth, probabilities)),
    "auroc": lambda truth, probabilities: sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
    "average_precision": lambda truth, probabilities: sk.average_precision_score(np.eye(K)[truth], probabilities),
    "r2": sk.r2_score,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
}


@pytest.mark.parametrize("metric", [one for one in METRICS.values() if one.compute], ids=lambda metric: metric.name)
def test_a_metric_is_scikit_learns_for_every_member(metric: Metric) -> None:
    numbers = of_numbers(metric)
    predictions, targets = (GUESSES, NUMBERS) if numbers else (PROBABILITIES, CLASSES)
    scores = measured(metric, predictions, targets)
    expected = [EXPECTED[metric.name](targets[member], predictions[member]) for member in range(C)]
    assert scores == pytest.approx(np.array(expected), rel=1e-7 if numbers else 1e-12)


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_nothing_beats_the_best_possible_score(metric: Metric) -> None:
    assert metric.best is not None
    if metric.compute:
        numbers = of_numbers(metric)
        perfect = measured(metric, *((NUMBERS, NUMBERS) if numbers else (np.eye(K)[CLASSES], CLASSES)))
        assert perfect == pytest.approx(np.full(C, metric.best))
        other = measured(metric, *((GUESSES, NUMBERS) if numbers else (PROBABILITIES, CLASSES)))
        assert (metric.sign * other < metric.sign * metric.best).all()


def test_every_metric_on_request_names_tasks_that_exist() -> None:
    asked = [name for metric in METRICS.values() for name in metric.on_request]
    assert asked
    assert set(asked) <= TASKS.keys()


def test_metrics_are_found_by_names_with_and_without_a_split() -> None:
    assert find("test/macro_f1") is find("macro_f1") is METRICS["macro_f1"]
    assert METRICS["r2"].on("val") == "val/r2"
    assert find("bleu") is None
    other = describe("test/exact_match", "minimize", "errors")
    assert (other.name, other.direction, other.unit, other.words) == (
        "exact_match",
        "minimize",
        "errors",
        "exact match",
    )
    assert base_name("a/b/c") == "c"
