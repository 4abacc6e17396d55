"""Sentences with names of persons and places, made here: tags like `B-PER`, tokens of all frequencies."""

from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

PERSONS, PLACES = ("Ada", "Kurt Wolf", "Grace", "Alan", "Emmy Ann Lee"), ("Paris", "Rome", "New York", "Kiel")
SENTENCES = 60


def _tagged(kind: str, name: str) -> list[tuple[str, str]]:
    return [(word, f"{'I' if number else 'B'}-{kind}") for number, word in enumerate(name.split())]


def sentences(count: int = SENTENCES) -> dict[str, list[Any]]:
    """Return lists of words and of tags of 3 to 9 words; each third sentence has a word that no other has."""
    draw = np.random.default_rng(0)
    words, tags = [], []
    for number in range(count):
        row = [*_tagged("PER", draw.choice(PERSONS)), (str(draw.choice(["met", "saw"])), "O")]
        row += _tagged("PER", draw.choice(PERSONS)) if draw.random() < 0.5 else [("nobody", "O")]
        row += [("in", "O"), *_tagged("LOC", draw.choice(PLACES))] if draw.random() < 0.6 else []
        row += [(f"once{number}", "O")] if number % 3 == 0 else []
        words.append([word for word, _ in row])
        tags.append([tag for _, tag in row])
    return {"words": words, "tags": tags}


def frame(count: int = SENTENCES) -> pd.DataFrame:
    """Return them as a frame, with a column that is no input."""
    return pd.DataFrame({"id": range(count), **sentences(count)})


CHOSEN = ("dataset=python", "dataset.source=tagged.frame", "dataset.tokens=words", "dataset.target=tags")
TAGGER = (*CHOSEN, "model=tagger", "model.width=16", "model.heads=2", "model.depth=1")


class Module(pl.LightningModule):
    """A module as people write them for tags: it leaves padding out of its loss by -100."""

    def __init__(self, vocabulary: int, padding: int, out_features: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, 8, padding_idx=padding)
        self.output = nn.Linear(8, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.tokens(inputs))
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]).mT, batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.05)
