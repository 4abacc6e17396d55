"""Draw the initial values of a network from a seed's own stream (`draws`), by the number of each draw.

So the values depend neither on a generator's state nor on the device, and those of many members can be drawn at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from evalbench import draws
from evalbench.random_functions import answers, call, substitute

Draw = Callable[[Callable[[Tensor], Tensor]], Tensor]
"""Takes random numbers as a function of a key, or of keys `(C,)` with a leading `C`; returns those of a network."""


def keys_of(seeds: Tensor) -> Tensor:
    """Return the keys `(...)` of the initial values of these seeds `(...)`, which also seed torch's generator.

    So no number that a constructor is likely to seed torch's generator with is that of its own seed.
    """
    return draws.stream(seeds, "initial values")


class InitialValues(TorchFunctionMode):
    """Take the random numbers of a constructor from `draw`, while active.

    These are torch's uniform, normal, exponential and Bernoulli numbers, and so all of `torch.nn.init` except the
    choice of rows in `sparse_`. All other random functions use the global generators, and so do these functions while a
    constructor has seeded torch's generator itself.
    """

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self._draw = draw
        self._calls = 0
        self._seed = torch.default_generator.initial_seed()
        self._answers = answers(self)

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer random functions; call all other functions unchanged."""
        kwargs = kwargs or {}
        answer = substitute(self._answers, function, kwargs)
        if answer is not None and torch.default_generator.initial_seed() == self._seed:
            return answer(*args, **kwargs)
        return call(self, function, args, kwargs)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Return the numbers of the next draw in [0, 1)."""
        self._calls += 1
        return self._draw(partial(draws.uniform, call=self._calls, shape=shape))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Return the numbers of the next draw, of a standard normal distribution."""
        self._calls += 1
        return self._draw(partial(draws.normal, call=self._calls, shape=shape))

    def exponential(self, shape: Sequence[int]) -> Tensor:
        """Return the numbers of the next draw, of an exponential distribution of mean 1."""
        self._calls += 1
        return self._draw(partial(draws.exponential, call=self._calls, shape=shape))
