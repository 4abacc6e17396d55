"""A network with pretrained weights: `model=pretrained`, which is known by the content of its files."""

import functools
import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evalbench import own_code
from evalbench.config.component import Component
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # PEFT imports it, and it warns of kernels that are not used
TARGET = "evalbench.models.pretrained.Pretrained"
OWN = "evalbench.models.own_pretrained.OwnPretrained"
INSTALL = "pip install 'evalbench-dl[large]'"
SOURCE = ("path", "revision", "gguf_file")
"""Settings that say where the files are: a trial depends on what is in them."""
FLAGS = ("trust_remote_code", "gradient_checkpointing")
LATER = ("gradient_checkpointing", "bits")
"""Settings that older trials do not have: a part of the identity where they are set."""
READ = ("*.safetensors", "*.json", "*.txt", "*.model")
"""The files of a folder that Transformers may read: weights, configurations, tokenizers."""
CODE = ("*.py",)


@dataclass(frozen=True)
class PretrainedConfig:
    """The class that loads the weights, and where they are."""

    component: Component

    @property
    def files(self) -> dict[str, str]:
        """The hash of each file by its name; raise `ConfigError` if there are none."""
        path, revision, gguf_file = (self.component.arguments.get(key) for key in SOURCE)
        return hashes(str(path), revision, gguf_file, bool(self.component.arguments.get("trust_remote_code")))

    def spec(self) -> dict[str, Any]:
        """Return the network as plain values."""
        return self.component.spec()

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial: the files in the place of their path."""
        settings = {key: value for key, value in self.component.spec().items() if key not in SOURCE}
        for key in LATER:
            if not settings.get(key):
                settings.pop(key, None)
        return {"model": {**settings, "files": self.files}}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the versions of Transformers, whose code runs, and of the library that makes codes of weights."""
        code = own_code.behind({"library": "transformers.modeling_utils"})
        return {**code, "bitsandbytes": {"bitsandbytes": version("bitsandbytes")}} if self._bits else code

    @property
    def _bits(self) -> int | None:
        bits: int | None = self.component.arguments.get("bits")
        return bits


class OwnPretrainedConfig(PretrainedConfig):
    """A network of the user's own, or of a library, and the file with its weights."""

    @property
    def files(self) -> dict[str, str]:
        """The hash of the file; raise `ConfigError` if there is none."""
        return {"weights": hash_of_weights(str(self.component.arguments["weights"]))}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial: the file's content in the place of its path."""
        return {"model": {**self._without_path.spec(), "files": self.files}}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the code of the network."""
        return self._without_path.code()

    @property
    def network(self) -> Component:
        """The network by itself."""
        return Component("model.network", **_split(self.component.arguments.get("network")))

    @property
    def _without_path(self) -> Component:
        arguments = {key: value for key, value in self.component.arguments.items() if key != "weights"}
        return replace(self.component, arguments=arguments)


def _split(network: Any) -> dict[str, Any]:
    settings = dict(network) if isinstance(network, Mapping) else {}
    if not isinstance(settings.get("_target_"), str):
        rule, remedy = "must name a class in _target_", "for example model.network._target_=mine.Net"
        raise ConfigError("model.network", rule, network, remedy)
    return {"target": settings.pop("_target_"), "arguments": settings}


def pretrained_config(component: Component) -> PretrainedConfig:
    """Return what is known of a pretrained network; raise `ConfigError`."""
    return (OwnPretrainedConfig if component.target == OWN else PretrainedConfig)(component)


def hash_of_weights(path: str) -> str:
    """Return the hash of a file; raise `ConfigError` if it is none of safetensors."""
    file = Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        rule, remedy = "must be a file of safetensors", "write it with safetensors.torch.save_file"
        raise ConfigError("model.weights", rule, path, remedy)
    return file_hash(file)


def read_pretrained(section: Reader) -> PretrainedConfig:
    """Take the network out of its section; raise `ConfigError`."""
    component = section.component()
    if component.target == OWN:
        own = OwnPretrainedConfig(component)
        for key in component.arguments.keys() - {"network", "weights"}:
            rule = "must be left out: model=own_pretrained has network and weights"
            raise ConfigError(f"model.{key}", rule, remedy=f"a setting of the network is model.network.{key}")
        own.network.locate()
        hash_of_weights(str(component.arguments.get("weights")))
        return own
    check_installed("model", "transformers")
    for key in FLAGS:
        if not isinstance(value := component.arguments.get(key, False), bool):
            raise ConfigError(f"model.{key}", "must be true or false", value, f"for example model.{key}=true")
    if (bits := component.arguments.get("bits")) is not None:
        if bits not in (8, 4):
            raise ConfigError("model.bits", "must be 8, 4 or null", bits, "for example model.bits=4")
        check_installed("model.bits", "bitsandbytes", "pip install 'evalbench-dl[bits]'")
    return PretrainedConfig(component)


def read_adaptation(section: Reader) -> Component | None:
    """Take the adaptation out of its section; None if there is none; raise `ConfigError`."""
    adaptation = section.optional_component()
    if adaptation is not None and adaptation.target.startswith("peft."):
        check_installed("adaptation", "peft")
    return adaptation


def check_installed(key: str, package: str, install: str = INSTALL) -> None:
    """Raise `ConfigError` if a package of an extra is missing."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(key, f"needs the package {package}", remedy=f"install it with: {install}")


@functools.cache
def folder_of(path: str, revision: str | None = None, gguf_file: str | None = None, key: str = "model.path") -> Path:
    """Return the folder with the files of a model: the path itself, or the copy of a model of a hub.

    Raises `ConfigError` for a path that is not a folder and not the name of a model that can be loaded.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    patterns = [*READ, *CODE, *([gguf_file] if gguf_file else [])]
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        rule = "must be a folder, or the name of a model on the hub that can be reached"
        raise ConfigError(key, rule, path, f"for example {key}=models/minilm") from error


def hashes(
    path: str, revision: str | None = None, gguf_file: str | None = None, trusted: bool = False
) -> dict[str, str]:
    """Return the hash of each file that a network is loaded from by its name.

    With `gguf_file` that is this file alone. Raises `ConfigError` if there are no weights.
    """
    folder = folder_of(path, revision, gguf_file)
    patterns = (gguf_file,) if gguf_file else (*READ, *(CODE if trusted else ()))
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    if not any(file.suffix in (".safetensors", ".gguf") for file in files):
        if gguf_file:
            raise ConfigError("model.gguf_file", f"must be a GGUF file in {path}", gguf_file, "correct its name")
        rule = "must hold weights as safetensors"
        raise ConfigError("model.path", rule, path, "convert them, or name a GGUF file by model.gguf_file")
    return {file.name: file_hash(file) for file in files}


def file_hash(file: Path) -> str:
    """Return the hash of a file, which is read again if it has changed."""
    return _hash(file, file.stat().st_size, file.stat().st_mtime_ns)


@functools.cache
def _hash(file: Path, size: int, changed: int) -> str:
    """Return the hash of a file; its size and the time of its last change tell whether it is still the same."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:20]
