"""Entities of a sentence as spans of tags such as `B-PER`, `I-PER` and `O`.

The rules are those of conlleval, the program of the CoNLL-2000 and CoNLL-2003 shared tasks (Tjong Kim Sang and De
Meulder 2003), which seqeval follows too: an `I-PER` behind `O` or behind another type begins an entity. So IOB1, IOB2
(BIO) and BIOES tags are read by the same rules.

Shapes: `N` sentences, `T` tokens, `K` tags; `...` stands for any leading axes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalbench.tasks.task import NO_TARGET

if TYPE_CHECKING:
    from torch import Tensor

OUTSIDE, BEGIN, INSIDE, END, SINGLE = range(5)
PREFIXES = {"B": BEGIN, "I": INSIDE, "E": END, "L": END, "S": SINGLE, "U": SINGLE}
"""What a tag says of its token by its first letter, as in BIOES and in BILOU."""
TAG = re.compile(r"([BIELSU])-(.+)", re.DOTALL)
NO_TYPE = -1


class Spans:
    """The meaning of the tags of a data set: the position `(K,)` of a token in its entity, and the entity's type."""

    def __init__(self, tags: Sequence[str]) -> None:
        """Take tags by number, for which `are_spans` is true."""
        parts = [TAG.fullmatch(tag) for tag in tags]
        types = sorted({part[2] for part in parts if part})
        self._positions = [PREFIXES[part[1]] if part else OUTSIDE for part in parts]
        self._types = [types.index(part[2]) if part else NO_TYPE for part in parts]

    def f1(self, probabilities: Tensor, truth: Tensor) -> Tensor:
        """Return 2 hits / (entities in truth + predicted entities) over all sentences, 0 if there are none.

        An entity is hit if first token, last token and type are right. `probabilities` are `(..., N, T, K)`, `truth`
        is `(..., N, T)` with `NO_TARGET` for tokens that do not count, between others or behind them.
        """
        order = (truth == NO_TARGET).byte().argsort(dim=-1, stable=True)  # tokens that count, then the others
        truth, chosen = truth.gather(-1, order), probabilities.argmax(-1).gather(-1, order)
        is_padding = truth == NO_TARGET
        (starts, ends, types), (chosen_starts, chosen_ends, chosen_types) = (
            self._entities(tags.masked_fill(is_padding, 0), is_padding) for tags in (truth, chosen)
        )
        hits = (starts & chosen_starts & (types == chosen_types) & (ends == chosen_ends)).sum((-2, -1))
        entities = starts.sum((-2, -1)) + chosen_starts.sum((-2, -1))
        return 2 * hits.double() / entities.clamp(min=1)

    def _entities(self, tags: Tensor, is_padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, for each token `(..., T)`, whether an entity starts, the last token of its entity, and its type."""
        import torch
        from torch.nn.functional import pad

        position = torch.tensor(self._positions, device=tags.device)[tags].masked_fill(is_padding, OUTSIDE)
        types = torch.tensor(self._types, device=tags.device)[tags].masked_fill(is_padding, NO_TYPE)
        before, types_before = (
            pad(position[..., :-1], (1, 0), value=OUTSIDE),
            pad(types[..., :-1], (1, 0), value=NO_TYPE),
        )
        is_new = types != types_before
        is_inside, is_over = position != OUTSIDE, (before == OUTSIDE) | (before == END) | (before == SINGLE)
        starts = is_inside & (is_new | is_over | (position == BEGIN) | (position == SINGLE))
        # An entity ends before a token that starts one, and before a token outside.
        goes_on = pad((is_inside & ~starts)[..., 1:], (0, 1), value=False)
        indices = torch.arange(tags.shape[-1], device=tags.device).expand(tags.shape)
        ends = indices.masked_fill(goes_on, tags.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
        return starts, ends, types


def are_spans(tags: Sequence[str]) -> bool:
    """Return whether tags are all `O` or like `B-PER`, so that entities can be counted."""
    return any(map(TAG.fullmatch, tags)) and all(tag == "O" or TAG.fullmatch(tag) for tag in tags)
