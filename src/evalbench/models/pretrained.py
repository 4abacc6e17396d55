"""Networks of Transformers with the weights of a folder or of a hub, which all networks that are built of them share.

Shapes: `B` examples, `T` tokens, `D` pixels, `K` outputs.
"""

import contextlib
import copy
import functools
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evalbench.config.pretrained import folder_of, hashes
from evalbench.errors import ConfigError
from evalbench.models import quantized
from evalbench.models.answers import scored
from evalbench.models.shared_weights import SharedWeights

HEADS = {
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "causal_lm": "AutoModelForCausalLM",
    "image_classification": "AutoModelForImageClassification",
}
"""By the value of `model.head`, the class of Transformers that puts this head on a network."""


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
    bits: int | None = None
    """Of the weights of linear layers, see `models.quantized`; None: as many as numbers have."""


class Pretrained(SharedWeights):
    """A network of Transformers with weights that were trained before, and a head for the data set's outputs.

    It maps tokens `(B, T)`, or images as rows of pixels `(B, D)`, to `(B, K)`; with a head for tokens to `(B, T, K)`.
    Parameters that the weights lack, as a rule those of the head, are drawn from the trial's seed. All others are the
    same for all trials.
    """

    def __init__(
        self,
        path: str,
        in_features: int,
        out_features: int,
        image: tuple[int, int, int] | None = None,
        vocabulary: int | None = None,
        per_token: bool = False,
        padding: int | None = None,
        answers: bool = False,
        head: str | None = None,
        revision: str | None = None,
        gguf_file: str | None = None,
        attention: str = "sdpa",
        trust_remote_code: bool = False,
        gradient_checkpointing: bool = False,
        bits: int | None = None,
    ) -> None:
        """Build the network of one trial; raise `ConfigError` for weights that do not fit the data.

        Args:
            path: a folder, or the name of a model on a hub.
            in_features: the columns of the data set: tokens or pixels.
            out_features: its outputs K.
            image: its channels, height and width if rows are images.
            vocabulary: its number of different tokens if rows are tokens.
            per_token: whether every token has a target.
            padding: the token that fills short rows up, if tokens have targets.
            answers: whether rows end with answers of K tokens; then it gives `(B, K, 2)`, see `models.answers`.
            head: a key of `HEADS`; None: the one that fits the data.
            revision: a branch, tag or commit of the hub.
            gguf_file: the name of a GGUF file in `path`; None: files of safetensors.
            attention: the implementation of attention, as Transformers names it; `eager` where there is no `sdpa`.
            trust_remote_code: whether Python code that comes with the weights may run.
            gradient_checkpointing: whether the backward pass computes the activations of each block again.
            bits: 8 or 4 to keep the weights of linear layers in so many bits, which do not train then.
        """
        super().__init__()
        head = _head_for(head, image, vocabulary, per_token, padding, answers)
        given = (path, head, out_features, revision, gguf_file, attention, trust_remote_code, bits)
        original, missing = _loaded(Source(*given))
        _check_fits(original.config, vocabulary, image)
        self.head = head
        self.network: Any = _sharing(original, missing)
        if gradient_checkpointing:
            _recompute_activations(self.network)
        self.fresh = _initialized(self.network, missing)
        self._share((*original.parameters(), *quantized.codes_of(original)))
        self._image, self._padding = image, _padding_of(original.config, padding)
        self._answer = _answer_length(in_features, out_features, head, self._padding) if answers else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs; tokens that are padding get no attention."""
        with _traceable_masks(), self.unpacked(inputs) as given:
            if self._image is not None:
                outputs = self.network(pixel_values=given.reshape(-1, *self._image))
            elif self._answer is not None:
                return scored(self.network, given, self._padding, self._answer)
            else:
                seen = torch.ones_like(given) if self._padding is None else (given != self._padding).long()
                outputs = self.network(input_ids=given, attention_mask=seen)
        logits: Tensor = outputs.logits
        return logits


def _padding_of(config: Any, padding: int | None) -> int | None:
    """Return the token of padding that a network has, or that of the data if it has none."""
    known: int | None = getattr(config.get_text_config(), "pad_token_id", None)
    return padding if known is None else known


def _answer_length(columns: int, length: int, head: str, padding: int | None) -> int:
    """Return the tokens of an answer; raise `ConfigError` if the network cannot tell prompts from padding."""
    if head != "causal_lm":
        raise ConfigError("model.head", "must be causal_lm for answers in words", head, "leave it out")
    if padding is None and columns > length + 1:
        remedy = 'add "pad_token_id" to its config.json'
        raise ConfigError("model.path", "must have a token of padding for answers in words", None, remedy)
    return length


def _head_for(
    given: str | None,
    image: tuple[int, int, int] | None,
    vocabulary: int | None,
    per_token: bool,
    padding: int | None,
    answers: bool,
) -> str:
    """Return the head that is given, or the one that fits the data; raise `ConfigError`."""
    if given is not None and given not in HEADS:
        raise ConfigError("model.head", f"must be one of {', '.join(HEADS)}", given, "leave it out")
    if given is not None:
        return given
    if image is not None:
        return "image_classification"
    if vocabulary is None:
        rule, remedy = "needs tokens or images, which this data set does not have", "choose model=mlp for numbers"
        raise ConfigError("model", f"a pretrained network {rule}", remedy=remedy)
    if answers or (per_token and padding is None):
        return "causal_lm"
    return "token_classification" if per_token else "sequence_classification"


@functools.lru_cache(maxsize=2)
def _loaded(source: Source) -> tuple[Any, frozenset[str]]:
    """Return the network of some weights, loaded once per process, and the names of parameters that they lack."""
    with ThreadPoolExecutor(1) as thread:  # without the modes of this one, which answer and record a trial's draws
        network, missing = thread.submit(read, source).result()
        if source.bits is not None and not thread.submit(quantized.quantize, network, source.bits, missing).result():
            rule, remedy = "must be null for a network without linear layers of torch", "leave it out"
            raise ConfigError("model.bits", rule, source.bits, remedy)
        return network, missing


def read(source: Source) -> tuple[Any, frozenset[str]]:
    """Return a network with the weights of its files, and the names of parameters that they lack; raise `ConfigError`.

    Those parameters are Transformers' own draws.
    """
    import transformers

    hashes(source.path, source.revision, source.gguf_file)  # refuses a folder without weights
    folder = folder_of(source.path, source.revision, source.gguf_file)
    kind = getattr(transformers, HEADS[source.head])
    classes = {} if source.head == "causal_lm" else {"num_labels": source.outputs}
    attention = None if source.attention == "sdpa" else source.attention  # None: eager where there is no sdpa
    weights = {"use_safetensors": True} if source.gguf_file is None else {"gguf_file": source.gguf_file}
    try:
        with quiet(transformers), torch.random.fork_rng(devices=[]):
            network, report = kind.from_pretrained(
                folder, trust_remote_code=source.trusted, attn_implementation=attention, dtype=torch.float32,
                output_loading_info=True, ignore_mismatched_sizes=True, **classes, **weights,
            )  # fmt: skip
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError("model.path", "must hold a network of Transformers", source.path, reason) from error
    mismatched = {name for name, *_ in report.get("mismatched_keys", ())}
    return network.train(False), frozenset({*report["missing_keys"], *mismatched})


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Silence the progress and the reports of Transformers while it loads."""
    logging = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the progress of GGUF files
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


def _sharing(original: Any, missing: frozenset[str]) -> Any:
    """Return a network that shares the memory of the original's parameters, but for those that the weights lack."""
    common = (*original.parameters(), *quantized.codes_of(original))
    network = copy.deepcopy(original, {id(value): value for value in common})
    for name, value in original.named_parameters():
        _put(network, name, nn.Parameter(torch.empty_like(value) if name in missing else value.data))
    network.tie_weights()
    return network


def _put(network: nn.Module, name: str, value: nn.Parameter) -> None:
    """Put a parameter in the place of the one of a name."""
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, value)


def _initialized(network: Any, missing: frozenset[str]) -> tuple[str, ...]:
    """Draw the parameters that the weights lack, as Transformers does; return their names."""
    fresh = [name for name, _ in network.named_parameters() if name in missing]
    for name, value in network.named_parameters():
        value._is_hf_initialized = name not in missing  # Transformers leaves these as they are
    for owner in dict.fromkeys(name.rpartition(".")[0] for name in fresh):
        network._init_weights(network.get_submodule(owner))
    return tuple(fresh)


def _recompute_activations(network: Any) -> None:
    """Have the backward pass compute the activations of each block again; raise `ConfigError` if it cannot."""
    try:
        network.activation_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        rule, kind = "must be false for a network that cannot do it", type(network).__name__
        raise ConfigError("model.gradient_checkpointing", rule, kind, "lower trainer.microbatch_size") from error
    network.disable_input_require_grads()  # which only `use_reentrant` needs
    network.config.use_cache = False  # keys and values are of no use in training


@contextmanager
def _traceable_masks() -> Iterator[None]:
    """Have Transformers build every attention mask, also one that the values of the tokens make superfluous.

    Its shortcut for batches without padding is a branch on values, which a step of many trials at once cannot take.
    """
    from transformers import masking_utils as masks

    before = masks.is_tracing  # type: ignore[attr-defined]
    masks.is_tracing = lambda tensor=None: True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        masks.is_tracing = before  # type: ignore[attr-defined]
