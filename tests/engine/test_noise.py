import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from evalbench.draws import step_keys, uniform
from evalbench.engine.noise import MemberNoise

ZERO = torch.tensor(0)
SEEDS = torch.tensor([3, 2**62 + 5, 17])


def key(seed: int = 3, step: int = 0) -> Tensor:
    return step_keys(torch.tensor([seed]), step, 1)[0, 0]


def test_a_micro_batch_gets_its_rows_of_the_whole_batchs_mask() -> None:
    whole = uniform(key(), 1, (10, 3, 2), ZERO)
    assert torch.equal(whole[4:7], uniform(key(), 1, (3, 3, 2), torch.tensor(4)))


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    with MemberNoise(key(), ZERO):
        outputs = nn.Dropout(0.3)(torch.ones(200, 500))
        channels = nn.Dropout2d(0.5)(torch.ones(50, 40, 3, 3))
        untouched = nn.Dropout(0.3).eval()(torch.ones(5, 5))
    assert (outputs == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert outputs.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(channels.flatten(2).amin(2), channels.flatten(2).amax(2))  # a channel falls as a whole
    assert torch.equal(untouched, torch.ones(5, 5))


def test_normal_noise_is_normal() -> None:
    with MemberNoise(key(), ZERO):
        values = torch.randn_like(torch.empty(300, 400))
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.01)
    assert (values.abs() > 1.959964).float().mean() == pytest.approx(0.05, abs=0.003)


def test_members_draw_from_their_own_streams_inside_vmap() -> None:
    keys = step_keys(SEEDS, 0, 1)[0]

    def draw(key: Tensor, inputs: Tensor) -> Tensor:
        with MemberNoise(key, ZERO):
            return F.dropout(inputs, 0.5)

    together = vmap(draw)(keys, torch.ones(3, 8, 5))
    for slot in range(3):
        assert torch.equal(together[slot], draw(keys[slot], torch.ones(8, 5)))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_written_out_equals_torchs_attention(causal: bool) -> None:
    query, keys, value = torch.randn(3, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0)).unbind()
    with MemberNoise(key(), ZERO):
        attended = F.scaled_dot_product_attention(query, keys, value, is_causal=causal)
    assert torch.allclose(attended, F.scaled_dot_product_attention(query, keys, value, is_causal=causal), atol=1e-6)
