"""Command lines: a program that trains a trial by itself, and reports its scores or its predictions.

On data that evalbench has, the command gets the rows of the trial as CSV files in `{data}`, without the targets of the
test rows, and writes its predictions there: evalbench measures them like those of any technique. On a named workload,
it reports its scores itself.
"""

import csv
import hashlib
import json
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalbench.config import CommandConfig, Config
from evalbench.engines import process_group
from evalbench.engines.contract import NOWHERE, Engine, Outlets, TimedTrial, Trained
from evalbench.engines.predicted import Predicted, check_predictable, refuse_weights, result_of, split_of
from evalbench.engines.timed_fit import TimedFit
from evalbench.errors import ConfigError, InputError
from evalbench.imports import wandb_offline
from evalbench.seeds import STUDY_SEEDS, Phase
from evalbench.tasks.metric import FROM_PROBABILITIES
from evalbench.trial import Entrant, State, TrialResult
from evalbench.workloads import Dataset, NamedWorkload, Split, fit_scaling

log = logging.getLogger(__name__)

LARGEST_SEED = 2**31
TAIL_BYTES = 1 << 20
"""The end of the output that is searched for the result."""


class CommandError(Exception):
    """A command ended without a result."""


class CommandEngine:
    """Run one command per trial."""

    def check(self, config: Config, dataset: Dataset) -> None:
        """Look for the program, and for what it must be given."""
        command = config.command
        program = command.filled({})[0]
        if "{" not in program and shutil.which(program) is None:
            raise ConfigError("model.command", "must begin with a program that can be run", program, "give its path")
        if config.save != "none":
            raise ConfigError(
                "save", "must be none for commands, which keep their own files", config.save, "leave it out"
            )
        if not isinstance(dataset, NamedWorkload):
            _check_rows(command, dataset)
        elif not command.has("seed"):
            rule, remedy = "must have {seed}, which tells trials apart", "add it, for example --seed {seed}"
            raise ConfigError("model.command", rule, " ".join(command.words), remedy)

    def train_all(
        self, config: Config, dataset: Dataset, entrants: Sequence[Entrant], name: str, outlets: Outlets = NOWHERE
    ) -> Iterator[Trained]:
        """Run the commands of the trials one after another."""
        for entrant in entrants:
            folder = config.command.folder / name / _trial_name(entrant)
            try:
                yield [entrant], [_run(config, dataset, entrant, folder)]
            except CommandError as error:
                log.error("seed %d failed: %s (%s)", entrant.seed, error, folder / "log.txt")
                yield [entrant], [TrialResult(State.FAILED, message=str(error), log=str(folder / "log.txt"))]

    def timed(self, config: Config, dataset: Dataset) -> TimedTrial:
        """Return the command of the first seed."""
        content = json.dumps([config.command.spec(), dataset.fingerprint], sort_keys=True, default=str)
        folder = config.command.folder / "timed" / hashlib.sha256(content.encode()).hexdigest()[:12]
        return TimedFit(lambda: _run(config, dataset, Entrant(0), folder))


ENGINE: Engine = CommandEngine()


def _check_rows(command: CommandConfig, dataset: Dataset) -> None:
    refuse_weights(dataset, "a command, which gets inputs and targets")
    check_predictable(dataset, "commands", takes_tokens=False)
    if not command.has("data"):
        rule = f"must have {{data}}, the folder with the rows of {dataset.name}"
        remedy = "add it, or use dataset=named dataset.name=NAME for data that the command has itself"
        raise ConfigError("model.command", rule, " ".join(command.words), remedy)


def _trial_name(entrant: Entrant) -> str:
    return f"seed-{entrant.seed}" if entrant.trial is None else f"seed-{entrant.seed}-{entrant.spec.trial_id[:8]}"


def seed_of(config: Config, entrant: Entrant) -> int:
    """Return the `{seed}` of a trial: its number, as long as the root seed is 0."""
    phase = 0 if entrant.phase is Phase.MEASURE else LARGEST_SEED // 2
    return (config.root_seed * STUDY_SEEDS + entrant.seed + phase) % LARGEST_SEED


def _run(config: Config, dataset: Dataset, entrant: Entrant, folder: Path) -> TrialResult:
    """Return the result of one trial."""
    command, folder = config.command, folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted trial
    folder.mkdir(parents=True)
    split = None
    if not isinstance(dataset, NamedWorkload):
        split = split_of(config, dataset, entrant)
        _write_rows(dataset, split, folder)
    values = {"seed": seed_of(config, entrant), "workload": dataset.name, "data": folder, "folder": folder}
    environment = {"WANDB_MODE": "offline", "WANDB_DIR": str(folder)} if command.result == "wandb" else {}
    execute(command.filled(values), folder / "log.txt", command.limit or 0.0, environment)
    if split is None:
        return _reported(dataset, _scores(command, folder))
    predicted = _read_predictions(dataset, split, folder)
    is_sure = any(part.predictions.ndim == 1 for part in predicted.values()) and dataset.kind.is_classification
    one_hot = {name: _one_hot(dataset, part) for name, part in predicted.items()}
    return result_of(dataset, split, one_hot, FROM_PROBABILITIES if is_sure else ())


def execute(words: Sequence[str], output: Path, limit: float, environment: Mapping[str, str]) -> None:
    """Run words as a program, without a shell, and wait for its end; its output goes to a file.

    Whatever ends the wait, an interrupt too, ends all processes that the program has started. Raises `CommandError`
    with the last line of the output if it fails or takes longer than the limit in seconds (0: none).
    """
    with output.open("wb") as file:
        starter = [sys.executable, "-I", "-S", process_group.__file__, str(limit), *words]
        process = subprocess.Popen(
            starter, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, **environment}, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        try:
            code = process.wait()
        finally:
            process.stdin.close()
            process.wait()
    if code:
        lines = _tail(output).strip().splitlines() or ["no output"]
        raise CommandError(f"exit code {code}: {lines[-1].strip()[:300]}")


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")


# ── named workloads: scores ───────────────────────────────────────────────────────────────────────────────────────────


def _scores(command: CommandConfig, folder: Path) -> Mapping[str, Any]:
    """Return what a command reported, by name."""
    if command.result == "stdout":
        for line in reversed(_tail(folder / "log.txt").splitlines()):
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict):
                return content
        raise CommandError('its output has no line that is a JSON object: print one, such as {"accuracy": 0.9}')
    if command.result == "wandb":
        try:
            runs = wandb_offline.read(str(folder))
        except InputError as error:
            raise CommandError(str(error)) from error
        if not runs:
            raise CommandError(f"it has left no offline W&B run in {folder}")
        return {key.removeprefix("summary."): value for key, value in runs[-1].items() if key.startswith("summary.")}
    path = folder / command.result
    if not path.is_file():
        raise CommandError(f"it has not written {command.result} into {{folder}}")
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise CommandError(f"{command.result} has no row")
    return rows[-1]


def _reported(dataset: Dataset, reported: Mapping[str, Any]) -> TrialResult:
    name = dataset.metric.name
    key = next((key for key in (name, f"test/{name}", f"test_{name}") if key in reported), None)
    if key is None:
        raise CommandError(f"it reported no {name}: there are {', '.join(map(str, reported)) or 'no values'}")
    score = _number(key, reported[key])
    counts: dict[str, Any] = {}
    for count in ("num_train", "num_test"):
        if count in reported:
            counts[count] = round(_number(count, reported[count]))
    if not math.isfinite(score):
        return TrialResult(State.DIVERGED, **counts)
    return TrialResult(State.COMPLETE, {dataset.metric.on("test"): score}, **counts)


def _number(name: str, value: Any) -> float:
    try:
        return float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        raise CommandError(f"its {name} must be a number, not {value!r}") from None


# ── rows and predictions ──────────────────────────────────────────────────────────────────────────────────────────────


def _write_rows(dataset: Dataset, split: Split, folder: Path) -> None:
    """Write `train.csv`, `validation.csv` and `test.csv`, as networks see them.

    `test.csv` has no targets, and is not there if candidates are tuned.
    """
    scaling = fit_scaling(dataset, split.train)
    for part in ("train", "validation", "test"):
        rows = getattr(split, part)
        if not len(rows):
            continue
        table = pd.DataFrame(scaling.inputs(dataset, rows), columns=list(dataset.features))
        if part != "test":
            names = [f"target: {name}" for name in dataset.classes] if dataset.kind.per_column else ["target"]
            table[names] = dataset.kind.fitted_to(dataset.targets[rows]).reshape(len(rows), -1)
        table.to_csv(folder / f"{part}.csv", index=False)


def _read_predictions(dataset: Dataset, split: Split, folder: Path) -> dict[str, Predicted]:
    """Return the predictions by the names of the parts; there are no test rows if candidates are tuned."""
    parts = {"val": ("validation", split.validation), "test": ("test", split.test)}
    return {
        name: Predicted(rows, _predictions(dataset, len(rows), folder / f"{part}_predictions.csv"))
        for name, (part, rows) in parts.items()
        if len(rows)
    }


def _predictions(dataset: Dataset, count: int, path: Path) -> Any:
    """Return predictions: a column per class or label with its probability, or per number; or one of class numbers."""
    if not path.is_file():
        raise CommandError(f"it has not written {path.name} into {{data}}")
    try:
        values = pd.read_csv(path).to_numpy(dtype=np.float64)
    except (ValueError, OSError) as error:
        raise CommandError(f"{path.name} must be a table of numbers: {error}") from None
    classes = len(dataset.classes) or 1
    allowed = [classes] if dataset.kind.per_column else sorted({1, classes})
    if values.shape[0] != count or values.shape[1] not in allowed:
        needed = f"{count} rows with {' or '.join(map(str, allowed))} column{'s' * (allowed != [1])}"
        raise CommandError(f"{path.name} must have {needed}, not {values.shape[0]} with {values.shape[1]}")
    if values.shape[1] == 1 and classes > 1 and not np.isin(values, np.arange(classes)).all():
        raise CommandError(f"{path.name} must have class numbers from 0 to {classes - 1}")
    return values if values.shape[1] > 1 else values[:, 0]


def _one_hot(dataset: Dataset, part: Predicted) -> Predicted:
    """Return class numbers as probabilities that are sure."""
    if not dataset.kind.is_classification or part.predictions.ndim > 1:
        return part
    return Predicted(part.rows, np.eye(len(dataset.classes))[part.predictions.astype(np.int64)])
