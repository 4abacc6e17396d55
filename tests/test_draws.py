import pytest
import torch
from torch import Tensor

from evalbench.draws import normal, step_keys, stream, uniform

ZERO = torch.tensor(0)
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
