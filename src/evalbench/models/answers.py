"""What a decoder says of the answers at the ends of rows: their log-likelihoods, and the tokens that it would write.

Shapes: `B` rows, `P` tokens of a prompt, `A` of an answer.
"""

import functools
import inspect
from typing import Any

import torch
from torch import Tensor


def scored(network: Any, tokens: Tensor, padding: int | None, length: int) -> Tensor:
    """Return `(B, A, 2)`: the logarithm of the probability of each of the last `length` tokens, and the most probable.

    Both are given all tokens before. Padding before a prompt is not seen, and positions are counted from its end.

    Args:
        network: of Transformers, with a head that gives logits for the next token.
        tokens: `(B, P + A)`, prompts with padding before them, then answers.
        padding: the token of padding; a prompt of one token has none.
        length: the tokens of an answer, `A`.
    """
    prompt, answer = tokens[:, :-length], tokens[:, -length:]
    told = torch.ones_like(prompt) if padding is None or prompt.shape[1] == 1 else begun(prompt, padding)
    seen = torch.cat([told, torch.ones_like(answer)], dim=1)
    offered = {
        "position_ids": (seen.cumsum(1) - 1).clamp(min=0),
        "logits_to_keep": length + 1,
        "use_cache": False,
    }
    base: type = type(network.get_base_model() if hasattr(network, "get_base_model") else network)
    named = _arguments(base)
    if getattr(network, "active_peft_config", None) is not None and network.active_peft_config.is_prompt_learning:
        del offered["position_ids"]  # PEFT puts vectors before the padding, and gives none
    given = {name: value for name, value in offered.items() if name in named}
    logits = network(input_ids=tokens, attention_mask=seen, **given).logits[:, -length - 1 : -1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    likelihoods = logits.log_softmax(-1).gather(-1, answer[..., None])[..., 0]
    return torch.stack([likelihoods, logits.argmax(-1).to(likelihoods.dtype)], dim=-1)


def begun(prompts: Tensor, padding: int) -> Tensor:
    """Return 1 from the first token of each prompt `(B, P)` on, and 0 for the padding before it.

    Behind its first token a prompt may have the token of padding, which ends the turns of a chat with some models.
    """
    return ((prompts != padding).cumsum(1) > 0).long()


@functools.cache
def _arguments(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind.forward).parameters)
