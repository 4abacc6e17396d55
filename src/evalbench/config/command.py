"""A command line in the place of a network: `engine: command` in a model's YAML file."""

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

OURS = ("seed", "workload", "data", "folder")
"""Placeholders that evalbench fills in, beside the settings of the command."""
STDOUT, WANDB = "stdout", "wandb"
"""What `result` may be beside the name of a CSV file in the trial's folder."""


@dataclass(frozen=True)
class CommandConfig:
    """The words of a command with placeholders, such as `{seed}`, and the settings that fill them in."""

    words: tuple[str, ...]
    settings: Mapping[str, Any]
    result: str
    limit: float | None
    """Seconds after which a trial ends; None: no limit."""
    folder: Path
    """The folder of the trials' folders."""

    def spec(self) -> dict[str, Any]:
        """Return the command as plain values."""
        return {"engine": "command", "command": list(self.words), "result": self.result, **self.settings}

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial."""
        return {"model": self.spec()}

    def code(self) -> dict[str, dict[str, str]]:
        """Return the hashes of the files that the command names, such as a script, but not of what they import."""
        files = {word: Path(word) for word in self.filled({}) if "{" not in word and Path(word).is_file()}
        hashes = {word: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for word, path in files.items()}
        return {"command": hashes} if hashes else {}

    def filled(self, values: Mapping[str, Any]) -> list[str]:
        """Return the words with the placeholders replaced whose values are known: a value never becomes two words."""
        known = {**self.settings, **values}

        def fill(match: re.Match[str]) -> str:
            return str(known[match[1]]) if match[1] in known else match[0]

        return [re.sub(r"\{(\w+)\}", fill, word) for word in self.words]

    def has(self, placeholder: str) -> bool:
        """Return whether the command has a placeholder."""
        return any(f"{{{placeholder}}}" in word for word in self.words)


def read_command(section: Reader) -> CommandConfig:
    """Take the command out of its section; raise `ConfigError`."""
    words = section.rest.pop("command", None)
    if isinstance(words, str):
        try:
            words = shlex.split(words)
        except ValueError as error:
            remedy = "close the quote, or give a list of words"
            raise ConfigError(f"{section.name}.command", f"must be words ({error})", words, remedy) from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str | int | float) for word in words):
        rule, remedy = "must be a command line or a list of words", "for example 'python train.py --seed {seed}'"
        raise ConfigError(f"{section.name}.command", rule, words, remedy)
    result, folder = section.text("result"), Path(section.text("folder"))
    limit = section.positive("limit", example=3600) if section.given("limit") else None
    settings = {key: value for key, value in section.rest.items() if value is not None}
    command = CommandConfig(tuple(map(str, words)), settings, result, limit, folder)
    for word in command.words:
        for name in re.findall(r"\{(\w+)\}", word):
            if name not in (*OURS, *settings):
                known = ", ".join(f"{{{each}}}" for each in (*OURS, *settings))
                remedy = f"add +{section.name}.{name}=VALUE; there are {known}"
                raise ConfigError(f"{section.name}.command", f"must know {{{name}}}", word, remedy)
    return command
