"""Data sets from objects of Python: map-style data sets, loaders, Lightning's modules, and networks of images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset, WeightedRandomSampler, default_collate
from torch.utils.data import Dataset as TorchDataset

from evalbench import models
from evalbench.config import ActivationConfig, Component
from evalbench.errors import ConfigError, DataError
from evalbench.workloads import dataset_of, draw_split, python

INPUTS = torch.arange(120, dtype=torch.float32).reshape(30, 4)
TARGETS = torch.arange(30) % 3
ROWS = TensorDataset(INPUTS, TARGETS)


class Pictures(TorchDataset[tuple[Image.Image, int]]):
    """Rows as torchvision gives them."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        return Image.fromarray(np.full((4, 3), number, np.uint8)), number % 2


class Broken(Pictures):
    def __getitem__(self, number: int) -> tuple[Any, int]:
        return 1 / (3 - number), 0


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(INPUTS, TARGETS, strict=True)


class Module(pl.LightningDataModule):
    """Training and test rows."""

    def setup(self, stage: str) -> None:
        self.stage = stage

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.stage == "fit"
        return DataLoader(Subset(ROWS, range(20)), batch_size=4, shuffle=True)

    def test_dataloader(self) -> DataLoader[Any]:
        assert self.stage == "test"
        return DataLoader(Subset(ROWS, range(25, 30)))


class Validated(Module):
    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Subset(ROWS, range(20, 25)))


def load() -> TensorDataset:
    return ROWS


def test_a_map_style_data_set_is_the_same_as_its_arrays() -> None:
    expected = dataset_of((INPUTS, TARGETS), "t")
    for given in (
        ROWS,
        (INPUTS.clone().requires_grad_(), TARGETS),
        DataLoader(ROWS, batch_size=7, shuffle=True),
        [ROWS[row] for row in range(30)],
    ):
        assert dataset_of(given, "t").fingerprint == expected.fingerprint
    assert python.load(f"{__name__}.load", name="t").fingerprint == expected.fingerprint
    numbers = dataset_of(TensorDataset(INPUTS, INPUTS[:, :1]), "t", kind="regression")
    assert numbers.targets.tolist() == INPUTS[:, 0].tolist()
    pictures = dataset_of(Pictures(), "t")
    assert pictures.image == (1, 4, 3)
    assert pictures.inputs[7].tolist() == [7] * 12


def test_a_module_keeps_its_test_rows_and_its_validation_rows() -> None:
    dataset = dataset_of(Module(), "t")
    assert len(dataset.targets) == 25
    for seed in range(2):
        assert draw_split(dataset, 0.2, 0.2, seed).test.tolist() == list(range(20, 25))
    assert draw_split(dataset_of(Validated(), "t"), 0.2, 0.2, 1).validation.tolist() == list(range(20, 25))
    assert dataset_of(Validated(), "t", validation="drawn").inputs.tolist() == INPUTS.tolist()
    with pytest.raises(ConfigError, match=r"dataset\.validation must be drawn, not 'kept'"):
        dataset_of(Validated(), "t", validation="kept")


def twice(rows: list[Any]) -> Any:
    return default_collate(rows + rows)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Stream(), "an iterable-only stream has no rows by number, .* write it to Arrow once, with datasets"),
        (DataLoader(Stream()), "an iterable-only stream"),
        (iter(ROWS), "an iterable-only stream"),
        (DataLoader(ROWS, sampler=WeightedRandomSampler([1.0] * 30, 30)), "must not choose rows by its own Weighted"),
        (DataLoader(ROWS, collate_fn=twice), "must not change rows by its own twice"),
        (TensorDataset(INPUTS), r"row 0 must be \(input, target\), not 1 values"),
        (TensorDataset(INPUTS[:0], TARGETS[:0]), "has no rows"),
        ([(np.zeros(row % 2 + 1), 0) for row in range(12)], r"one shape, not \(1,\) and \(2,\): pad or cut"),
        ([{"x": 1}] * 12, r"row 0 must be \(input, target\), not dict"),
        (Broken(), "row 3 raised ZeroDivisionError: division by zero: correct its code"),
        (TensorDataset(INPUTS.bfloat16(), TARGETS), "inputs cannot become an array .*BFloat16"),
        ("text", "data must be a frame .*, not str"),
        (7, "data must be a frame .*, not int"),
        (pl.LightningDataModule(), "LightningDataModule must have a train_dataloader"),
    ],
)
def test_what_has_no_rows_by_number_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        dataset_of(given, "t")


class OfImages(nn.Module):
    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.layer, self.output = nn.Conv2d(3, 8, 3), nn.Linear(8, out_features)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.layer(images).mean((2, 3)))
        return outputs


class OfRows(nn.Linear):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)


@pytest.mark.parametrize(("network", "wrapped"), [(OfImages, True), (OfRows, False)])
def test_a_network_of_images_gets_images(network: type[nn.Module], wrapped: bool) -> None:
    model = Component("model", f"{__name__}.{network.__name__}", {})
    relu = ActivationConfig(Component("activation", "torch.nn.ReLU", {}), 1.0)
    built = models.build_seeded(0, model, relu, models.Shape(3 * 6 * 5, 4, (3, 6, 5)))
    rows = torch.rand(2, 90)
    assert built(rows).shape == (2, 4)
    assert (type(built).__name__ == "ImageInputs") is wrapped
    if wrapped:
        assert torch.equal(built(rows), built.network(rows.reshape(2, 3, 6, 5)))  # type: ignore[operator]
