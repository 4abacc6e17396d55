import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from evalbench.draws import _root, log, normal, step_keys, stream, uniform

ZERO = torch.tensor(0)
cuda = pytest.param("cuda", marks=(pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")))
SEEDS = torch.tensor([3, 2**62 + 5, 17])


def key(seed: int = 3, step: int = 0) -> Tensor:
    return step_keys(torch.tensor([seed]), step, 1)[0, 0]


def test_numbers_are_uniform_and_not_correlated() -> None:
    values = uniform(key(), 1, (400, 500), ZERO)
    assert values.min() >= 0
    assert values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.003)
    assert values.var() == pytest.approx(1 / 12, abs=0.001)
    counts = torch.histc(values, bins=20, min=0, max=1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 45  # chi squared, 19 degrees of freedom: p = 0.0007
    for shifted in (values.roll(1, 0), values.roll(1, 1), uniform(key(step=1), 1, (400, 500), ZERO)):
        correlation = torch.corrcoef(torch.stack([values.flatten(), shifted.flatten()]))[0, 1]
        assert abs(correlation) < 0.01


def test_seed_step_call_and_row_each_give_other_numbers() -> None:
    base = uniform(key(), 1, (4, 6), ZERO)
    others = [uniform(key(4), 1, (4, 6), ZERO), uniform(key(step=1), 1, (4, 6), ZERO), uniform(key(), 2, (4, 6), ZERO)]
    others.append(base.roll(1, 0))
    assert all((other != base).all() for other in others)


def test_keys_do_not_depend_on_how_steps_are_cut_into_chunks() -> None:
    whole = step_keys(SEEDS, 0, 9)
    assert torch.equal(whole[4:], step_keys(SEEDS, 4, 5))
    assert torch.equal(whole[:, 1], step_keys(SEEDS[1:2], 0, 9)[:, 0])
    assert len(torch.unique(whole)) == whole.numel()


def test_each_user_has_a_stream_of_its_own_and_so_has_each_key() -> None:
    keys = step_keys(SEEDS, 0, 2)
    streams = [keys, stream(keys, "augmentation"), stream(keys, "loss")]
    assert len(torch.unique(torch.stack(streams))) == 3 * keys.numel()
    assert torch.equal(stream(keys, "loss")[1, 2], stream(keys[1, 2], "loss"))
    draws = torch.stack([normal(each, (300, 50)) for each in streams]).flatten(0, 2)
    assert (torch.corrcoef(draws.flatten(1)) - torch.eye(len(draws))).abs().max() < 0.04


def test_normal_numbers_are_normal_and_the_same_for_a_key_alone() -> None:
    keys = step_keys(SEEDS, 5, 4)
    values = normal(keys, (50, 40))
    assert values.shape == (4, 3, 50, 40)
    assert torch.equal(values[2, 1], normal(keys[2, 1], (50, 40)))
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert (values.abs() < 1.96).float().mean() == pytest.approx(0.95, abs=0.005)


def test_both_columns_of_a_pair_are_normal_and_independent() -> None:
    pair = normal(key(), (400_000, 2)).double()
    for column in (*pair.T, pair.sum(1) / math.sqrt(2), pair.diff(dim=1).flatten() / math.sqrt(2)):
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    assert torch.corrcoef(pair.square().T)[0, 1].abs() < 0.006
    assert torch.corrcoef(torch.stack([pair[:, 0].abs(), pair[:, 1]]))[0, 1].abs() < 0.006


@pytest.mark.parametrize("shape", [(), (1,), (5,), (5, 3), (2, 3, 5), (0, 3), (3, 0)])
def test_keys_may_have_any_shape_and_so_may_numbers(shape: tuple[int, ...]) -> None:
    keys = step_keys(SEEDS, 0, 2)
    values = normal(keys, shape)
    assert values.shape == (2, 3, *shape)
    assert torch.equal(torch.func.vmap(lambda each: normal(each, shape))(keys[1]), values[1])


def test_rows_may_be_drawn_in_parts() -> None:
    whole = normal(key(), (7, 5), call=4)
    assert torch.equal(normal(key(), (3, 5), call=4, first_row=torch.tensor(4)), whole[4:])


def test_the_logarithm_is_that_of_the_nearest_numbers() -> None:
    x = torch.arange(1, 2**24 + 1, 7).to(torch.float32) * 2.0**-24
    expected = torch.log(x.double())
    error = (log(x).double() - expected).abs()
    assert (error <= 2.0**-24 * expected.abs() * 2).all()


def test_the_root_is_the_nearest_number() -> None:
    x = torch.arange(1, 2**24, 7).to(torch.float32) * 2.0**-19
    assert np.array_equal(_root(x).numpy(), np.sqrt(x.numpy()))  # NumPy's is that of the processor


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_every_device_draws_these_bits(device: str) -> None:
    one = key().to(device)
    assert [value.hex() for value in uniform(one, 1, (3,)).tolist()] == [
        "0x1.719bec0000000p-1",
        "0x1.7698500000000p-1",
        "0x1.9388960000000p-1",
    ]
    assert [value.hex() for value in normal(one, (2, 2), call=9).flatten().tolist()] == [
        "0x1.472a8c0000000p+0",
        "-0x1.5a54740000000p-3",
        "0x1.e72e8c0000000p-3",
        "-0x1.1e29ee0000000p+0",
    ]
    assert torch.equal(normal(one, (2000, 1000)).cpu(), normal(key(), (2000, 1000)))
