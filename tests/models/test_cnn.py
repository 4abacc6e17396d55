from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import compose_config, make_cell
from evalbench import models
from evalbench.engine import checks
from evalbench.errors import ConfigError
from evalbench.evaluation.checks import narrow_networks
from evalbench.models.cnn import CNN, seen_pixels, sees_little

DIGITS = models.Shape(64, 10, image=(1, 8, 8))


def network(*overrides: str, shape: models.Shape = DIGITS) -> nn.Module:
    config = compose_config("model=cnn", *overrides)
    return models.build_seeded(0, config.model, config.activation, shape)


def test_depth_and_width_count_layers_and_units() -> None:
    layers = [m for m in network("model.depth=3", "model.width=16").modules() if isinstance(m, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(1, 16), (16, 16), (16, 16)]


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 5, 7), (1, 1, 6), (2, 2, 2), (3, 32, 32)])
def test_images_of_any_size_and_depth_have_an_output(image: tuple[int, int, int]) -> None:
    columns = image[0] * image[1] * image[2]
    built = network("model.depth=6", "model.width=8", shape=models.Shape(columns, 4, image))
    assert built(torch.randn(3, columns)).shape == (3, 4)


def test_columns_are_channels_then_rows_then_pixels() -> None:
    built = network("model.depth=1", "model.width=4", "model.norm=none", shape=models.Shape(2 * 3 * 5, 4, (2, 3, 5)))
    inputs = torch.randn(6, 30)
    images: list[torch.Tensor] = []
    convolution = next(m for m in built.modules() if isinstance(m, nn.Conv2d))
    convolution.register_forward_pre_hook(lambda module, arguments: images.append(arguments[0]))
    built(inputs)
    assert torch.equal(images[0], inputs.reshape(6, 2, 3, 5))


@pytest.mark.parametrize(
    ("norm", "norm_class", "convolution_bias"), [("group", nn.GroupNorm, False), ("batch", nn.BatchNorm2d, False)]
)
def test_the_norm_is_chosen_by_name(norm: str, norm_class: type, convolution_bias: bool) -> None:
    built = network(f"model.norm={norm}")
    assert sum(isinstance(module, norm_class) for module in built.modules()) == 2
    assert models.has_batch_norm(built) is (norm == "batch")


def test_groups_divide_any_width() -> None:
    groups = {}
    for width in (5, 12, 32):
        built = network(f"model.width={width}")
        groups[width] = next(m.num_groups for m in built.modules() if isinstance(m, nn.GroupNorm))
    assert groups == {5: 1, 12: 4, 32: 8}


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@pytest.mark.slow
def test_signals_keep_their_size_through_eight_layers(name: str) -> None:
    overrides = (f"activation={name}", "model.norm=none", "model.depth=8", "model.width=64")
    built = network(*overrides, shape=models.Shape(3 * 64 * 64, 10, (3, 64, 64)))
    layers = [m for m in built.modules() if isinstance(m, nn.Conv2d)]
    sizes: list[float] = []
    layers[-1].register_forward_hook(lambda module, arguments, output: sizes.append(float(output.square().mean())))
    with torch.no_grad():
        built(torch.randn(4, 3 * 64 * 64, generator=torch.Generator().manual_seed(0)))
    assert 0.1 < sizes[0] < 10  # padding reduces the size, maxima over pixels raise it; without the gain it is 0.02


def test_activations_share_the_draws_of_the_initial_weights() -> None:
    relu, tanh = (network(f"activation={name}") for name in ("relu", "tanh"))
    for relu_weight, tanh_weight in zip(relu.parameters(), tanh.parameters(), strict=True):
        if relu_weight.ndim > 1:
            assert torch.allclose(relu_weight / relu_weight.std(), tanh_weight / tanh_weight.std(), atol=1e-5)


@pytest.mark.parametrize(
    ("override", "key"),
    [("model.depth=0", "model.depth"), ("model.width=1.5", "model.width"), ("model.norm=x", "norm")],
)
def test_wrong_settings_are_refused(override: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        network(override)


def test_a_table_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        ConfigError, match=r"^model .*CNN needs images.*: choose dataset=digits.*model=mlp or encoder$"
    ) as error:
        network(shape=models.Shape(4, 3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("optimizer.batch_size=1",), "not 1: use GroupNorm"),
        (("optimizer.batch_size=154",), r"the last batch of 1079 training rows has one\), not 154: use GroupNorm"),
    ],
)
def test_batch_norm_with_one_example_in_a_step_is_refused(overrides: tuple[str, ...], reason: str) -> None:
    cell = make_cell("model=cnn", "dataset=digits", "model.norm=batch", *overrides)
    with pytest.raises(ConfigError, match=reason):
        checks.check(cell.config, cell.dataset)
    default = make_cell("model=cnn", "dataset=digits", *overrides)
    checks.check(default.config, default.dataset)


@pytest.mark.parametrize(
    ("depth", "side", "seen"), [(1, 8, 4), (2, 8, 10), (2, 28, 10), (3, 28, 22), (4, 28, 38), (2, 3, 5), (4, 32, 46)]
)
def test_an_output_sees_a_square_of_pixels(depth: int, side: int, seen: int) -> None:
    """The formula agrees with the pixels that have a gradient in the middle of a large image."""
    assert seen_pixels(depth, side) == seen
    layers = CNN((1, side, side), 2, nn.Identity, 1.0, depth, 4, "none").layers.double()
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    layers = nn.Sequential(*(nn.AvgPool2d(2) if isinstance(one, nn.MaxPool2d) else one for one in layers))
    wide = torch.ones(1, 1, 16 * side, 16 * side, dtype=torch.float64, requires_grad=True)
    outputs = layers(wide)
    outputs[0, 0, outputs.shape[2] // 2, outputs.shape[3] // 2].backward()
    assert wide.grad is not None
    assert (wide.grad[0, 0] != 0).any(0).sum() == seen


SEES_LITTLE = "its 2 convolutions see 10 of 28 pixels: consider model.depth=4, which sees all"


def test_a_network_that_sees_little_is_told_a_depth() -> None:
    assert sees_little(2, (1, 8, 8)) == sees_little(4, (3, 32, 32)) == sees_little(2, (3, 8, 16)) == ""
    assert sees_little(2, (1, 28, 28)) == SEES_LITTLE


@pytest.mark.slow
def test_the_cells_of_such_networks_are_told(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / "pets" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((28, 28), number, np.uint8)).save(path)
    pets = ("dataset=imagefolder", f"dataset.path={tmp_path / 'pets'}", "dataset.cache_folder=null")
    others = [("dataset=digits", "model=cnn"), (*pets, "model=cnn", "model.depth=3"), (*pets, "model=random_forest")]
    assert narrow_networks(make_cell(*overrides) for overrides in others) == {}
    assert narrow_networks([make_cell(*pets, "model=cnn")]) == {"pets": SEES_LITTLE}
