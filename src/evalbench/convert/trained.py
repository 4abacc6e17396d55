"""A saved network that is to be converted, and rows that tell whether its files predict the same.

Shapes: `B` rows, `D` features.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evalbench import own_code, workloads
from evalbench.config import Component
from evalbench.config.component import ANYTHING
from evalbench.weights import Predictor
from evalbench.weights.loading import is_in

MOST_ROWS = 32
WORKLOADS = "evalbench.workloads"


@dataclass(frozen=True)
class Written:
    """The files of a converted network, read back."""

    predict: Callable[[Tensor], Tensor]
    """Predictions of rows `(B, D)`, as a `Predictor` gives them."""
    loading: Callable[[Path], str]
    """Python that loads them from a folder."""
    scaling: str | None = None
    """What a user must scale beside them; None: nothing."""


@dataclass(frozen=True)
class Trained:
    """A saved network, its description, and the packages that the user trusts."""

    predictor: Predictor
    description: Mapping[str, Any]
    packages: Sequence[str] = ()

    @property
    def takes_tokens(self) -> bool:
        """Return whether rows are tokens."""
        return self.description["vocabulary"] is not None

    @cached_property
    def rows(self) -> tuple[Tensor, str]:
        """Rows `(B, D)` as the data set holds them, some of its own if it can be read, and what they are."""
        inputs = self._own_rows()
        if inputs is None:
            return self._made_up(), "made-up rows, because the data set cannot be read here"
        rows = torch.as_tensor(inputs)
        return rows.long() if self.takes_tokens else rows.to(self.predictor.mean.dtype), "rows of the data set"

    def _own_rows(self) -> Any:
        settings = dict(self.description.get("config", {}).get("dataset") or {})
        settings.pop("target_score", None)
        trusted = [WORKLOADS, *self.packages]
        code = [*own_code.targets(settings), *([str(settings["source"])] if "source" in settings else [])]
        if not code or "${" in json.dumps(settings) or not all(is_in(name, trusted) for name in code):
            return None
        try:
            component = Component("dataset", settings.pop("_target_"), settings)
            if not is_in(str(getattr(component.locate(), "__module__", "")), trusted):
                return None  # a module also contains imported names
            dataset = workloads.load(component)
        except ANYTHING:  # files that have moved, a hub that cannot be reached, code of the user's
            return None
        if dataset.features != self.predictor.signature.features:
            return None
        last = len(dataset.inputs) - 1
        return dataset.inputs[np.linspace(0, last, min(MOST_ROWS, last + 1)).astype(np.int64)]

    def _made_up(self) -> Tensor:
        generator, shape = torch.Generator().manual_seed(0), (MOST_ROWS, len(self.predictor.signature.features))
        if self.takes_tokens:
            return torch.randint(int(self.description["vocabulary"]), shape, generator=generator)
        mean, std = self.predictor.mean, self.predictor.std
        rows = mean + std * torch.randn(shape, generator=generator).to(mean)
        for one in self.predictor.signature.encoded:
            rows[:, one.column] = torch.randint(one.categories, shape[:1], generator=generator).to(mean)
        rows[0, 0] = torch.nan  # a missing value
        return rows
