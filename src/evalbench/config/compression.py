"""How a network becomes smaller: `compression=…`. A distillation is known by the content of its teachers' files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalbench.config.component import Component
from evalbench.config.pretrained import file_hash
from evalbench.config.reader import Reader
from evalbench.errors import ConfigError

DISTILLATION = "evalbench.parts.distillation.Distillation"
PRUNING = ("evalbench.parts.pruning.MagnitudePruning", "evalbench.parts.pruning.MovementPruning")
QUANTIZATION = tuple(f"evalbench.parts.quantization.{name}" for name in ("DynamicInt8", "StaticInt8"))
TARGETS = (DISTILLATION, *PRUNING, *QUANTIZATION)
"""The classes that `compression` may name."""
OWN = {"teacher": (DISTILLATION,), "sparsity": PRUNING}
"""Settings of some classes that all options have, so that one value can be given for a comparison of options."""
MODEL = "model.json"
"""The file that describes a saved model."""


@dataclass(frozen=True)
class DistillationConfig:
    """What a network learns from its teachers, and where they are."""

    component: Component

    @property
    def folder(self) -> Path:
        """The folder of a teacher, or of those of a cell, which may be the only one in a folder of weights."""
        folder = Path(str(self.component.arguments["teacher"]))
        cells = {file.parent.parent for file in folder.glob(f"*/s*/{MODEL}")}
        return cells.pop() if len(cells) == 1 else folder

    @property
    def teachers(self) -> Mapping[int | None, Path]:
        """The folder of each seed's teacher, or of the only one by None; raise `ConfigError` if there are none."""
        if (self.folder / MODEL).is_file():
            return {None: self.folder}
        folders = [file.parent for file in self.folder.glob(f"s*/{MODEL}")]
        teachers = {int(path.name[1:]): path for path in folders if path.name[1:].isdecimal()}
        if not teachers:
            rule = "must be the folder of a saved model, or of one cell with saved models"
            remedy = "train teachers with save=all weights=teachers, say, and give that folder"
            raise ConfigError("compression.teacher", rule, str(self.folder), remedy)
        return dict(sorted(teachers.items()))

    def spec(self) -> dict[str, Any]:
        """Return the distillation as plain values."""
        return self.component.spec()

    def identity(self) -> dict[str, Any]:
        """Return its entries in the settings that identify a trial: the teachers' files in the place of their path."""
        settings = {key: value for key, value in self.spec().items() if key not in ("teacher", "trust")}
        if not settings.get("no_test_rows"):
            settings.pop("no_test_rows", None)
        hashes = {"" if seed is None else f"s{seed}": hash_of(path) for seed, path in self.teachers.items()}
        return {"compression": {**settings, "teachers": hashes}}

    def code(self) -> dict[str, dict[str, str]]:
        """Return no code: what a teacher runs is known by its files."""
        return {}


def hash_of(folder: Path) -> str:
    """Return the hash of the files of a saved model."""
    names = sorted((file.name, file_hash(file)) for file in folder.iterdir() if file.is_file())
    return hashlib.sha256(repr(names).encode()).hexdigest()[:20]


def read_compression(section: Reader) -> Component | DistillationConfig | None:
    """Take the compression out of its section; None if there is none; raise `ConfigError` for an unknown one."""
    for name, targets in OWN.items():
        if section.rest.get("_target_") not in targets:
            section.rest.pop(name, None)
    chosen = section.optional_component()
    if chosen is not None and chosen.target not in TARGETS:
        rule, remedy = "must be one of evalbench's own", "choose an option of compression"
        raise ConfigError("compression._target_", rule, chosen.target, remedy)
    return DistillationConfig(chosen) if chosen is not None and chosen.target == DISTILLATION else chosen
