"""Networks as people write them, each with one trait that a batched, traced or shared step may get wrong.

The first line of each docstring names the trait and stands in docs/networks.md. None of them knows evalbench.
"""
# mypy: disable-error-code="no-any-return, no-untyped-call, misc, type-arg"

import copy
import functools
import random
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

WIDTH = 8


class Middle(nn.Module):
    """Two layers; the operations between them are a network's trait."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(in_features, WIDTH), nn.Linear(WIDTH, out_features)

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.middle(torch.tanh(self.first(inputs))))


class Wrapped(Middle):
    """Two layers with a module between them."""

    def __init__(self, in_features: int, out_features: int, between: nn.Module) -> None:
        super().__init__(in_features, out_features)
        self.between = between

    def middle(self, hidden: Tensor) -> Tensor:
        return self.between(hidden)


class Sequence(nn.Module):
    """Every column is a token of a sequence; the mean over the sequence is read."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.columns, self.last = nn.Parameter(torch.randn(in_features, WIDTH)), nn.Linear(WIDTH, out_features)

    def mix(self, tokens: Tensor) -> Tensor:
        return tokens

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.mix(torch.tanh(inputs[..., None] * self.columns)).mean(-2))


# ── recurrent ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Recurrent(Sequence):
    """Two layers with a recurrent module between them."""

    def __init__(self, in_features: int, out_features: int, recurrent: nn.Module) -> None:
        super().__init__(in_features, out_features)
        self.recurrent = recurrent

    def mix(self, tokens: Tensor) -> Tensor:
        return self.recurrent(tokens)[0]


class Rnn(Recurrent):
    """`nn.RNN`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.RNN(WIDTH, WIDTH, batch_first=True))


class Gru(Recurrent):
    """`nn.GRU`, both directions"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True))


class Lstm(Recurrent):
    """`nn.LSTM`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.LSTM(WIDTH, WIDTH, batch_first=True))


class LstmWithDropout(Recurrent):
    """`nn.LSTM` with dropout between its layers"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.LSTM(WIDTH, WIDTH, num_layers=2, dropout=0.3, batch_first=True))


class LstmCells(Sequence):
    """a loop over `nn.LSTMCell`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.cell = nn.LSTMCell(WIDTH, WIDTH)

    def mix(self, tokens: Tensor) -> Tensor:
        state = tokens.new_zeros(len(tokens), WIDTH)
        cell, outputs = state, []
        for token in tokens.unbind(1):
            state, cell = self.cell(token, (state, cell))
            outputs.append(state)
        return torch.stack(outputs, 1)


class OwnCells(Sequence):
    """a hand-written gated recurrence"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gates = nn.Linear(2 * WIDTH, 2 * WIDTH)

    def mix(self, tokens: Tensor) -> Tensor:
        state = torch.zeros(tokens.size(0), WIDTH, device=tokens.device)
        outputs = []
        for place in range(tokens.size(1)):
            gate, value = self.gates(torch.cat([tokens[:, place], state], -1)).chunk(2, -1)
            state = torch.lerp(state, torch.tanh(value), torch.sigmoid(gate))
            outputs += [state]
        return torch.stack(outputs, 1)


class Packed(Sequence):
    """`pack_padded_sequence` with lengths that depend on the data"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def mix(self, tokens: Tensor) -> Tensor:
        lengths = 1 + (tokens[..., 0] > 0).sum(1).clamp(max=tokens.shape[1] - 1)
        packed = nn.utils.rnn.pack_padded_sequence(tokens, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=tokens.shape[1])[0]


class StateSpace(Sequence):
    """a linear state-space scan with `cumsum`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.decay = nn.Parameter(torch.linspace(-2, 2, WIDTH))

    def mix(self, tokens: Tensor) -> Tensor:
        steps = torch.arange(tokens.shape[1], device=tokens.device)[:, None] * torch.sigmoid(self.decay) / 10
        return torch.cumsum(tokens * steps.exp(), 1) * (-steps).exp()


# ── attention ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Attention(Sequence):
    """`nn.MultiheadAttention` whose weights are kept as an attribute for inspection"""

    def __init__(self, in_features: int, out_features: int, dropout: float = 0.0) -> None:
        super().__init__(in_features, out_features)
        self.attention = nn.MultiheadAttention(WIDTH, 2, dropout=dropout, batch_first=True)

    def mix(self, tokens: Tensor) -> Tensor:
        mixed, self.seen = self.attention(tokens, tokens, tokens, need_weights=True)
        return tokens + mixed


class AttentionDropout(Attention):
    """dropout inside `nn.MultiheadAttention`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, 0.3)

    def mix(self, tokens: Tensor) -> Tensor:
        return tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]


class EncoderLayer(Sequence):
    """`nn.TransformerEncoderLayer` with its dropout, and its fast path in validation"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.2, batch_first=True)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.layer(tokens)


class PaddedEncoder(Sequence):
    """`nn.TransformerEncoder` with a padding mask"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def mix(self, tokens: Tensor) -> Tensor:
        padding = torch.arange(tokens.shape[1], device=tokens.device) > 9
        return self.encoder(tokens, src_key_padding_mask=padding.expand(tokens.shape[:2]))[:, :10]


class DecoderLayer(Sequence):
    """`nn.TransformerDecoderLayer` with a causal mask"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.layer = nn.TransformerDecoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.memory = nn.Parameter(torch.randn(1, 3, WIDTH))

    def mix(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.layer(tokens, self.memory.expand(len(tokens), -1, -1), tgt_mask=mask, tgt_is_causal=True)


class OwnAttention(Sequence):
    """`F.scaled_dot_product_attention`, causal, with dropout"""

    queries, groups = 2, 2

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.size = WIDTH // self.queries
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * self.size * self.groups)

    def heads(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (-1, self.size)).transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        p = 0.2 if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=p)

    def mix(self, tokens: Tensor) -> Tensor:
        key, value = self.key_value(tokens).chunk(2, -1)
        mixed = self.attend(self.heads(self.query(tokens)), self.heads(key), self.heads(value))
        return tokens + mixed.transpose(1, 2).flatten(2)


class MaskedAttention(OwnAttention):
    """`F.scaled_dot_product_attention` with a boolean and an additive mask"""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        length = query.shape[-2]
        near = torch.ones(length, length, dtype=torch.bool, device=query.device).tril(2).triu(-2)
        once = F.scaled_dot_product_attention(query, key, value, attn_mask=near)
        bias = -(torch.arange(length, device=query.device)[:, None] - torch.arange(length)).abs().float() / 4
        return once + F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=0.5)


class GroupedAttention(OwnAttention):
    """grouped-query attention (`enable_gqa=True`)"""

    queries, groups = 4, 2

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)


class ForgottenDropout(OwnAttention):
    """dropout that stays on in validation (`dropout_p=0.1` without asking `self.training`)"""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=0.1)


# ── normalization ─────────────────────────────────────────────────────────────────────────────────────────────────────


class BatchNorm(Wrapped):
    """`nn.BatchNorm1d`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH))


class CumulativeBatchNorm(Wrapped):
    """`nn.BatchNorm1d(momentum=None)`: a cumulative mean, which asks for the value of a counter"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH, momentum=None))


class UntrackedBatchNorm(Wrapped):
    """`nn.BatchNorm1d(track_running_stats=False)`: batch statistics in validation too"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH, track_running_stats=False))


class ConvBatchNorm(nn.Sequential):
    """`nn.Conv2d` and `nn.BatchNorm2d`, with pooling"""

    def __init__(self, in_features: int, out_features: int) -> None:
        side = (1, 1, in_features)
        conv = nn.Conv2d(1, WIDTH, (1, 3), padding=(0, 1), bias=False)
        pool = nn.MaxPool2d((1, 2))
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, out_features))
        super().__init__(nn.Unflatten(1, side), conv, nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True), pool, *head)


class LayerNorm(Wrapped):
    """`nn.LayerNorm`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.LayerNorm(WIDTH))


class GroupNorm(Wrapped):
    """`nn.GroupNorm`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.GroupNorm(2, WIDTH))


class RmsNorm(Wrapped):
    """`nn.RMSNorm`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.RMSNorm(WIDTH))


class LocalResponseNorm(Wrapped):
    """`nn.LocalResponseNorm`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.LocalResponseNorm(3, alpha=1.0))

    def middle(self, hidden: Tensor) -> Tensor:
        return self.between(hidden[..., None])[..., 0]


class InstanceNorm(Sequence):
    """`nn.InstanceNorm1d` with running statistics"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.norm = nn.InstanceNorm1d(WIDTH, affine=True, track_running_stats=True)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.norm(tokens.transpose(1, 2)).transpose(1, 2).square()


class OwnNorm(Middle):
    """An own normalization by a running mean; how the buffer is updated is the trait."""

    persistent = True
    mean: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("mean", torch.zeros(WIDTH), persistent=self.persistent)

    def update(self, now: Tensor) -> None:
        self.mean.mul_(0.7).add_(0.3 * now)

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            self.update(hidden.detach().mean(0))
        return hidden - 2 * self.mean


class BufferInPlace(OwnNorm):
    """a running buffer updated in place"""


class BufferAssigned(OwnNorm):
    """a running buffer assigned anew (`self.mean = …`)"""

    def update(self, now: Tensor) -> None:
        self.mean = 0.7 * self.mean + 0.3 * now


class BufferThroughData(OwnNorm):
    """a running buffer updated through `.data`"""

    def update(self, now: Tensor) -> None:
        self.mean.data = 0.7 * self.mean.data + 0.3 * now


class BufferCopied(OwnNorm):
    """a running buffer that `copy_` fills under `no_grad`"""

    @torch.no_grad()
    def update(self, now: Tensor) -> None:
        self.mean.copy_(torch.lerp(self.mean, now, 0.3))


class BufferSliced(OwnNorm):
    """a part of a buffer written by index (`self.mean[:4] = …`)"""

    def update(self, now: Tensor) -> None:
        self.mean[:4] = 0.7 * self.mean[:4] + 0.3 * now[:4]


class BufferNotPersistent(OwnNorm):
    """a running buffer registered with `persistent=False`"""

    persistent = False


class BufferInForward(Middle):
    """a buffer registered by the first `forward` (positions, as rotary embeddings do)"""

    angles: Tensor | None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("angles", None, persistent=False)

    def middle(self, hidden: Tensor) -> Tensor:
        if self.angles is None or len(self.angles) < hidden.shape[1]:
            self.register_buffer("angles", torch.cos(torch.arange(hidden.shape[1])), persistent=False)
        assert self.angles is not None
        return hidden * self.angles


class BufferThatGrows(OwnNorm):
    """a buffer that becomes longer with every step"""

    def update(self, now: Tensor) -> None:
        self.mean = torch.cat([self.mean.view(-1, WIDTH), now[None]])

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            self.update(hidden.detach().mean(0))
        return hidden - self.mean.view(-1, WIDTH).mean(0)


class BufferWithGradient(OwnNorm):
    """a buffer that enters the loss of its own step (the gradient flows through the new value)"""

    def update(self, now: Tensor) -> None:
        pass

    def middle(self, hidden: Tensor) -> Tensor:
        mean = 0.7 * self.mean + 0.3 * hidden.mean(0) if self.training else self.mean
        if self.training:
            self.mean = mean.detach()
        return hidden - 2 * mean


class Queue(Middle):
    """a queue of past features with a pointer (as in MoCo): a buffer written at an index that a buffer holds"""

    queue: Tensor
    pointer: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("queue", torch.randn(4, WIDTH))
        self.register_buffer("pointer", torch.zeros(1, dtype=torch.long))

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                pointer = int(self.pointer)
                self.queue[pointer] = hidden.mean(0)
                self.pointer[0] = (pointer + 1) % len(self.queue)
        return torch.softmax(hidden @ self.queue.T.clone().detach(), -1) @ self.queue.clone().detach() + hidden


class Codebook(Middle):
    """vector quantization: a codebook moved by `forward`, a straight-through gradient"""

    codes: Tensor
    counts: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("codes", torch.randn(5, WIDTH) / 2)
        self.register_buffer("counts", torch.ones(5))

    def middle(self, hidden: Tensor) -> Tensor:
        nearest = F.one_hot(torch.cdist(hidden, self.codes).argmin(-1), 5).to(hidden.dtype)
        quantized = nearest @ self.codes
        if self.training:
            with torch.no_grad():
                self.counts.mul_(0.8).add_(nearest.sum(0), alpha=0.2)
                sums = nearest.T @ hidden / (nearest.sum(0)[:, None] + 1)
                self.codes.data.mul_(0.8).add_(sums, alpha=0.2)
        return 1.5 * hidden + (quantized - hidden).detach() + self.counts.log().sum() / 100


# ── parametrisations, weights that are computed ───────────────────────────────────────────────────────────────────────


class WeightNorm(Wrapped):
    """`parametrizations.weight_norm`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)))


class SpectralNorm(Wrapped):
    """`parametrizations.spectral_norm`: `forward` moves buffers that the weight is computed from"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)))


class Orthogonal(Wrapped):
    """`parametrizations.orthogonal`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)))


class Symmetric(nn.Module):
    """A symmetric matrix from any."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


class OwnParametrization(Wrapped):
    """`register_parametrization` with an own module, cached in `forward`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))
        parametrize.register_parametrization(self.between, "weight", Symmetric())

    def middle(self, hidden: Tensor) -> Tensor:
        with parametrize.cached():
            return self.between(torch.tanh(self.between(hidden)))


def hooked(norm: Callable[..., nn.Module], layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return norm(layer)


class OldWeightNorm(Wrapped):
    """`nn.utils.weight_norm`, whose hook assigns the weight before each pass"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, hooked(nn.utils.weight_norm, nn.Linear(WIDTH, WIDTH)))


class OldSpectralNorm(Wrapped):
    """`nn.utils.spectral_norm`, whose hook assigns the weight and moves buffers"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, hooked(nn.utils.spectral_norm, nn.Linear(WIDTH, WIDTH)))


class Pruned(Wrapped):
    """`prune.random_unstructured`: a mask that differs between seeds, and a hook"""

    def __init__(self, in_features: int, out_features: int) -> None:
        layer = nn.Linear(WIDTH, WIDTH)
        prune.random_unstructured(layer, "weight", 0.5)
        super().__init__(in_features, out_features, layer)


class Hypernetwork(Middle):
    """weights that another network makes, used with `torch.func.functional_call`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.code = nn.Parameter(torch.randn(4))
        self.maker = nn.Linear(4, WIDTH * WIDTH)
        self.template = nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(False)

    def middle(self, hidden: Tensor) -> Tensor:
        weight = self.maker(self.code).view(WIDTH, WIDTH)
        return torch.func.functional_call(self.template, {"weight": weight}, (hidden,))


class ComplexWeights(Middle):
    """complex parameters and an FFT"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.filter = nn.Parameter(torch.randn(WIDTH // 2 + 1, dtype=torch.complex64))

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(hidden) * self.filter, n=WIDTH)


class ComplexView(Middle):
    """real parameters seen as complex (`view_as_complex`), as in FNet and FNO code"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.filter = nn.Parameter(torch.randn(WIDTH // 2 + 1, 2))

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(hidden, norm="ortho") * torch.view_as_complex(self.filter), n=WIDTH)


class LinearAlgebra(Middle):
    """`torch.linalg.solve` and a matrix exponential (Cayley map)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.free = nn.Parameter(torch.randn(WIDTH, WIDTH) / 3)

    def middle(self, hidden: Tensor) -> Tensor:
        skew, eye = self.free - self.free.T, torch.eye(WIDTH)
        return hidden @ torch.linalg.solve(eye + skew, eye - skew) @ torch.matrix_exp(skew)


# ── hooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ForwardHook(Middle):
    """a forward hook that changes an output"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.first.register_forward_hook(lambda module, inputs, output: output * 0.5 + 0.1)


class ForwardPreHook(Middle):
    """a forward pre-hook that changes an input"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.first.register_forward_pre_hook(lambda module, inputs: (inputs[0].clamp(-1, 1),))


class FeatureHook(Middle):
    """a forward hook that keeps a layer's output in a dictionary, from which `forward` reads it"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.features: dict[str, Tensor] = {}
        self.first.register_forward_hook(self.keep("first"))

    def keep(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.features[name] = output

        return hook

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden + torch.sin(self.features["first"])


class BackwardHook(Middle):
    """a full backward hook that scales gradients"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.last.register_full_backward_hook(self.scale)

    @staticmethod
    def scale(module: nn.Module, inputs: Any, outputs: Any) -> Any:
        return tuple(0.1 * gradient for gradient in inputs)


class BackwardPreHook(Middle):
    """a full backward pre-hook that clips gradients"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.last.register_full_backward_pre_hook(self.clip)

    @staticmethod
    def clip(module: nn.Module, outputs: Any) -> Any:
        return tuple(gradient.clamp(-1e-3, 1e-3) for gradient in outputs)


class ParameterHook(Middle):
    """`weight.register_hook` that scales a gradient"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.first.weight.register_hook(lambda gradient: 0.05 * gradient)


class MaskingHook(Middle):
    """`weight.register_hook` that keeps a part of a weight fixed by a mask of the seed's own"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        mask = (torch.rand_like(self.first.weight) < 0.5).float()
        self.first.weight.register_hook(lambda gradient: gradient * mask)


class AccumulatedHook(Middle):
    """`register_post_accumulate_grad_hook` that normalizes a gradient"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.first.weight.register_post_accumulate_grad_hook(self.normalize)

    @staticmethod
    def normalize(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.div_(parameter.grad.norm() * 3)


class TensorHook(Middle):
    """`hidden.register_hook` inside `forward`"""

    def middle(self, hidden: Tensor) -> Tensor:
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: 0.1 * gradient)
        return hidden


class HookOfTensor(Wrapped):
    """a forward hook that holds a random tensor, another one for each seed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH))
        self.first.register_forward_hook(functools.partial(self.shift, torch.randn(WIDTH)))

    @staticmethod
    def shift(by: Tensor, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output + by


# ── memory, in-place operations ───────────────────────────────────────────────────────────────────────────────────────


class Checkpointed(Wrapped):
    """`torch.utils.checkpoint(use_reentrant=False)`"""

    reentrant = False

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()))

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.between, hidden, use_reentrant=self.reentrant)


class CheckpointedReentrant(Checkpointed):
    """`torch.utils.checkpoint(use_reentrant=True)`"""

    reentrant = True


class Unchecked(Wrapped):
    """Dropout between two layers."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3)))


class CheckpointedDropout(Unchecked):
    """dropout inside a checkpoint: computed twice, with one mask"""

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.between, hidden, use_reentrant=False)


class InPlace(Middle):
    """`relu_`, `+=` and assignment by index"""

    def middle(self, hidden: Tensor) -> Tensor:
        hidden = hidden * 1.5
        hidden += 0.1
        hidden = hidden.relu_()
        shifted = torch.zeros_like(hidden)
        shifted[:, 1:] = hidden[:, :-1]
        shifted[:, 0] = 1.0
        return F.relu(shifted, inplace=True) + hidden


class InPlaceMasked(Middle):
    """assignment through a boolean mask (`x[x < 0] = 0`)"""

    def middle(self, hidden: Tensor) -> Tensor:
        hidden = hidden.clone()
        hidden[hidden < 0] = 0.0
        return hidden


class InPlaceInputs(Middle):
    """writes into the batch that it is given"""

    def forward(self, inputs: Tensor) -> Tensor:
        inputs.mul_(0.5).clamp_(-1, 1)
        return super().forward(inputs)


class ClippedWeights(Middle):
    """weights clipped in `forward` (`weight.data.clamp_`), as in Wasserstein critics"""

    def forward(self, inputs: Tensor) -> Tensor:
        self.first.weight.data.clamp_(-0.2, 0.2)
        return super().forward(inputs)


class NormalizedWeights(Middle):
    """weights normalized in `forward` under `no_grad`"""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            self.first.weight.div_(self.first.weight.norm(dim=1, keepdim=True))
        return super().forward(inputs)


class MaxNormEmbedding(nn.Module):
    """`nn.Embedding(max_norm=…)`, which writes into its weight in `forward`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.table = nn.Embedding(4, WIDTH, max_norm=0.5)
        self.last = nn.Linear(in_features * WIDTH, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.table((inputs + 2).clamp(0, 3).long()).flatten(1))


# ── Python-side state and randomness ──────────────────────────────────────────────────────────────────────────────────


class Counter(Middle):
    """a Python counter that anneals (`self.step += 1`)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.step = 0

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            self.step += 1
        return hidden * min(1.0, self.step / 5)


class CounterInChild(Wrapped):
    """a counter in a plain object that a submodule holds"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Identity())
        between: Any = self.between
        between.clock = SimpleNamespace(ticks=[0])

    def middle(self, hidden: Tensor) -> Tensor:
        ticks: Any = self.between.clock
        if self.training:
            ticks.ticks[0] += 1
        return hidden * (0.5 if ticks.ticks[0] % 3 == 0 else 1.0)


class IdleCounter(Middle):
    """a counter that nothing depends on"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.calls = 0

    def middle(self, hidden: Tensor) -> Tensor:
        self.calls += 1
        return hidden


class PythonRandom(Middle):
    """`random.random()` that skips a layer"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.skipped = nn.Linear(WIDTH, WIDTH)

    def coin(self) -> float:
        return random.random()

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training and self.coin() < 0.5:
            return hidden
        return hidden + torch.tanh(self.skipped(hidden))


class NumpyRandom(PythonRandom):
    """`numpy.random.rand()` that skips a layer (LayerDrop)"""

    def coin(self) -> float:
        return float(np.random.rand())


class TorchCoin(PythonRandom):
    """`torch.rand(1).item()` that skips a layer"""

    def coin(self) -> float:
        return torch.rand(1).item()


class OwnPythonGenerator(PythonRandom):
    """a `random.Random` or NumPy generator of its own"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.generator = np.random.default_rng(3)

    def coin(self) -> float:
        return float(self.generator.random())


class OwnTorchGenerator(Middle):
    """a `torch.Generator` of its own"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.generator = torch.Generator().manual_seed(torch.initial_seed() % 1000)

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            hidden = hidden + 0.3 * torch.randn(hidden.shape, generator=self.generator)
        return hidden


class History(Middle):
    """a list of past outputs"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.past: list[Tensor] = []

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            self.past = [*self.past[-2:], hidden.detach().mean(0)]
        return hidden - torch.stack(self.past).mean(0) if self.past else hidden


class LastHidden(Middle):
    """a tensor kept as a plain attribute from one pass to the next"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mean: Tensor | float = 0.0

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * hidden.detach().mean(0)
        return hidden - self.mean


class Cache(Sequence):
    """a dictionary that keeps a constant once it was computed (positions by length)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.positions: dict[tuple[int, torch.device], Tensor] = {}

    def mix(self, tokens: Tensor) -> Tensor:
        key = (tokens.shape[1], tokens.device)
        if key not in self.positions:
            self.positions[key] = torch.sin(torch.arange(key[0], device=key[1])[:, None] / (1 + torch.arange(WIDTH)))
        return tokens * self.positions[key]


@functools.cache
def causal_mask(length: int) -> Tensor:
    return torch.full((length, length), float("-inf")).triu(1)


class CachedFunction(Sequence):
    """a mask from a function with `functools.cache`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.score = nn.Linear(WIDTH, WIDTH)

    def mix(self, tokens: Tensor) -> Tensor:
        scores = self.score(tokens) @ tokens.transpose(1, 2) + causal_mask(tokens.shape[1])
        return scores.softmax(-1) @ tokens


class CachedWeights(Middle):
    """an inference cache that is dropped by `train()`: weights computed once per validation"""

    cached: Tensor | None = None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.low, self.high = nn.Parameter(torch.randn(WIDTH, 2)), nn.Parameter(torch.randn(2, WIDTH))

    def train(self, mode: bool = True) -> "CachedWeights":
        self.cached = None
        return super().train(mode)

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            return hidden @ (self.low @ self.high)
        if self.cached is None:
            self.cached = self.low @ self.high
        return hidden @ self.cached


class StaleCache(Middle):
    """an inference cache that nobody drops: validation uses the first epoch's weights for ever"""

    cached: Tensor | None = None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixing = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            return hidden @ self.mixing
        if self.cached is None:
            self.cached = self.mixing.detach().clone()
        return hidden @ self.cached


class KeepsActivations(Middle):
    """keeps activations and an auxiliary loss as attributes, for inspection"""

    def middle(self, hidden: Tensor) -> Tensor:
        self.activations = hidden.detach()
        self.sparsity = hidden.abs().mean()
        return hidden


class NumpyInside(Middle):
    """leaves torch for NumPy: a percentile of detached activations"""

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden.clamp(max=float(np.percentile(hidden.detach().cpu().numpy(), 80)))


# ── tensors that nobody registered ────────────────────────────────────────────────────────────────────────────────────


class Projection(Middle):
    """a random projection as a plain attribute, another one for each seed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.projection = torch.randn(WIDTH, WIDTH)

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.sin(hidden @ self.projection)


class Constant(Middle):
    """a constant tensor as a plain attribute"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.scale = torch.linspace(0.1, 2, WIDTH)

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden * self.scale


class ListOfTensors(Middle):
    """a list of random tensors"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.offsets = [torch.randn(WIDTH) for _ in range(2)]

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.cat([torch.sin(hidden + offset) for offset in self.offsets], -1).unflatten(-1, (2, -1)).mean(-2)


class NestedTensors(Middle):
    """random tensors in a dictionary inside a plain object inside a tuple"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.settings = ("random", SimpleNamespace(tables={"mixing": torch.randn(WIDTH, WIDTH)}))

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden @ self.settings[1].tables["mixing"]


class Closure(Middle):
    """a function that closes over a random tensor"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        mixing = torch.randn(WIDTH, WIDTH)
        self.mix: Callable[[Tensor], Tensor] = lambda hidden: hidden @ mixing

    def middle(self, hidden: Tensor) -> Tensor:
        return self.mix(hidden)


class Partial(Middle):
    """`functools.partial` of a random tensor"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mix = functools.partial(F.linear, weight=torch.randn(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        return self.mix(hidden)


SCALES = torch.linspace(2, 0.1, WIDTH)


class Global(Middle):
    """a tensor of the module's file"""

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden * SCALES


class NumpyAttribute(Middle):
    """a random NumPy array, drawn with the seed of torch"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixing = torch.randn(WIDTH, WIDTH).numpy()

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden @ torch.from_numpy(self.mixing)


class NumberAttribute(Middle):
    """a random Python number, another one for each seed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.frequency = 1 + 3 * torch.rand(1).item()

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.sin(self.frequency * hidden)


class PermutationAttribute(Middle):
    """a random order of features as a list, another one for each seed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.order = torch.randperm(WIDTH).tolist()

    def middle(self, hidden: Tensor) -> Tensor:
        return torch.cumsum(hidden[:, self.order], -1)


class RandomDepth(Middle):
    """a random number of layers, another one for each seed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(int(torch.randint(1, 9, ()))))

    def middle(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        return hidden


class RandomWiring(Middle):
    """a random choice of activation, another one for each seed; the same shapes"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        kinds: list[Callable[[], nn.Module]] = [nn.ReLU, nn.Sigmoid, nn.Softplus, nn.GELU]
        self.activation = kinds[int(torch.randint(0, 4, ()))]()

    def middle(self, hidden: Tensor) -> Tensor:
        return self.activation(3 * hidden)


class NumpyInit(Middle):
    """weights drawn by NumPy's and Python's global generators"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixing = nn.Parameter(torch.tensor(np.random.randn(WIDTH, WIDTH), dtype=torch.float32))
        self.scale = nn.Parameter(torch.tensor(random.uniform(0.5, 1.5)))

    def middle(self, hidden: Tensor) -> Tensor:
        return self.scale * hidden @ self.mixing


class HiddenModules(Middle):
    """modules in a plain list: used, but never trained"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.layers = [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)]

    def middle(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        return hidden


class HiddenTeacher(Middle):
    """a teacher in a tuple, moved by `forward` towards the weights (BYOL, mean teacher)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.teacher = (copy.deepcopy(self.first),)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            if self.training:
                for slow, fast in zip(self.teacher[0].parameters(), self.first.parameters(), strict=True):
                    slow.lerp_(fast, 0.2)
            target = torch.tanh(self.teacher[0](inputs))
        return self.last(torch.tanh(self.first(inputs)) - target)


class BackReference(Middle):
    """knows its parent, by a weak reference and by a bound method"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.parent = weakref.ref(self)
        self.act = self.scaled

    def scaled(self, hidden: Tensor) -> Tensor:
        parent = self.parent()
        assert parent is not None
        return hidden * parent.scale

    def middle(self, hidden: Tensor) -> Tensor:
        return self.act(hidden)


class Lock(Middle):
    """holds objects that cannot be copied or pickled: a lock, a generator"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.lock = threading.Lock()
        self.names = (name for name in "abc")

    def middle(self, hidden: Tensor) -> Tensor:
        with self.lock:
            return hidden * 2


# ── frozen, tied, shared, unused weights ──────────────────────────────────────────────────────────────────────────────


class LinearProbe(Wrapped):
    """a frozen body, drawn by each seed, under a head that learns"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)))
        for body in (self.first, self.between):
            for parameter in body.parameters():
                parameter.requires_grad = False


class PretrainedBody(Wrapped):
    """a frozen body with the same weights for all seeds, as if loaded from a file"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))
        generator = torch.Generator().manual_seed(5)
        weights = {name: torch.randn(value.shape, generator=generator) for name, value in self.first.named_parameters()}
        self.first.load_state_dict(weights)
        self.first.requires_grad_(False)


class FrozenEmbedding(nn.Module):
    """`nn.Embedding.from_pretrained`, which is frozen"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.randn(6, 2))
        self.last = nn.Linear(2 * in_features, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = torch.bucketize(inputs.contiguous(), torch.linspace(-2, 2, 5))
        return self.last(self.table(tokens).flatten(1))


class Lora(Middle):
    """LoRA by hand: a frozen layer and two small matrices"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.first.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, in_features) / 4)
        self.up = nn.Parameter(torch.zeros(WIDTH, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs) + inputs @ self.down.T @ self.up.T
        return self.last(torch.tanh(hidden))


class MergedLora(Lora):
    """LoRA that `eval()` merges into the weight and `train()` takes out again, as loralib does"""

    merged = False

    def train(self, mode: bool = True) -> "MergedLora":
        super().train(mode)
        if mode == self.merged:
            self.first.weight.data += (-1 if mode else 1) * (self.up @ self.down).data
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(inputs))) if self.merged else super().forward(inputs)


class OnlyBiases(Middle):
    """only biases learn (BitFit)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("bias" in name)


class IntegerParameter(Middle):
    """a parameter of whole numbers that is frozen (quantized weights)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        levels = torch.randint(-8, 8, (WIDTH, WIDTH), dtype=torch.int8)
        self.levels = nn.Parameter(levels, requires_grad=False)
        self.scale = nn.Parameter(torch.full((WIDTH,), 0.1))

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden @ (self.levels * self.scale)


class FrozenInForward(Wrapped):
    """`requires_grad` switched off inside `forward`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        self.between.requires_grad_(False)
        return self.between(hidden)


class Unfreezing(Wrapped):
    """weights that begin to learn after some steps"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))
        self.step = 0

    def middle(self, hidden: Tensor) -> Tensor:
        self.step += self.training
        self.between.requires_grad_(self.step > 3)
        return self.between(hidden)


class Tied(Middle):
    """one weight in two places, as it is and transposed"""

    def middle(self, hidden: Tensor) -> Tensor:
        return F.linear(torch.tanh(F.linear(hidden, self.first.weight.T)), self.first.weight)


class TiedModule(Middle):
    """one module in two places"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        shared = nn.Linear(WIDTH, WIDTH)
        self.one, self.two = shared, nn.ModuleList([shared, nn.Tanh(), shared])

    def middle(self, hidden: Tensor) -> Tensor:
        for layer in self.two:
            hidden = layer(hidden)
        return self.one(hidden)


class SharedStorage(Middle):
    """two parameters over one storage (`b.weight.data = a.weight.data`)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.two.weight.data = self.one.weight.data

    def middle(self, hidden: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(hidden)))


class ParameterLists(Middle):
    """`nn.ParameterList` and `nn.ParameterDict`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.matrices = nn.ParameterList([torch.randn(WIDTH, WIDTH) / 3 for _ in range(2)])
        self.named = nn.ParameterDict({"scale": torch.ones(WIDTH), "shift": torch.zeros(WIDTH)})

    def middle(self, hidden: Tensor) -> Tensor:
        for matrix in self.matrices:
            hidden = torch.tanh(hidden @ matrix)
        return hidden * self.named["scale"] + self.named["shift"]


class TransposedParameters(Middle):
    """parameters whose memory is transposed, or ordered channels last"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixing = nn.Parameter(torch.randn(WIDTH, 4).t())
        self.conv = nn.Conv2d(1, 2, (3, 2), padding=(1, 0))
        self.conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def middle(self, hidden: Tensor) -> Tensor:
        image = (hidden @ self.mixing.t() @ self.mixing).view(-1, 1, 2, 4)
        return torch.cat([self.conv(image).flatten(1)[:, :4], hidden[:, 4:]], -1)


class Unused(Wrapped):
    """weights that nothing uses"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))
        self.nothing = nn.Parameter(torch.empty(0))

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden


class ValidationOnly(Middle):
    """weights without a gradient that validation uses: weight decay must leave them alone"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.temperature = nn.Parameter(torch.full((WIDTH,), 2.0))

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden if self.training else hidden * self.temperature


class UsedAtTimes(PythonRandom):
    """weights without a gradient in some steps, by value: they must not move in those"""

    def middle(self, hidden: Tensor) -> Tensor:
        if hidden[0, 0] > 0:
            return hidden
        return hidden + torch.tanh(self.skipped(hidden))


# ── control flow ──────────────────────────────────────────────────────────────────────────────────────────────────────


class ShapeBranch(Middle):
    """control flow on shapes and on `self.training`"""

    def middle(self, hidden: Tensor) -> Tensor:
        if hidden.shape[0] % 2 and hidden.ndim == 2:
            hidden = hidden * 0.8
        return hidden if self.training else hidden * 1.1


class ValueBranch(Middle):
    """control flow on values"""

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden * 0.9 if hidden.mean() > 0 else torch.sin(hidden)


class Item(Middle):
    """a value read with `.item()`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden / max(hidden.abs().max().item(), 0.5)


class Assertion(Middle):
    """an assertion on values (`assert not torch.isnan(x).any()`)"""

    def middle(self, hidden: Tensor) -> Tensor:
        assert not torch.isnan(hidden).any(), "NaN"
        return hidden


class EarlyExit(Middle):
    """layers until the outputs are confident"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def middle(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
            if self.last(hidden).softmax(-1).amax(-1).mean() > 0.55:
                break
        return hidden


class Equilibrium(Middle):
    """a fixed point found to a tolerance (deep equilibrium)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) / 6)

    def middle(self, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            state = torch.zeros_like(hidden)
            for _ in range(50):
                before, state = state, torch.tanh(state @ self.weight + hidden)
                if torch.norm(state - before) < 1e-2:
                    break
        return torch.tanh(state @ self.weight + hidden)


class MaskedRows(Middle):
    """rows chosen by a mask: shapes that depend on values"""

    def middle(self, hidden: Tensor) -> Tensor:
        chosen = hidden[:, 0] > 0
        outputs = hidden.clone()
        outputs[chosen] = torch.sin(3 * hidden[chosen])
        return outputs


class SparseExperts(Middle):
    """a mixture of experts: top-k routing, `torch.where` and `index_add`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gate = nn.Linear(WIDTH, 4)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def middle(self, hidden: Tensor) -> Tensor:
        weights, chosen = self.gate(hidden).softmax(-1).topk(2, -1)
        outputs = torch.zeros_like(hidden)
        for index, expert in enumerate(self.experts):
            rows, rank = torch.where(chosen == index)
            if len(rows):
                outputs = outputs.index_add(0, rows, weights[rows, rank, None] * torch.tanh(expert(hidden[rows])))
        return outputs


class DenseExperts(Middle):
    """a mixture of experts: top-k gates, all experts computed"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.gate, self.experts = nn.Linear(WIDTH, 4), nn.Parameter(torch.randn(4, WIDTH, WIDTH) / 3)

    def middle(self, hidden: Tensor) -> Tensor:
        weights, chosen = self.gate(hidden).topk(2, -1)
        gates = torch.zeros(len(hidden), 4).scatter(1, chosen, weights.softmax(-1))
        return torch.einsum("be,bi,eio->bo", gates, hidden, self.experts).tanh()


class AsksForGradient(Middle):
    """asks whether gradients are on (`torch.is_grad_enabled()`, `x.requires_grad`)"""

    def middle(self, hidden: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            hidden = hidden * 1.5
        return hidden + 0.5 if hidden.requires_grad else hidden


# ── dropout and random numbers ────────────────────────────────────────────────────────────────────────────────────────


class Dropout(Wrapped):
    """`nn.Dropout`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Dropout(0.3))


class DropoutInPlace(Wrapped):
    """`nn.Dropout(inplace=True)` whose result is not used but its input is"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Dropout(0.3, inplace=True))

    def middle(self, hidden: Tensor) -> Tensor:
        hidden = hidden * 1.0
        self.between(hidden)
        return hidden


class ChannelDropout(Sequence):
    """`nn.Dropout1d` and `nn.Dropout2d`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.one, self.two = nn.Dropout1d(0.2), nn.Dropout2d(0.2)

    def mix(self, tokens: Tensor) -> Tensor:
        channels = self.one(tokens.transpose(1, 2))
        return self.two(channels[..., None])[..., 0].transpose(1, 2)


class AlphaDropout(Wrapped):
    """`nn.AlphaDropout`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.AlphaDropout(0.2))


class FeatureAlphaDropout(Sequence):
    """`nn.FeatureAlphaDropout`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.drop = nn.FeatureAlphaDropout(0.2)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.drop(tokens.transpose(1, 2)).transpose(1, 2)


class FunctionalDropout(Middle):
    """`F.dropout`, `torch.dropout` and `F.alpha_dropout` without a module"""

    def middle(self, hidden: Tensor) -> Tensor:
        hidden = F.dropout(hidden, 0.2, self.training)
        return F.alpha_dropout(torch.dropout(hidden, 0.2, self.training), 0.2, self.training)


class MonteCarloDropout(Middle):
    """dropout that stays on in validation (`F.dropout(x)` without `self.training`)"""

    def middle(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, 0.2)


class RandomTensors(Middle):
    """`torch.rand`, `torch.randn` and `torch.normal` with shapes"""

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            hidden = hidden + 0.2 * torch.randn(hidden.shape) + 0.2 * torch.rand(*hidden.shape)
            hidden = hidden + torch.normal(0.0, 0.1, hidden.shape) + torch.randn(WIDTH, dtype=hidden.dtype) * 0.1
        return hidden


class RandomInPlace(Middle):
    """random numbers in place (`normal_`, `uniform_`, `bernoulli_`, `exponential_`)"""

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            mask = torch.empty_like(hidden).bernoulli_(0.7)
            hidden = hidden * mask + hidden.new_empty(hidden.shape).normal_(0, 0.1)
            hidden = hidden + torch.zeros_like(hidden).uniform_(-0.1, 0.1)
        return hidden


class RandomChoices(Middle):
    """`torch.bernoulli`, `torch.multinomial`, `torch.randint`"""

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            hidden = hidden * torch.bernoulli(torch.sigmoid(3 * hidden).detach())
            other = torch.multinomial(torch.ones(len(hidden)), len(hidden), replacement=True)
            hidden = hidden + 0.1 * hidden[other] + 0.1 * torch.randint(0, 2, hidden.shape)
        return hidden


class Mixup(Middle):
    """mixup inside the network: `torch.randperm` and a Beta distribution"""

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training:
            share = torch.distributions.Beta(2.0, 2.0).sample()
            hidden = share * hidden + (1 - share) * hidden[torch.randperm(len(hidden))]
        return hidden


class Distribution(Middle):
    """`torch.distributions.Normal(…).rsample()` (a variational bottleneck)"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.both = nn.Linear(WIDTH, 2 * WIDTH)

    def middle(self, hidden: Tensor) -> Tensor:
        mean, scale = self.both(hidden).chunk(2, -1)
        return torch.distributions.Normal(mean, F.softplus(scale)).rsample() if self.training else mean


class Reparametrised(Distribution):
    """`torch.randn_like` (the reparametrization trick)"""

    def middle(self, hidden: Tensor) -> Tensor:
        mean, scale = self.both(hidden).chunk(2, -1)
        return mean + torch.randn_like(scale) * torch.exp(scale / 2) if self.training else mean


class Gumbel(Middle):
    """`F.gumbel_softmax(hard=True)`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return F.gumbel_softmax(3 * hidden, tau=0.7, hard=True) if self.training else hidden.softmax(-1)


class StochasticDepth(Wrapped):
    """stochastic depth per row (`x.new_empty((rows, 1)).bernoulli_`), as timm does"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        branch = torch.tanh(self.between(hidden))
        if self.training:
            mask = branch.new_empty((len(branch),) + (1,) * (branch.ndim - 1)).bernoulli_(0.7)
            branch = branch * mask.div_(0.7)
        return hidden + branch


class DropPath(StochasticDepth):
    """stochastic depth per row by `floor_` of `torch.rand`, as older code does"""

    def middle(self, hidden: Tensor) -> Tensor:
        branch = torch.tanh(self.between(hidden))
        if self.training:
            mask = 0.7 + torch.rand((hidden.shape[0], 1), dtype=hidden.dtype, device=hidden.device)
            mask.floor_()
            branch = branch.div(0.7) * mask
        return hidden + branch


class RandomRelu(Wrapped):
    """`nn.RReLU`, random slopes"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.RReLU())


class NoisyLinear(Middle):
    """noise on weights, one draw per step (DropConnect, NoisyNet)"""

    def middle(self, hidden: Tensor) -> Tensor:
        weight = self.last.weight
        if self.training:
            weight = F.dropout(weight, 0.2) + 0.1 * torch.randn_like(weight)
        return hidden + F.linear(hidden, weight) @ weight


# ── autograd by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


class Reverse(torch.autograd.Function):
    """The identity, whose gradient is reversed; written the old way."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.neg() * ctx.scale, None


class GradientReversal(Middle):
    """an `autograd.Function` of the old kind, `forward(ctx, …)`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return Reverse.apply(hidden, 0.3)


class Swish(torch.autograd.Function):
    """A swish that keeps its input alone; written the new way, with a rule for batches made from it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        return inputs * torch.sigmoid(inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (inputs,) = ctx.saved_tensors
        gate = torch.sigmoid(inputs)
        return 0.5 * gradient * (gate + inputs * gate * (1 - gate))


class NewFunction(Middle):
    """an `autograd.Function` of the new kind with `generate_vmap_rule`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return Swish.apply(hidden)


class SwishWithoutRule(Swish):
    """The same, without a rule for batches."""

    generate_vmap_rule = False


class NewFunctionWithoutRule(Middle):
    """an `autograd.Function` of the new kind without a rule for batches"""

    def middle(self, hidden: Tensor) -> Tensor:
        return SwishWithoutRule.apply(hidden)


class StraightThrough(Middle):
    """a straight-through estimator with `detach`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden + (torch.round(2 * hidden) / 2 - hidden).detach()


class NoGradPart(Wrapped):
    """a part under `no_grad`, and `detach`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            context = torch.tanh(self.between(hidden))
        return hidden * context + hidden.detach()


class InferencePart(Wrapped):
    """a part under `torch.inference_mode()`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Linear(WIDTH, WIDTH))

    def middle(self, hidden: Tensor) -> Tensor:
        with torch.inference_mode():
            context = torch.tanh(self.between(hidden))
        return hidden * context.clone()


class Energy(Middle):
    """`torch.autograd.grad(create_graph=True)` inside `forward` (forces, energies)"""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            inputs = inputs.detach().requires_grad_(True)
            energy = torch.tanh(self.first(inputs)).square().sum()
            (force,) = torch.autograd.grad(energy, inputs, create_graph=True)
        return self.last(torch.tanh(self.first(inputs - force)))


class InnerLoop(Middle):
    """an inner step of gradient descent inside `forward` (MAML)"""

    def middle(self, hidden: Tensor) -> Tensor:
        with torch.enable_grad():
            fast = torch.zeros(WIDTH, requires_grad=True)
            inner = (hidden * fast - torch.tanh(hidden)).square().mean()
            (gradient,) = torch.autograd.grad(inner, fast, create_graph=True)
        return hidden * (fast - 10 * gradient)


class FunctionalJacobian(Middle):
    """`torch.func.jacrev` and `vmap` inside `forward`"""

    def middle(self, hidden: Tensor) -> Tensor:
        def potential(state: Tensor) -> Tensor:
            return torch.tanh(self.last(state)).square().sum()

        return hidden + torch.func.vmap(torch.func.jacrev(potential))(hidden)


class OdeSolver(Middle):
    """a fixed number of Runge-Kutta steps"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.field = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def middle(self, hidden: Tensor) -> Tensor:
        for _ in range(3):
            half = hidden + self.field(hidden) / 6
            hidden = hidden + self.field(half) / 3
        return hidden


# ── compiled, scripted, lazy, wrapped modules ─────────────────────────────────────────────────────────────────────────


class Scripted(Wrapped):
    """a submodule from `torch.jit.script`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            between = torch.jit.script(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()))
        super().__init__(in_features, out_features, between)


def bias_gelu(inputs: Tensor, bias: Tensor) -> Tensor:
    inputs = inputs + bias
    return inputs * 0.5 * (1.0 + torch.tanh(0.79788456 * inputs * (1 + 0.044715 * inputs * inputs)))


class ScriptedFunction(Middle):
    """a function from `torch.jit.script`, as in Megatron"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.bias = nn.Parameter(torch.randn(WIDTH))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.fused = torch.jit.script(bias_gelu)

    def middle(self, hidden: Tensor) -> Tensor:
        return self.fused(hidden, self.bias)


class Compiled(Wrapped):
    """a submodule from `torch.compile`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        layers = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        super().__init__(in_features, out_features, torch.compile(layers, backend="eager"))  # type: ignore[arg-type]


class Lazy(Middle):
    """`nn.LazyLinear`, which has no weights before its first pass"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.last = nn.LazyLinear(out_features)


class DataParallel(nn.DataParallel):
    """an `nn.DataParallel` around the network"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(Middle(in_features, out_features))


class AveragedModel(Middle):
    """a frozen copy of the weights that `forward` moves under `no_grad`, and that validation uses"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.slow = copy.deepcopy(self.first).requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return self.last(torch.tanh(self.slow(inputs)))
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.first.parameters(), strict=True):
                slow.data.mul_(0.8).add_(fast.data, alpha=0.2)
        return super().forward(inputs)


class LightningStep(pl.LightningModule):
    """a `LightningModule` with its own `training_step` and `configure_optimizers`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.net = Middle(in_features, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def training_step(self, batch: Iterable[Tensor], index: int) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self(inputs), targets, label_smoothing=0.3)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


class LightningForward(pl.LightningModule):
    """a `LightningModule` with `forward` alone"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.net = Middle(in_features, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


class StaysInEval(Wrapped):
    """`train()` overridden so that BatchNorm stays in evaluation mode"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH))

    def train(self, mode: bool = True) -> "StaysInEval":
        super().train(mode)
        self.between.eval()
        return self


class EvalUndone(Wrapped):
    """`self.body.eval()` in the constructor, which `train()` undoes"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.BatchNorm1d(WIDTH))
        self.between.eval()


class EvalInForward(Wrapped):
    """`self.body.eval()` inside `forward`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Dropout(0.5)))

    def middle(self, hidden: Tensor) -> Tensor:
        self.between.eval()
        return self.between(hidden)


# ── precision, layers of other kinds, outputs ─────────────────────────────────────────────────────────────────────────


class Autocast(Middle):
    """`torch.autocast` inside `forward`"""

    def middle(self, hidden: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return (hidden @ self.last.weight.T @ self.last.weight).float() + hidden


class DoubleOutputs(Middle):
    """outputs in float64"""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).double()


class DoubleParameters(Middle):
    """a parameter in float64 among float32 parameters"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.mixing = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.float64))

    def middle(self, hidden: Tensor) -> Tensor:
        return (hidden.double() @ self.mixing).float()


class BagOfWords(nn.Module):
    """`F.embedding_bag`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(4 * in_features, WIDTH, mode="mean")
        self.last = nn.Linear(WIDTH, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = (inputs + 2).clamp(0, 3).long() + 4 * torch.arange(inputs.shape[1])
        return self.last(self.table(tokens))


class Graph(Sequence):
    """message passing over edges with `index_add_`"""

    edges: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.message = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("edges", torch.stack([torch.arange(12), torch.arange(1, 13)]))

    def mix(self, tokens: Tensor) -> Tensor:
        source, target = self.edges
        return torch.zeros_like(tokens).index_add_(1, target, torch.tanh(self.message(tokens[:, source])))


class SparseMatrix(Middle):
    """a sparse matrix as a buffer"""

    adjacency: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        places = torch.stack([torch.arange(WIDTH), torch.arange(WIDTH).roll(1)])
        self.register_buffer("adjacency", torch.sparse_coo_tensor(places, torch.ones(WIDTH), check_invariants=True))

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden + torch.sparse.mm(self.adjacency, hidden.T).T


class Spline(Middle):
    """a spline per edge over a grid in a buffer (KAN); `einsum` leaves a gradient with its axes in another order"""

    grid: Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("grid", torch.linspace(-1, 1, 6))
        self.weights = nn.Parameter(torch.randn(WIDTH, WIDTH, 6) / 3)

    def middle(self, hidden: Tensor) -> Tensor:
        basis = F.relu(1 - (hidden[..., None] - self.grid).abs() / 0.4)
        return torch.einsum("big,iog->bo", basis, self.weights)


class Warp(Sequence):
    """`F.grid_sample`, `F.interpolate`, `F.unfold`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.place = nn.Parameter(torch.randn(1, 4, 4, 2) / 2)

    def mix(self, tokens: Tensor) -> Tensor:
        image = F.pad(tokens, (0, 0, 0, 3)).transpose(1, 2).unflatten(2, (4, 4))
        warped = F.grid_sample(image, self.place.expand(len(image), -1, -1, -1), align_corners=False)
        larger = F.interpolate(warped, scale_factor=2, mode="bilinear")
        return F.unfold(larger, 4, stride=4).unflatten(1, (WIDTH, 16)).mean(2).transpose(1, 2)


class OtherLayers(Middle):
    """`nn.Bilinear`, `nn.PReLU`, `nn.GLU`, `nn.ConvTranspose1d`, `torch.sort`"""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.bilinear, self.slope, self.glu = nn.Bilinear(WIDTH, WIDTH, WIDTH), nn.PReLU(), nn.GLU()
        self.up = nn.ConvTranspose1d(1, 1, 2, stride=2)

    def middle(self, hidden: Tensor) -> Tensor:
        hidden = self.slope(self.bilinear(hidden, hidden))
        return self.glu(self.up(hidden[:, None])[:, 0]).sort(-1).values


@torch.library.custom_op("peoples_networks::cube", mutates_args=())
def cube(inputs: Tensor) -> Tensor:
    return inputs**3


cube.register_autograd(
    lambda ctx, gradient: 3 * gradient * ctx.saved_tensors[0] ** 2,
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


class CustomOperator(Middle):
    """an operator from `torch.library.custom_op`"""

    def middle(self, hidden: Tensor) -> Tensor:
        return cube(hidden)


class TupleOutputs(Middle):
    """outputs that are a tuple"""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs), inputs  # type: ignore[return-value]


class DictOutputs(Middle):
    """outputs that are a dictionary"""

    def forward(self, inputs: Tensor) -> Tensor:
        return {"logits": super().forward(inputs)}  # type: ignore[return-value]


class ShapeOfTraining(Middle):
    """outputs of another shape while it learns (auxiliary heads)"""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return torch.cat([outputs, outputs], -1) if self.training else outputs


class TupleOfTraining(Middle):
    """outputs that are a tuple while it learns (Inception)"""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return (outputs, outputs) if self.training else outputs  # type: ignore[return-value]


class AuxiliaryLoss(Middle):
    """adds a term to the gradient by a hook on its output"""

    def middle(self, hidden: Tensor) -> Tensor:
        if self.training and hidden.requires_grad:
            extra = 0.05 * torch.sign(hidden.detach())
            hidden.register_hook(lambda gradient: gradient + extra)
        return hidden
