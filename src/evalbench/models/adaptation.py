"""How a network with pretrained weights is adapted: which of its tensors train, and which small ones are added.

A function of this file takes such a network and returns it with `requires_grad` set. All train the parameters that the
weights lack, which are those of a new head. Techniques that add tensors are those of the library PEFT.
"""

import warnings
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from evalbench.config import Component
from evalbench.errors import ConfigError
from evalbench.models.pretrained import Pretrained
from evalbench.models.quantized import QuantizedLinear
from evalbench.models.shared_weights import SharedWeights

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _BatchNorm)
TASK_TYPES = {
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
    "causal_lm": "CAUSAL_LM",
    "image_classification": None,
}
"""By the head of a network, what PEFT calls its task; None: it needs to know nothing of it."""


def adapt(network: nn.Module, adaptation: Component) -> None:
    """Adapt a network: set `requires_grad` of its parameters, and add those of the adaptation.

    Raises `ConfigError` for a network without pretrained weights, or an adaptation that does not fit it.
    """
    if not isinstance(network, SharedWeights):
        rule, remedy = "needs a network with pretrained weights", "choose model=pretrained, or adaptation=default"
        raise ConfigError("adaptation", rule, adaptation.target, remedy)
    if adaptation.target.startswith("peft."):
        _add_tensors(network, adaptation)
    else:
        adaptation.build(network)
    if not any(value.requires_grad for value in network.parameters()):
        rule = "must leave a parameter that trains"
        raise ConfigError("adaptation", rule, adaptation.target, "choose another one, or a model with a new head")


def full(network: SharedWeights) -> None:
    """Train all parameters; raise `ConfigError` if some are kept as codes."""
    _check_weights(network)
    network.requires_grad_(True)


def probe(network: SharedWeights) -> None:
    """Train the new head alone, on the rest without dropout: a linear probe (Alain and Bengio 2016)."""
    _train_only(network, lambda owner, leaf: False)
    network.evaluates_frozen = True


def bitfit(network: SharedWeights) -> None:
    """Train the biases (Ben Zaken et al. 2022); raise `ConfigError` for a network without any."""
    _train_only(network, lambda owner, leaf: leaf == "bias", "biases")


def layernorm(network: SharedWeights) -> None:
    """Train the scales and offsets of normalizations (Zhao et al. 2023); raise `ConfigError` if there are none."""

    def trains(owner: nn.Module, leaf: str) -> bool:
        return isinstance(owner, NORMS) or "norm" in type(owner).__name__.lower()

    _train_only(network, trains, "normalizations")


def last_k(network: SharedWeights, layers: int = 1) -> None:
    """Train the last blocks; raise `ConfigError` for a network that has fewer, or keeps their weights as codes."""
    blocks = _blocks(network)
    if isinstance(layers, bool) or not isinstance(layers, int) or not 0 < layers <= len(blocks):
        rule, remedy = f"must be a whole number from 1 to {len(blocks)}", "for example adaptation.layers=1"
        raise ConfigError("adaptation.layers", rule, layers, remedy)
    for block in blocks[-layers:]:
        _check_weights(block)
    trained = {id(value) for block in blocks[-layers:] for value in block.parameters()}
    _train_only(network, lambda owner, leaf: id(getattr(owner, leaf)) in trained)


def _check_weights(part: nn.Module) -> None:
    if bits := next((layer.bits for layer in part.modules() if isinstance(layer, QuantizedLinear)), None):
        rule, remedy = "must be null where weights train", "say adaptation=lora, or leave it out"
        raise ConfigError("model.bits", rule, bits, remedy)


def _train_only(network: SharedWeights, trains: Callable[[nn.Module, str], bool], sought: str = "") -> None:
    """Train the new head, and the parameters of which `trains` is true for their module and their name in it.

    Raises `ConfigError` for a network that has none of those, by the words for what is `sought`.
    """
    fresh = {id(value) for name, value in network.network.named_parameters() if name in network.fresh}
    count = 0
    for owner in network.modules():
        for leaf, value in owner.named_parameters(recurse=False):
            value.requires_grad_(id(value) in fresh or trains(owner, leaf))
            count += value.requires_grad and id(value) not in fresh
    if sought and not count:
        rule = f"must find {sought} in the network {type(network.network).__name__}"
        raise ConfigError("adaptation", rule, remedy="choose another one, such as probe")


def _blocks(network: nn.Module) -> nn.ModuleList:
    """Return the longest list of modules of one class: the blocks of the network."""
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len({*map(type, part)}) == 1]
    return max(lists, key=len, default=nn.ModuleList())


def _add_tensors(network: SharedWeights, adaptation: Component) -> None:
    """Add the tensors of a configuration of PEFT; the new head trains too."""
    import peft

    kind = adaptation.locate()
    if not (isinstance(kind, type) and issubclass(kind, peft.PeftConfig)):
        rule, remedy = "must be a configuration of PEFT", "for example adaptation._target_=peft.LoraConfig"
        raise ConfigError("adaptation._target_", rule, adaptation.target, remedy)
    config: Any = adaptation.build()
    is_prompt = isinstance(config, peft.PromptLearningConfig)
    if is_prompt and not isinstance(network, Pretrained):
        rule, remedy = "must not put vectors before the inputs of a network of your own", "choose another one"
        raise ConfigError("adaptation", rule, adaptation.target, remedy)
    if is_prompt and network.head == "image_classification":
        rule, remedy = "must not put vectors before the tokens of a text, as the network takes images", "choose lora"
        raise ConfigError("adaptation", rule, adaptation.target, remedy)
    if is_prompt and hasattr(network.network, "score"):
        rule = "must not put vectors before the tokens of a decoder that is to classify texts"
        reason = "given vectors, it takes the last token for the end of a text, also where that is padding"
        raise ConfigError("adaptation", rule, adaptation.target, reason)
    config.task_type = config.task_type or TASK_TYPES.get(network.head)
    heads = dict.fromkeys(name.rpartition(".")[0] for name in network.fresh)
    if heads and hasattr(config, "modules_to_save"):
        config.modules_to_save = list(heads)
    if hasattr(config, "exclude_modules") and not isinstance(network, Pretrained):  # whose heads PEFT knows
        config.exclude_modules = config.exclude_modules or list(heads)
    original = network.network
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of Transformers, for names that PEFT asks for
            warnings.filterwarnings("ignore", "fan_in_fan_out")  # of PEFT, which corrects it by itself
            network.network = peft.get_peft_model(original, config)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        rule = f"must fit the network {type(original).__name__}"
        reason = str(error).strip().splitlines()[0]
        if reason.startswith(("Please specify `target_modules`", "Please specify `feedforward_modules`")):
            plus = "" if "target_modules" in adaptation.arguments else "+"
            scaled = " +adaptation.feedforward_modules=[]" if hasattr(config, "feedforward_modules") else ""
            reason = f"PEFT does not know its layers: say {plus}adaptation.target_modules=all-linear{scaled}"
        raise ConfigError("adaptation", rule, adaptation.target, reason) from error
    if isinstance(network, Pretrained):
        original.disable_input_require_grads()  # PEFT's, for a way to recompute activations that is not used here
