"""Losses: each beside plain PyTorch, as a cohort of some members and alone; class weights; what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

import plain
from conftest import compose_config, make_cell
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.parts.loss import TrainingLoss, balanced
from evalbench.seeds import Role, derive
from evalbench.tasks import Kind, Task
from evalbench.workloads import draw_split

Loss = plain.Loss
SMALL = ("model.width=4", "model.depth=1", "optimizer=minibatch_sgd", "optimizer.batch_size=16", "budget.epochs=2")
OWN = ("loss=own", f"loss._target_={__name__}.quartic")
B, T, K = 6, 3, 4
GENERATOR = torch.Generator().manual_seed(0)
SHAPES = {Kind.BINARY: (B, 1), Kind.MULTICLASS: (B, K), Kind.LANGUAGE: (B, T, K), Kind.REGRESSION: (B, 1)}


def quartic(outputs: Tensor, targets: Tensor, factor: float = 1.0) -> Tensor:
    """Return a loss of a user's, per example."""
    return factor * (outputs - targets) ** 4


class Median(nn.Module):
    """A loss of a user's that is no mean over examples, with a tensor of its own."""

    scale: Tensor

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one number."""
        return self.scale * (outputs - targets).abs().median()


class Learning(nn.Module):
    """A loss with a parameter that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


def drawn(task: Task) -> tuple[Tensor, Tensor]:
    outputs = torch.randn(SHAPES[task], generator=GENERATOR)
    shape = SHAPES[task][:-1]
    if not task.is_classification:
        return outputs, torch.randn(shape, generator=GENERATOR)
    return outputs, torch.randint(0, max(2, SHAPES[task][-1]), shape, generator=GENERATOR)


def two(outputs: Tensor) -> Tensor:
    """Return the logits of two classes."""
    return torch.cat([torch.zeros_like(outputs), outputs], -1)


def focal(outputs: Tensor, targets: Tensor) -> Tensor:
    nll = F.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-nll).exp()) ** 3 * nll).mean()


BESIDE: dict[str, tuple[Task, str, Loss]] = {
    "two classes": (Kind.BINARY, "loss=cross_entropy", lambda o, t: F.cross_entropy(two(o), t)),
    "two classes, smoothed": (
        Kind.BINARY,
        "loss=cross_entropy +loss.label_smoothing=0.2",
        lambda o, t: F.cross_entropy(two(o), t, label_smoothing=0.2),
    ),
    "two classes, default smoothed": (
        Kind.BINARY, "loss=label_smoothing", lambda o, t: F.cross_entropy(two(o), t, label_smoothing=0.1)
    ),
    "two classes, focal": (Kind.BINARY, "loss=focal loss.gamma=3", lambda o, t: focal(two(o), t)),
    "two classes, of torch": (
        Kind.BINARY, "loss=own loss._target_=torch.nn.BCEWithLogitsLoss", lambda o, t: F.cross_entropy(two(o), t)
    ),
    "classes": (Kind.MULTICLASS, "loss=cross_entropy", F.cross_entropy),
    "classes, focal": (Kind.MULTICLASS, "loss=focal loss.gamma=3", focal),
    "classes, smoothed by torch": (
        Kind.MULTICLASS,
        "loss=own loss._target_=torch.nn.CrossEntropyLoss +loss.label_smoothing=0.3",
        lambda o, t: F.cross_entropy(o, t, label_smoothing=0.3),
    ),
    "tokens": (Kind.LANGUAGE, "loss=cross_entropy", lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten())),
    "numbers": (Kind.REGRESSION, "loss=mse", lambda o, t: F.mse_loss(o[:, 0], t)),
    "numbers, absolute": (Kind.REGRESSION, "loss=mae", lambda o, t: F.l1_loss(o[:, 0], t)),
    "numbers, Huber": (Kind.REGRESSION, "loss=huber loss.delta=0.5", lambda o, t: F.huber_loss(o[:, 0], t, delta=0.5)),
    "numbers, a user's function": (Kind.REGRESSION, " ".join(OWN), lambda o, t: ((o[:, 0] - t) ** 4).mean()),
    "numbers, a user's module": (
        Kind.REGRESSION,
        f"loss=own loss._target_={__name__}.Median +loss.scale=3.0",
        lambda o, t: 3 * (o[:, 0] - t).abs().median(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("task", "overrides", "beside"), BESIDE.values(), ids=BESIDE.keys())
@pytest.mark.slow
def test_a_loss_is_that_of_plain_pytorch(task: Task, overrides: str, beside: Loss) -> None:
    loss = TrainingLoss(compose_config(*overrides.split()).loss, task)
    outputs, targets = drawn(task)
    sides = [outputs.clone().requires_grad_() for _ in range(2)]
    values = [loss(sides[0], targets), beside(sides[1], targets)]
    for value in values:
        value.backward()
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-5)
    grads = [side.grad for side in sides]
    assert grads[0] is not None
    assert grads[1] is not None
    assert torch.allclose(grads[0], grads[1], atol=1e-6)


def weighted(name: str, loss: Loss) -> Loss:
    """Return the mean of a loss per example times the weight of its class in the split of seed 1."""
    dataset = make_cell(f"dataset={name}", *TEXT[name == "python_source"]).dataset
    train = dataset.targets[draw_split(dataset, 0.2, 0.2, derive(0, dataset.name, Role.SPLIT, 1)).train].ravel()
    weights = torch.zeros(len(dataset.classes))
    weights[np.unique(train)] = torch.Tensor(compute_class_weight("balanced", classes=np.unique(train), y=train))
    return lambda o, t: (weights[t.long().flatten()] * loss(o, t)).mean()


def each_focal(outputs: Tensor, targets: Tensor) -> Tensor:
    nll = F.cross_entropy(outputs.flatten(0, -2), targets.long().flatten(), reduction="none")
    return (1 - (-nll).exp()) ** 2 * nll


TEXT = ((), ("dataset.num_rows=60", "dataset.length=8", "model=transformer", "model.depth=1"))
TRAINED: dict[str, tuple[str, str, Callable[[], Loss]]] = {
    "focal": ("breast_cancer", "loss=focal", lambda: lambda o, t: each_focal(two(o), t.long()).mean()),
    "two balanced classes": (
        "breast_cancer",
        "loss=cross_entropy loss.class_weights=balanced",
        lambda: weighted("breast_cancer", lambda o, t: F.cross_entropy(two(o), t.long(), reduction="none")),
    ),
    "three balanced classes": (
        "wine",
        "loss.class_weights=balanced",
        lambda: weighted("wine", lambda o, t: F.cross_entropy(o, t.long(), reduction="none")),
    ),
    "balanced classes of torch": (
        "wine",
        "loss=own loss._target_=torch.nn.CrossEntropyLoss loss.class_weights=balanced",
        lambda: weighted("wine", lambda o, t: F.cross_entropy(o, t.long(), reduction="none")),
    ),
    "Huber": ("diabetes", "loss=huber", lambda: lambda o, t: F.huber_loss(o[:, 0], t)),
    "a function": (
        "diabetes",
        " ".join(OWN) + " +loss.factor=0.01",
        lambda: lambda o, t: 0.01 * ((o[:, 0] - t) ** 4).mean(),
    ),
    "balanced tokens, focal": (
        "python_source",
        "loss=focal loss.class_weights=balanced",
        lambda: weighted("python_source", each_focal),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "overrides", "loss"), TRAINED.values(), ids=TRAINED.keys())
def test_a_cohort_trains_as_a_plain_loop_does(name: str, overrides: str, loss: Callable[[], Loss]) -> None:
    size = TEXT[1] if name == "python_source" else ("model.width=4", "model.depth=1")
    common = (f"dataset={name}", *size, "optimizer=minibatch_sgd", "optimizer.batch_size=16", "budget.epochs=2")
    cell = make_cell(*common, *overrides.split())
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1, 2))[1]
    expected = plain.train(cell, 1, loss=loss())
    for result in (alone, together):
        assert [point.val_loss for point in result.curve] == pytest.approx(expected.val_losses, rel=2e-4)
        assert result.metrics == pytest.approx(expected.metrics, rel=2e-3)
    assert cell.id != make_cell(*common).id


def test_class_weights_are_those_of_scikit_learn_per_split() -> None:
    dataset = make_cell("dataset=breast_cancer").dataset
    train = draw_split(dataset, 0.2, 0.2, derive(0, dataset.name, Role.SPLIT, 0)).train
    expected = compute_class_weight("balanced", classes=np.arange(2), y=dataset.targets[train])
    assert balanced(np.bincount(dataset.targets[train])) == pytest.approx(expected)
    assert balanced(np.array([2, 0, 1, 0])).tolist() == [0.75, 0.0, 1.5, 0.0]


@pytest.mark.slow
def test_the_old_key_of_smoothing_keeps_its_identity() -> None:
    ids = [make_cell("dataset=iris", *each.split()).id for each in (
        "loss.label_smoothing=0.1", "loss=label_smoothing", "loss=default", "loss.label_smoothing=0.0", "loss=focal",
    )]  # fmt: skip
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("dataset=iris loss=mse", "which takes numbers"),
        ("dataset=breast_cancer loss=huber", "loss=default, cross_entropy or focal"),
        ("dataset=breast_cancer loss=own loss._target_=torch.nn.CrossEntropyLoss", "which takes a logit per class"),
        ("dataset=diabetes loss=focal", "as regression has"),
        ("dataset=diabetes loss.class_weights=balanced", "whose targets are not classes"),
        ("dataset=diabetes loss=label_smoothing", "loss.label_smoothing must be 0 for regression"),
        ("dataset=iris loss=focal loss.gamma=-1", "gamma must not be negative"),
        ("dataset=iris loss=focal +loss.nothing=1", "loss must hold settings"),
        ("dataset=iris loss=own", "loss._target_ must be given"),
        ("dataset=iris loss=own loss._target_=nowhere.loss", "must be importable"),
        (f"dataset=iris {' '.join(OWN)}", "must take outputs and targets of iris"),
        (f"dataset=iris loss.class_weights=balanced loss=own loss._target_={__name__}.Median", "iris (multiclass)"),
        (f"dataset=diabetes loss=own loss._target_={__name__}.Learning", "no parameters that train"),
        ("dataset=iris loss.class_weights=even", "must be balanced, or weights by class"),
        ("dataset=iris loss.label_smoothing=1", "must be a share from 0 to below 1"),
    ],
)
@pytest.mark.slow
def test_a_loss_that_cannot_train_is_refused_in_one_line(overrides: str, said: str) -> None:
    def check() -> None:
        cell = make_cell(*overrides.split())
        checks.check(cell.config, cell.dataset)

    with pytest.raises(ConfigError) as error:
        check()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_loss_that_is_no_mean_takes_whole_batches() -> None:
    own = ("dataset=diabetes", "loss=own", f"loss._target_={__name__}.Median", *SMALL)
    cell = make_cell(*own)
    checks.check(cell.config, cell.dataset)
    parts = make_cell(*own, "trainer.microbatch_size=8")
    with pytest.raises(ConfigError, match="must see whole batches"):
        checks.check(parts.config, parts.dataset)
