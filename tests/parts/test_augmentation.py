"""Augmentations beside plain implementations that treat one example after the other."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from conftest import compose_config, make_cell
from evalbench import draws
from evalbench.engine import checks, training
from evalbench.engine.cohort import Cohort
from evalbench.errors import ConfigError
from evalbench.parts import ON_BATCH, augmentation, images
from evalbench.parts.hooks import BatchHook
from evalbench.parts.loss import TrainingLoss
from evalbench.tasks import Task
from evalbench.workloads import Dataset, Kind, Split

IMAGE = (2, 5, 4)
TOKENS = ("dataset=python_source", "dataset.num_rows=60", "dataset.length=8", "model=transformer", "model.width=8")
KEYS = draws.step_keys(torch.tensor([5, 6]), 3, 2)  # (S, C)
MEMBERS = torch.arange(2)
DIGITS = ("dataset=digits", "model=cnn", "model.width=4", "model.depth=1")


def data(kind: Task = Kind.MULTICLASS, image: tuple[int, int, int] | None = IMAGE) -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(30, math.prod(IMAGE))).astype(np.float32)
    targets = np.arange(30) % 3 if kind is Kind.MULTICLASS else generator.normal(size=30).astype(np.float32)
    names = tuple(f"x{i}" for i in range(inputs.shape[1]))
    classes = ("a", "b", "c") if kind is Kind.MULTICLASS else ()
    return Dataset("table", kind, inputs, targets, names, np.arange(len(names)) > 0, classes, image=image)


def batch(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return inputs `(2, 2, 6, D)` and targets of drawn rows."""
    rows = torch.as_tensor(np.random.default_rng(1).integers(0, 30, (2, 2, 6)))
    return torch.as_tensor(dataset.inputs)[rows], torch.as_tensor(dataset.targets)[rows]


def draw(call: int, shape: tuple[int, ...] = (6,)) -> Tensor:
    return draws.uniform(KEYS, call, shape)


EACH = [(step, member, row) for step in range(2) for member in range(2) for row in range(6)]


def test_flips_and_crops_are_those_of_padded_images() -> None:
    inputs, targets = batch(data())
    moved, same = images.FlipCrop(data(), flip=0.5, crop=0.4)(inputs, targets, KEYS, MEMBERS)
    assert torch.equal(same, targets)
    for at in EACH:
        image = inputs[at].view(IMAGE)
        padded = F.pad(image, (2, 2, 2, 2))
        top, left = int(draw(1)[at] * 5), int(draw(2)[at] * 5)
        expected = padded[:, top : top + 5, left : left + 4]
        if draw(3)[at] < 0.5:
            expected = expected.flip(-1)
        assert torch.equal(moved[at].view(IMAGE), expected)


def plain_operation(image: Tensor, name: str, strength: float) -> Tensor:
    """Apply an operation pixel by pixel."""
    if name == "brightness":
        return image + 0.9 * strength
    if name == "contrast":
        return image + 0.9 * strength * (image - image.mean())
    _, height, width = image.shape
    turned = torch.zeros_like(image)
    angle = math.radians(30 * strength)
    for row in range(height):
        for column in range(width):
            y, x = row - (height - 1) / 2, column - (width - 1) / 2
            sources = {
                "identity": (y, x),
                "shear_x": (y, x + 0.3 * strength * y),
                "shear_y": (y + 0.3 * strength * x, x),
                "translate_x": (y, x + 0.45 * strength * width),
                "translate_y": (y + 0.45 * strength * height, x),
                "rotate": (math.cos(angle) * y - math.sin(angle) * x, math.sin(angle) * y + math.cos(angle) * x),
            }
            source_row, source_column = (
                round(source + (side - 1) / 2) for source, side in zip(sources[name], (height, width), strict=True)
            )
            if 0 <= source_row < height and 0 <= source_column < width:
                turned[:, row, column] = image[:, source_row, source_column]
    return turned


def test_randaugment_applies_the_drawn_operations_to_each_image() -> None:
    inputs, targets = batch(data())
    changed, _ = images.RandAugment(data(), num_operations=2, magnitude=0.9)(inputs, targets, KEYS, MEMBERS)
    used = set()
    for at in EACH:
        expected = inputs[at].view(IMAGE)
        for call in (1, 3):
            name = images.OPERATIONS[int(draw(call)[at] * 8)]
            expected = plain_operation(expected, name, -0.9 if draw(call + 1)[at] < 0.5 else 0.9)
            used.add(name)
        torch.testing.assert_close(changed[at].view(IMAGE), expected)
    assert used == set(images.OPERATIONS)


def test_mixup_mixes_each_row_with_its_partner() -> None:
    inputs, targets = batch(data())
    mixed, pairs = augmentation.Mixup(data(), alpha=0.4, probability=0.8).float()(inputs, targets, KEYS, MEMBERS)
    for step, member, row in EACH:
        partner = int(draw(1)[step, member, row] * 6)
        quantile = (int(draw(2)[step, member, row] * 4096) + 0.5) / 4096
        share = float(stats.beta.ppf(quantile, 0.4, 0.4)) if draw(3)[step, member, row] < 0.8 else 1.0
        mean = share * inputs[step, member, row] + (1 - share) * inputs[step, member, partner]
        torch.testing.assert_close(mixed[step, member, row], mean.float())
        both = [float(targets[step, member, row]), share, float(targets[step, member, partner]), 1 - share]
        assert pairs[step, member, row].tolist() == pytest.approx(both, abs=1e-6)


def test_cutmix_takes_a_box_and_its_share_of_the_target() -> None:
    inputs, targets = batch(data())
    mixed, pairs = images.CutMix(data(), probability=0.8)(inputs, targets, KEYS, MEMBERS)
    for step, member, row in EACH:
        partner = int(draw(1)[step, member, row] * 6)
        share = (int(draw(2)[step, member, row] * 4096) + 0.5) / 4096  # Beta(1, 1) is uniform
        height, width = int(5 * (1 - share) ** 0.5), int(4 * (1 - share) ** 0.5)
        centre = int(draw(4)[step, member, row] * 5), int(draw(5)[step, member, row] * 4)
        expected = inputs[step, member, row].view(IMAGE).clone()
        cut = 0
        for y in range(5):
            for x in range(4):
                near = -(height // 2) <= y - centre[0] < height // 2 and -(width // 2) <= x - centre[1] < width // 2
                if near and draw(3)[step, member, row] < 0.8:
                    expected[:, y, x] = inputs[step, member, partner].view(IMAGE)[:, y, x]
                    cut += 1
        assert torch.equal(mixed[step, member, row].view(IMAGE), expected)
        both = [float(targets[step, member, row]), 1 - cut / 20, float(targets[step, member, partner]), cut / 20]
        assert pairs[step, member, row].tolist() == pytest.approx(both)


def test_numbers_are_mixed_like_inputs() -> None:
    dataset = data(Kind.REGRESSION)
    inputs, targets = batch(dataset)
    mixup = augmentation.Mixup(dataset).float()
    _, mixed = mixup(inputs, targets, KEYS, MEMBERS)
    share = mixup.shares[(draw(2) * 4096).long()]
    others = targets.gather(2, (draw(1) * 6).long())
    torch.testing.assert_close(mixed, share * targets + (1 - share) * others)
    assert not mixup.weighs_targets


def test_noise_leaves_indicators_and_tokens_leave_the_vocabulary_alone() -> None:
    inputs, targets = batch(data())
    noisy, _ = augmentation.Noise(data(), std=0.5)(inputs, targets, KEYS, MEMBERS)
    assert torch.equal(noisy[..., 0], inputs[..., 0])  # an indicator
    torch.testing.assert_close(noisy[..., 1:], (inputs + 0.5 * draws.normal(KEYS, (6, 40)))[..., 1:])
    text = make_cell(*TOKENS).dataset
    tokens = torch.as_tensor(text.inputs[:12]).view(2, 1, 6, 8).expand(2, 2, 6, 8)
    dropped, same = augmentation.TokenDropout(text, probability=0.5)(tokens, tokens, KEYS, MEMBERS)
    is_dropped = draw(1, (6, 8)) < 0.5
    others = (draw(2, (6, 8)) * (text.vocabulary or 0)).long()
    assert torch.equal(dropped, torch.where(is_dropped, others, tokens))
    assert torch.equal(same, tokens)


@pytest.mark.parametrize("weights", ["", "loss.class_weights=balanced"])
@pytest.mark.parametrize(("loss", "probabilities"), [("default", True), ("focal", False)])
def test_the_loss_of_a_mixture_is_the_mean_of_its_targets_losses(loss: str, probabilities: bool, weights: str) -> None:
    dataset = data()
    config = compose_config(f"loss={loss}", *filter(None, [weights])).loss
    mixup = augmentation.Mixup(dataset).float()
    inputs, classes = batch(dataset)
    _, pairs = mixup(inputs, classes, KEYS, MEMBERS)
    split = make_split(range(20))
    balance = ON_BATCH["loss"](config, dataset, [split, split], torch.float32)
    weighted = pairs if balance is None else balance(inputs, pairs, KEYS, MEMBERS)[1]
    outputs = draws.normal(KEYS, (6, 3))
    value = TrainingLoss(config, dataset.kind, weighted=True)(outputs[0, 0], weighted[0, 0])
    counts = torch.bincount(torch.as_tensor(dataset.targets[:20]))
    of_class = torch.ones(3) if balance is None else 20 / (3 * counts)
    total = torch.zeros(())
    for row in range(6):
        first, share, second, rest = pairs[0, 0, row]
        for target, weight in ((int(first), share), (int(second), rest)):
            nll = -outputs[0, 0, row].log_softmax(-1)[target]
            each = nll if loss == "default" else (1 - (-nll).exp()) ** 2 * nll
            total += weight * of_class[target] * each / 6
    torch.testing.assert_close(value, total)
    if probabilities and balance is None:
        soft = share_of_classes(pairs[0, 0])
        torch.testing.assert_close(value, F.cross_entropy(outputs[0, 0], soft))


def make_split(train: range) -> Split:
    none = np.array([], dtype=np.int64)
    return Split(np.array(train), none, none)


def share_of_classes(pairs: Tensor) -> Tensor:
    """Return probabilities `(B, 3)` of classes and their shares `(B, 4)`."""
    first, second = (F.one_hot(pairs[:, column].long(), 3) for column in (0, 2))
    return pairs[:, 1:2] * first + pairs[:, 3:] * second


def jitter(pictures: Tensor, std: float = 0.5) -> Tensor:
    assert pictures.shape[1:] == (1, 8, 8)
    return pictures + std * torch.randn_like(pictures)


class Switch(nn.Module):
    """Mirrors a whole batch or nothing, by the value of a drawn number: `vmap` refuses it."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flip(-1) if torch.rand(()) < 0.5 else pictures


class Darker(BatchHook):
    def forward(self, inputs: Tensor, targets: Tensor, keys: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        return inputs - draws.uniform(keys, 1, inputs.shape[2:3])[..., None], targets


def shorter(pictures: Tensor) -> Tensor:
    return pictures[..., 1:]


def shuffled(pictures: Tensor) -> Tensor:
    return pictures[torch.randperm(len(pictures))]


class Counter(nn.Module):
    calls = 0

    def forward(self, pictures: Tensor) -> Tensor:
        self.calls += 1
        return pictures + self.calls


OWN = [f"augmentation=own augmentation._target_={__name__}.{name}" for name in ("jitter", "Switch", "Darker")]
NONE = ("augmentation=none",)
SHIPPED = ["flip_crop", "noise", "mixup", "cutmix", "randaugment"]


def cohort(overrides: str, *seeds: int) -> Cohort:
    cell = make_cell(*DIGITS, *overrides.split())
    return training.make_cohort(cell.config, cell.dataset, cell.entrants(*seeds))[0]


@pytest.mark.parametrize("overrides", [*(f"augmentation={name}" for name in SHIPPED), *OWN])
@pytest.mark.slow
def test_a_member_gets_the_same_bits_alone_and_after_a_resume_and_in_training_only(overrides: str) -> None:
    together, alone, plain = cohort(overrides, 0, 1, 2), cohort(overrides, 1), cohort("augmentation=none", 0, 1, 2)
    rows = next(together.batches.chunks(0, 3, 3))
    inputs, targets = together._batch(rows, together._keys(0, 3))
    later, later_targets = alone._batch(rows[2:, 1:2], alone._keys(2, 1))
    assert torch.equal(later, inputs[2:, 1:2])
    assert torch.equal(later_targets, targets[2:, 1:2])
    assert not torch.equal(inputs, plain._batch(rows, plain._keys(0, 3))[0])
    assert len({float(member.sum()) for step in inputs for member in step}) == 9
    validation = plain.data.validation_rows
    assert all(each.optimizer.can_be_saved for each in (together, plain))  # made now, with the weights to validate
    assert together.metrics(validation, range(3)) == plain.metrics(validation, range(3))


REFUSED = {
    "augmentation=flip_crop dataset=iris": "needs images, which iris does not have: choose dataset=digits",
    "augmentation=randaugment dataset=wine": "needs images, which wine does not have",
    "augmentation=cutmix dataset=diabetes": "needs images, which diabetes does not have",
    "augmentation=token_dropout dataset=iris": "needs tokens, which iris does not have",
    f"augmentation=noise {' '.join(TOKENS)}": "needs numbers, which python_source does not have",
    f"augmentation=mixup {' '.join(TOKENS)}": "needs numbers, as tokens have no mean",
    "augmentation=noise augmentation.std=-1": "augmentation.std must be a number above 0, not -1",
    "augmentation=flip_crop augmentation.flip=2 dataset=digits": "flip must be a number of at least 0 and at most 1",
    f"augmentation=mixup dataset=digits loss=own loss._target_={__name__}.mean_loss": "per example, as",
    f"augmentation=own augmentation._target_={__name__}.shorter": "shorter returns",
    f"augmentation=own augmentation._target_={__name__}.shuffled": "draws from torch's global generator",
    f"augmentation=own augmentation._target_={__name__}.Counter": "gives other results for the same numbers",
}


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets)


@pytest.mark.parametrize(("overrides", "message"), REFUSED.items())
def test_what_does_not_fit_is_refused_in_one_line(overrides: str, message: str) -> None:
    cell = make_cell(*overrides.split())
    with pytest.raises(ConfigError, match=message) as error:
        checks.check(cell.config, cell.dataset)
    assert "\n" not in str(error.value)


def test_an_augmentation_enters_the_identity_and_none_does_not() -> None:
    plain, none, noisy = (make_cell("dataset=iris", *more) for more in ((), NONE, ("augmentation=noise",)))
    assert plain.spec(0).trial_id == none.spec(0).trial_id != noisy.spec(0).trial_id
    assert "augmentation" not in plain.spec(0).settings
