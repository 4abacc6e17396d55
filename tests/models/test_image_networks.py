"""Larger networks for images: their sizes, their settings, and those of libraries."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import compose_config, make_cell
from evalbench import models
from evalbench.engine import checks, training
from evalbench.errors import ConfigError
from evalbench.models.settings import patch_of

SMALL = {
    "resnet": ("model.depth=10", "model.width=4"),
    "vit": ("model.depth=1", "model.width=8"),
    "convnext": ("model.depth=1", "model.width=4"),
}


def network(image: tuple[int, int, int], *overrides: str) -> nn.Module:
    config = compose_config(*overrides)
    shape = models.Shape(image[0] * image[1] * image[2], 10, image)
    return models.build_seeded(0, config.model, config.activation, shape)


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 5, 7), (2, 1, 1), (1, 28, 28), (3, 224, 224)])
@pytest.mark.parametrize("model", SMALL)
def test_images_of_any_size_have_an_output(model: str, image: tuple[int, int, int]) -> None:
    built = network(image, f"model={model}", *SMALL[model])
    inputs = torch.randn(3, image[0] * image[1] * image[2])
    outputs = built(inputs)
    assert outputs.shape == (3, 10)
    assert outputs.std() > 0.1
    torch.testing.assert_close(built(inputs[:1]), outputs[:1])  # no example depends on the others


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_181_642), (34, 21_289_802), (50, 23_528_522)])
@pytest.mark.slow
def test_a_resnet_has_the_parameters_of_the_published_one(depth: int, parameters: int) -> None:
    built = network((3, 224, 224), "model=resnet", f"model.depth={depth}")
    assert sum(parameter.numel() for parameter in built.parameters()) == parameters


@pytest.mark.parametrize(("sides", "patch"), [((8, 8), 2), ((28, 28), 7), ((32, 32), 8), ((224, 224), 16), ((5, 7), 1)])
def test_patches_divide_the_image(sides: tuple[int, int], patch: int) -> None:
    assert patch_of(sides, most=16, least_patches=4) == patch


REFUSED = {
    "model=resnet dataset=iris": "needs images, which this data set does not have",
    "model=resnet model.depth=20": "model.depth must be one of 10, 14, 18, 26, 34, 50, not 20",
    "model=resnet model.norm=none": "model.norm must be one of group, batch, not 'none'",
    "model=vit model.patch=3": "model.patch must divide the image's sides, 8 and 8, not 3",
    "model=convnext model.kernel=4": "model.kernel must be odd, not 4",
    "model=convnext model.width=0": "model.width must be a whole number of at least 1, not 0",
    "model=timm model.name=resnet18": r"needs the package timm, which is not installed: pip install timm torch==\d",
    "model=torchvision model.name=vit_b_16": r"which is not installed: pip install torchvision torch==\d",
}


@pytest.mark.parametrize(("overrides", "message"), REFUSED.items())
def test_a_wrong_setting_is_refused_in_one_line(overrides: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("timm", "torchvision"):  # as if they were not installed, also where they are
        monkeypatch.setitem(sys.modules, library, None)
    cell = make_cell("dataset=digits", *overrides.split())
    with pytest.raises(ConfigError, match=message):
        checks.check(cell.config, cell.dataset)


STAND_IN = """
from torch import nn

def create_model(name, in_chans=3, num_classes=1000, wide=4):
    if name != "tiny":
        raise RuntimeError(f"Unknown model ({name})")
    pool = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(in_chans, wide, 3), nn.ReLU(), *pool, nn.Linear(wide, num_classes))

def get_model(name, num_classes=1000, wide=4):
    return create_model("tiny", 3, num_classes, wide)
"""


@pytest.mark.parametrize("library", ["timm", "torchvision.models"])
def test_a_library_builds_the_network_that_is_named(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = library.partition(".")[0]
    module = f"stand_in_{name}"
    (tmp_path / f"{module}.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = f"model.source={module}.{'create_model' if name == 'timm' else 'get_model'}"
    steps = ("budget=steps", "budget.steps=4", "budget.validations=1")
    cell = make_cell("dataset=digits", f"model={name}", "model.name=tiny", source, "+model.options.wide=8", *steps)
    assert training.runs_own_code(cell.config, cell.dataset)  # its first steps are compared with plain PyTorch
    assert module in str(cell.spec(0).settings["code"])  # its code is part of the identity
    together = training.train(cell.config, cell.dataset, cell.entrants(0, 1))
    (alone,) = training.train(cell.config, cell.dataset, cell.entrants(1))
    assert together[1].curve[-1].val_loss == pytest.approx(alone.curve[-1].val_loss, rel=1e-5)
    assert together[1].parameters == (1 if name == "timm" else 3) * 9 * 8 + 8 + 8 * 10 + 10


def test_a_name_that_the_library_lacks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in_names.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    cell = make_cell("dataset=digits", "model=timm", "model.name=huge", "model.source=stand_in_names.create_model")
    with pytest.raises(ConfigError, match=r"that it takes \(Unknown model \(huge\)\), not 'huge'"):
        checks.check(cell.config, cell.dataset)
