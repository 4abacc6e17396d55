"""Transformers: a decoder for the next token at every position, an encoder for one answer per example, and a tagger.

Shapes: `B` examples, `T` positions, `V` tokens of the vocabulary, `K` outputs.

Weights start as in the multilayer perceptron: normal draws of standard deviation `gain / sqrt(fan_in)`. The gain is 1
for layers with normalized inputs and the activation's own for the layer after it. The layer that ends a residual branch
is divided by the root of the number of branches, so that their sum keeps its size at any depth (Radford et al. 2019).
An embedding's numbers have standard deviation `1 / sqrt(width)`, right for a tied output layer, and are multiplied by
`sqrt(width)` in the forward pass (Vaswani et al. 2017). Biases start at 0. Techniques that differ only in the
activation share the draws.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench.errors import ConfigError
from evalbench.models.layers import NormalEmbedding, NormalLinear


class Transformer(nn.Module):
    """A causal, decoder-only transformer that predicts the next token at every position of a window.

    It has pre-norm blocks and learned positions. With `tie`, the output layer is the embedding itself (Press & Wolf
    2017).
    """

    def __init__(
        self,
        vocabulary: int,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 2,
        width: int = 64,
        heads: int = 4,
        dropout: float = 0.0,
        tie: bool = False,
    ) -> None:
        super().__init__()
        check_shape(depth, width, heads, dropout)
        if not isinstance(tie, bool):
            raise ConfigError("model.tie", "must be true or false", tie, "use model.tie=false")
        if tie and vocabulary != out_features:
            rule = "must be false if outputs are not the tokens themselves"
            raise ConfigError("model.tie", rule, tie, "use model.tie=false")
        self.embedding = Embedding(vocabulary, in_features, width)
        self.blocks = Blocks(activation, gain, depth, width, heads, dropout, causal=True)
        self.output = NormalLinear(width, out_features)
        if tie:
            self.output.weight = self.embedding.tokens.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens `(B, T)` to logits `(B, T, K)`; position t sees the positions up to t."""
        outputs: Tensor = self.output(self.blocks(self.embedding(inputs)))
        return outputs


class Encoder(nn.Module):
    """A bidirectional transformer with one answer per example: the mean over positions, then a linear layer.

    Inputs are tokens if the data set has a vocabulary. Otherwise every column of the table, or pixel, becomes a token:
    its value times a learned direction plus a learned bias, both the column's own (Gorishniy et al. 2021).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        vocabulary: int | None = None,
        depth: int = 2,
        width: int = 64,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_shape(depth, width, heads, dropout)
        self.embedding = (
            Columns(in_features, width) if vocabulary is None else Embedding(vocabulary, in_features, width)
        )
        self.blocks = Blocks(activation, gain, depth, width, heads, dropout, causal=False)
        self.output = NormalLinear(width, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens or numbers `(B, T)` to `(B, K)`."""
        outputs: Tensor = self.output(self.blocks(self.embedding(inputs)).mean(1))
        return outputs


class Tagger(nn.Module):
    """A bidirectional transformer with one answer per token; padding is at the end of a row, and no token sees it.

    So a row has the same outputs whatever its padded length is.
    """

    def __init__(
        self,
        vocabulary: int,
        padding: int,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int = 2,
        width: int = 64,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_shape(depth, width, heads, dropout)
        self.padding = padding
        self.embedding = Embedding(vocabulary, in_features, width)
        self.blocks = Blocks(activation, gain, depth, width, heads, dropout, causal=False)
        self.output = NormalLinear(width, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens `(B, T)` to logits `(B, T, K)`, which mean nothing at padding."""
        first = torch.arange(inputs.shape[1], device=inputs.device) == 0  # no row is empty, but examples of zeros are
        seen = ((inputs != self.padding) | first)[:, None, None]  # (B, 1, 1, T)
        outputs: Tensor = self.output(self.blocks(self.embedding(inputs), seen))
        return outputs


class Embedding(nn.Module):
    """A learned vector per token plus a learned vector per position."""

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.tokens = NormalEmbedding(vocabulary, width)
        # A tenth of a token's size: positions as large as tokens slow down the first steps.
        self.positions = nn.Parameter(0.1 * torch.randn(length, width))
        self.scale = width**0.5

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens `(B, T)` to `(B, T, width)`."""
        table = self.tokens.weight * self.scale  # smaller than the vectors of a batch, with the same products
        outputs: Tensor = F.embedding(inputs, table) + self.positions
        return outputs


class Columns(nn.Module):
    """The value of each column times a learned direction of its own, plus a learned bias of its own."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(columns, width))
        self.positions = nn.Parameter(torch.randn(columns, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map numbers `(B, T)` to `(B, T, width)`."""
        return inputs[..., None] * self.directions + self.positions


class Blocks(nn.Module):
    """`depth` blocks and a last norm; each block adds attention, then a two-layer perceptron, to its input.

    In causal blocks each position sees itself and the positions before it, else all positions that are `seen`.
    """

    def __init__(
        self,
        activation: Callable[[], nn.Module],
        gain: float,
        depth: int,
        width: int,
        heads: int,
        dropout: float,
        causal: bool,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(activation, gain, width, heads, dropout, 2 * depth, causal) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, seen: Tensor | None = None) -> Tensor:
        """Map `(B, T, width)` to the same; `seen` is `(B, 1, 1, T)`, None: all positions are."""
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden, seen)
        outputs: Tensor = self.norm(hidden)
        return outputs


class Block(nn.Module):
    """Attention and a perceptron of four times the width, each a residual branch behind a norm of its own."""

    def __init__(
        self,
        activation: Callable[[], nn.Module],
        gain: float,
        width: int,
        heads: int,
        dropout: float,
        branches: int,
        causal: bool,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, branches, causal)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            NormalLinear(width, 4 * width), activation(), NormalLinear(4 * width, width, gain / branches**0.5)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        """Map `(B, T, width)` to the same."""
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), seen))
        outputs: Tensor = hidden + self.dropout(self.perceptron(self.perceptron_norm(hidden)))
        return outputs


class Attention(nn.Module):
    """Multi-head self-attention by `scaled_dot_product_attention`, which the engine batches over members."""

    def __init__(self, width: int, heads: int, dropout: float, branches: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.inputs = NormalLinear(width, 3 * width)
        self.output = NormalLinear(width, width, 1 / branches**0.5)

    def forward(self, hidden: Tensor, seen: Tensor | None) -> Tensor:
        """Map `(B, T, width)` to the same."""
        batch, length, width = hidden.shape
        parts = self.inputs(hidden).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = (part.transpose(1, 2) for part in parts.unbind(2))  # each (B, heads, T, width / heads)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, seen, dropout, self.causal)
        outputs: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        return outputs


def check_shape(depth: int, width: int, heads: int, dropout: float) -> None:
    """Raise `ConfigError` for settings of a transformer that do not fit each other."""
    for name, value in (("depth", depth), ("width", width), ("heads", heads)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"model.{name}", "must be a whole number of at least 1", value, f"use model.{name}=4")
    if width % heads:
        raise ConfigError("model.heads", f"must divide the width {width}", heads, "use model.heads=1")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ConfigError("model.dropout", "must be a number from 0 to below 1", dropout, "use model.dropout=0.1")
