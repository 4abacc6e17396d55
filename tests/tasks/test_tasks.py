import numpy as np
import pytest
from sklearn import metrics as sk

from conftest import make_cell
from evalbench.tasks import task
from evalbench.workloads import draw_split, references


def test_classification_metrics_by_hand() -> None:
    dataset = make_cell("dataset=breast_cancer").dataset
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    values = dataset.kind.evaluate(probabilities, np.array([0, 1, 1, 0]))
    assert values["test/accuracy"] == 0.5
    assert values["test/macro_f1"] == 0.5
    assert values["test/log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.7, 0.2])))
    assert values["test/auroc"] == 0.5  # of the four pairs, two are in order


@pytest.mark.parametrize("name", ["breast_cancer", "digits"])
def test_classification_metrics_are_those_of_scikit_learn(name: str) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    labels, generator = np.arange(len(dataset.classes)), np.random.default_rng(0)
    targets = generator.permutation([*np.resize(labels[:-1], 100), labels[-1]])
    probabilities = generator.multinomial(8, np.full(len(labels), 1 / len(labels)), len(targets)) / 8  # ties, zeros
    chosen = probabilities.argmax(1)
    scores = probabilities[:, 1] if name == "breast_cancer" else probabilities
    assert dataset.kind.evaluate(probabilities, targets) == pytest.approx(
        {
            "test/accuracy": sk.accuracy_score(targets, chosen),
            "test/log_loss": sk.log_loss(targets, probabilities, labels=labels),
            "test/macro_f1": sk.f1_score(targets, chosen, labels=labels, average="macro", zero_division=0.0),
            "test/auroc": sk.roc_auc_score(targets, scores, multi_class="ovr", labels=labels),
        },
        rel=1e-12,
    )


def test_regression_metrics_by_hand() -> None:
    dataset = make_cell("dataset=diabetes").dataset
    values = dataset.kind.evaluate(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 6.0], dtype=np.float32))
    assert values == pytest.approx({"test/r2": 1 - 9 / 14, "test/rmse": np.sqrt(3), "test/mae": 1.0})


def test_auroc_is_left_out_where_a_class_has_no_row() -> None:
    dataset = make_cell("dataset=iris").dataset
    assert "test/auroc" not in dataset.kind.evaluate(np.full((2, 3), 1 / 3), np.array([0, 1]))


def test_the_trivial_predictor_scores_the_majority_share_and_about_zero_r2() -> None:
    cancer, diabetes = (make_cell(f"dataset={name}").dataset for name in ("breast_cancer", "diabetes"))
    split = draw_split(cancer, 0.2, 0.2, 0)
    majority = np.mean(cancer.targets[split.test] == 1)
    assert references.trivial(cancer, {0: split})[0]["test/accuracy"] == pytest.approx(majority)
    assert -0.1 < references.trivial(diabetes, {0: draw_split(diabetes, 0.2, 0.2, 0)})[0]["test/r2"] <= 0


@pytest.mark.parametrize(("name", "metric", "least"), [("iris", "test/accuracy", 0.85), ("diabetes", "test/r2", 0.25)])
def test_the_linear_model_learns(name: str, metric: str, least: float) -> None:
    dataset = make_cell(f"dataset={name}").dataset
    assert references.linear(dataset, {0: draw_split(dataset, 0.2, 0.2, 0)})[0][metric] > least


@pytest.mark.parametrize("most_numbers", [1, 2**22])
def test_members_are_measured_together_as_each_alone(most_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "MOST_NUMBERS", most_numbers)
    dataset = make_cell("dataset=iris").dataset
    generator = np.random.default_rng(0)
    probabilities, targets = generator.dirichlet(np.ones(3), (4, 20)), generator.integers(0, 3, (4, 20))
    targets[1] = np.minimum(targets[1], 1)  # no row of the third class
    together = dataset.evaluate_all(probabilities, targets)
    assert together == [dataset.evaluate(*member) for member in zip(probabilities, targets, strict=True)]
    assert ["test/auroc" in scores for scores in together] == [True, False, True, True]
