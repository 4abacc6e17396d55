"""Networks of Transformers with the weights of a folder or of a hub, which all networks that are built of them share.

Shapes: `B` examples, `T` tokens, `K` outputs.
"""

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evalbench.errors import ConfigError

HEADS = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "causal_lm": "AutoModelForCausalLM",
    "image_classification": "AutoModelForImageClassification",
}
"""By the value of `model.head`, the class of Transformers that puts this head on a network."""
INSTALL = "install it with: pip install 'evalbench-dl[large]'"


@dataclass(frozen=True)
class Source:
    """Where pretrained weights are read from, and how."""

    path: str
    head: str
    outputs: int
    revision: str | None
    gguf_file: str | None
    attention: str
    trusted: bool
    """Whether Python code that comes with the weights may run."""


class Pretrained(nn.Module):
    """A network of Transformers with weights that were trained before, and a head for the data set's outputs.

    It maps tokens `(B, T)`, or images `(B, channels, height, width)`, to `(B, K)`; with a head for tokens to
    `(B, T, K)`. Parameters that the weights lack, as a rule those of the head, are drawn from the trial's seed. All
    others are the same for all trials.
    """

    def __init__(
        self,
        path: str,
        out_features: int,
        image: tuple[int, int, int] | None = None,
        vocabulary: int | None = None,
        per_token: bool = False,
        head: str | None = None,
        revision: str | None = None,
        gguf_file: str | None = None,
        attention: str = "sdpa",
        trust_remote_code: bool = False,
    ) -> None:
        """Build the network of one trial; raise `ConfigError` for weights that do not fit the data.

        Args:
            path: a folder, or the name of a model on a hub.
            out_features: the data set's outputs K.
            image: its channels, height and width if rows are images.
            vocabulary: its number of different tokens if rows are tokens.
            per_token: whether every token has a target.
            head: a key of `HEADS`; None: the one that fits the data.
            revision: a branch, tag or commit of the hub.
            gguf_file: the name of a GGUF file in `path`; None: files of safetensors.
            attention: the implementation of attention, as Transformers names it.
            trust_remote_code: whether Python code that comes with the weights may run.
        """
        super().__init__()
        head = head or _head_for(image, vocabulary, per_token)
        if head not in HEADS:
            raise ConfigError("model.head", f"must be one of {', '.join(HEADS)}", head, "leave it out")
        source = Source(path, head, out_features, revision, gguf_file, attention, trust_remote_code)
        original, missing = _loaded(source)
        _check_fits(original.config, vocabulary, image)
        shared = {id(value): value for value in (*original.parameters(), *original.buffers())}
        self.network: Any = copy.deepcopy(original, shared)
        for name, value in original.named_parameters():
            _put(self.network, name, nn.Parameter(value.data if name not in missing else torch.empty_like(value)))
        self.network.tie_weights()
        self.head = head
        self.fresh = _initialized(self.network, missing)
        self._padding = original.config.get_text_config().pad_token_id
        self._has_images = image is not None
        self._per_token = per_token

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs; tokens that are padding get no attention."""
        with _traceable_masks():
            if self._has_images:
                return self._logits(self.network(pixel_values=inputs))
            seen = torch.ones_like(inputs) if self._padding is None else (inputs != self._padding).long()
            return self._logits(self.network(input_ids=inputs, attention_mask=seen))

    def _logits(self, outputs: Any) -> Tensor:
        logits: Tensor = outputs.logits
        return logits


def _head_for(image: tuple[int, int, int] | None, vocabulary: int | None, per_token: bool) -> str:
    if image is not None:
        return "image_classification"
    if vocabulary is None:
        rule, remedy = "needs tokens or images, which this data set does not have", "choose model=mlp for numbers"
        raise ConfigError("model", f"a pretrained network {rule}", remedy=remedy)
    return "causal_lm" if per_token else "sequence_classification"


@functools.cache
def _loaded(source: Source) -> tuple[Any, frozenset[str]]:
    """Return the network of some weights, loaded once per process, and the names of parameters that they lack."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("model", "needs the package transformers", remedy=INSTALL) from error
    folder = Path(source.path)
    if folder.is_dir() and source.gguf_file is None and not list(folder.glob("*.safetensors")):
        rule, remedy = "must hold weights as safetensors", "convert them, or name a GGUF file by model.gguf_file"
        raise ConfigError("model.path", rule, source.path, remedy)
    kind = getattr(transformers, HEADS[source.head])
    classes = {} if source.head == "causal_lm" else {"num_labels": source.outputs}
    weights = {"use_safetensors": True} if source.gguf_file is None else {"gguf_file": source.gguf_file}
    try:
        with _quiet(transformers):
            network, report = kind.from_pretrained(
                source.path, revision=source.revision or "main", trust_remote_code=source.trusted,
                attn_implementation=source.attention, output_loading_info=True, ignore_mismatched_sizes=True,
                **classes, **weights,
            )  # fmt: skip
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError("model.path", "must hold a network of Transformers", source.path, reason) from error
    mismatched = {name for name, *_ in report.get("mismatched_keys", ())}
    return network.train(False), frozenset({*report["missing_keys"], *mismatched})


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the progress and the reports of Transformers while it loads."""
    logging = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _check_fits(config: Any, vocabulary: int | None, image: tuple[int, int, int] | None) -> None:
    known = getattr(config.get_text_config(), "vocab_size", None)
    if vocabulary is not None and known is not None and vocabulary > known:
        rule = f"must know all {vocabulary:,} tokens of the data set"
        raise ConfigError("model.path", rule, f"{known:,} tokens", "make the tokens with the model's own tokenizer")
    size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
    if image is not None and isinstance(size, int) and image != (channels or image[0], size, size):
        rule = f"must take images of {image[1]} × {image[2]} pixels in {image[0]} channels"
        remedy = f"say dataset.size={size}" + (" dataset.channels=rgb" if channels == 3 else "")
        raise ConfigError("model.path", rule, f"{size} × {size} in {channels}", remedy)


def _put(network: nn.Module, name: str, value: nn.Parameter) -> None:
    """Put a parameter in the place of the one of a name."""
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, value)


def _initialized(network: Any, missing: frozenset[str]) -> tuple[str, ...]:
    """Draw the parameters that the weights lack, as Transformers does; return their names."""
    fresh = [name for name, _ in network.named_parameters() if name in missing]
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in fresh):
        network._init_weights(network.get_submodule(owner))
    return tuple(fresh)


@contextmanager
def _traceable_masks() -> Iterator[None]:
    """Have Transformers build every attention mask, also one that the values of the tokens make superfluous.

    Its shortcut for batches without padding is a branch on values, which a step of many trials at once cannot take.
    """
    from transformers import masking_utils

    before = masking_utils.is_tracing
    masking_utils.is_tracing = lambda tensor=None: True
    try:
        yield
    finally:
        masking_utils.is_tracing = before
