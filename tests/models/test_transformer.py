import pytest
import torch
from torch import nn

from conftest import compose_config, make_cell
from evalbench import models
from evalbench.engine import checks, counting
from evalbench.errors import ConfigError
from evalbench.workloads import Kind

TEXT = models.Shape(in_features=6, out_features=9, vocabulary=9)
TABLE = models.Shape(in_features=6, out_features=3)


def network(model: str, shape: models.Shape, *overrides: str) -> nn.Module:
    config = compose_config(f"model={model}", "model.width=16", "model.heads=2", *overrides)
    return models.build_seeded(0, config.model, config.activation, shape)


def tokens(rows: int = 4, positions: int = 6) -> torch.Tensor:
    return torch.randint(9, (rows, positions), generator=torch.Generator().manual_seed(0))


def test_each_position_sees_itself_and_the_positions_before_it() -> None:
    built, original = network("transformer", TEXT), tokens()
    changed = original.clone()
    changed[:, 3] = (original[:, 3] + 1) % 9
    before, after = built(original), built(changed)
    assert before.shape == (4, 6, 9)
    assert torch.equal(before[:, :3], after[:, :3])
    assert ((before[:, 3:] - after[:, 3:]).abs().amax((0, 2)) > 1e-4).all()


def test_the_encoder_sees_and_distinguishes_every_position() -> None:
    built = network("encoder", models.Shape(6, 3, vocabulary=9))
    original = tokens()
    for position in range(6):
        changed = original.clone()
        changed[:, position] = (original[:, position] + 1) % 9
        assert (built(original) - built(changed)).abs().max() > 1e-4
    assert not torch.allclose(built(original), built(original.flip(1)))


def test_the_encoder_makes_a_token_of_every_column() -> None:
    built, inputs = network("encoder", TABLE), torch.randn(4, 6)
    assert built(inputs).shape == (4, 3)
    assert not torch.allclose(built(inputs), built(inputs.flip(1)))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "gelu"])
@pytest.mark.slow
def test_outputs_start_near_one_at_any_depth(name: str) -> None:
    for depth in (1, 8):
        overrides = (f"activation={name}", f"model.depth={depth}", "model.width=64")
        assert 0.3 < network("transformer", TEXT, *overrides)(tokens(64)).square().mean() < 3


def test_activations_share_the_draws_of_the_initial_weights() -> None:
    relu, tanh = (network("encoder", TABLE, f"activation={name}") for name in ("relu", "tanh"))
    for relu_weight, tanh_weight in zip(relu.parameters(), tanh.parameters(), strict=True):
        if relu_weight.ndim > 1:
            assert torch.allclose(relu_weight / relu_weight.std(), tanh_weight / tanh_weight.std(), atol=1e-5)


@pytest.mark.slow
def test_tied_weights_are_one_parameter() -> None:
    free, tied = (network("transformer", TEXT, f"model.tie={tie}") for tie in ("false", "true"))
    assert tied.get_parameter("output.weight") is tied.get_parameter("embedding.tokens.weight")
    assert counting.count_parameters(free) - counting.count_parameters(tied) == 9 * 16


def test_dropout_is_off_by_default_and_on_if_configured() -> None:
    without, noisy = (network("transformer", TEXT, f"model.dropout={rate}").train() for rate in (0.0, 0.5))
    assert torch.equal(without(tokens()), without(tokens()))
    assert not torch.equal(noisy(tokens()), noisy(tokens()))
    assert torch.equal(noisy.eval()(tokens()), without(tokens()))


@pytest.mark.parametrize("tie", ["false", "true"])
def test_flops_by_hand(tie: str) -> None:
    rows, positions, width, vocabulary = 5, 6, 16, 9
    built = network("transformer", TEXT, "model.depth=1", f"model.tie={tie}")
    linear = rows * positions * (3 * width * width + width * width + 8 * width * width + width * vocabulary)
    attention = 2 * rows * positions * positions * width  # scores, and the mean over values, all heads together
    forward = 2 * (linear + attention)
    assert counting.flops_per_step(built, Kind.LANGUAGE, rows, positions) == 3 * forward


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.depth=0", "depth"),
        ("model.heads=3", r"heads must divide the width 16"),
        ("model.dropout=1", "dropout"),
        ("model.dropout=high", "dropout"),
    ],
)
@pytest.mark.parametrize("model", ["transformer", "encoder"])
@pytest.mark.slow
def test_wrong_settings_are_refused(model: str, override: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.{key}"):
        network(model, TEXT, override)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ("model=transformer", "dataset=iris"),
            r"Transformer needs tokens.*dataset=python_source or text, or model=encoder",
        ),
        (
            ("model=encoder", "dataset=python_source"),
            r"to outputs \(2, 64, 98\), not \(2, 98\): choose model=transformer",
        ),
        (("model=mlp", "dataset=python_source"), r"to outputs \(2, 64, 98\), not \(2, 98\): choose model=transformer"),
    ],
)
def test_a_model_that_does_not_suit_the_data_is_refused(overrides: tuple[str, ...], reason: str) -> None:
    cell = make_cell(*overrides)
    with pytest.raises(ConfigError, match=reason) as error:
        checks.check(cell.config, cell.dataset)
    assert "\n" not in str(error.value)
