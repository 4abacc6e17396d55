"""The edge to Hydra: the folder of the configuration, the jobs of a sweep, one line for input that Hydra refuses."""

import difflib
import re
from collections.abc import Mapping, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from evalbench.config.looks import KEYS as LOOK_KEYS
from evalbench.errors import ConfigError
from evalbench.evaluation.naming import name_for
from evalbench.interrupts import held_back
from evalbench.programs import conf_folder


def add_to_search(arguments: list[str]) -> list[str]:
    """Let `search.space.…=` and `optimizer.space.…=` add keys, as Hydra's `++` does, and let a command be bare text."""
    return [f"++{text}" if re.match(r"\w+\.space\.|search\.pruning\.", text) else _quoted(text) for text in arguments]


def _quoted(text: str) -> str:
    """Quote a command line for Hydra's grammar, which would read its braces, unless it is quoted or a list."""
    key, _, value = text.partition("=")
    if key != "model.command" or not value or value[0] in "'\"[":
        return text
    escaped = re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + ("\\'" if end[2] else ""), value)
    return f"{key}='{escaped}'"


def split_jobs(
    loader: ConfigLoader, sweep: DictConfig, params: Mapping[str, str], arguments: Sequence[str]
) -> list[list[str]]:
    """Return the overrides of every job: the full grid of the swept values, and the evaluation's name.

    `sweep` is the composed configuration that all jobs share; `params` are the swept values of its sweep file,
    `arguments` the overrides of the command line, which count more. Raises `ConfigError` if a list is empty.
    """
    texts = [*(f"{key}={value}" for key, value in params.items()), *arguments]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    if not jobs:
        remedy = "give every list a value, for example model.depth=range(1,3)"
        raise ConfigError("the sweep", "must have at least one cell, but one of its lists is empty", remedy=remedy)
    name = sweep.evaluation.name
    name = f"evaluation.name={name_for('sweep' if name == 'single' else name, arguments)}"
    return [[*(text for text in job if not text.startswith("evaluation.name=")), name] for job in jobs]


def with_seeds(job: Sequence[str], num_seeds: int) -> list[str]:
    """Return the overrides of a job that trains the seeds of one look."""
    return [*(text for text in job if _key(text) not in LOOK_KEYS), f"num_seeds={num_seeds}"]


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def compose_job(loader: ConfigLoader, sweep: DictConfig, job: Sequence[str]) -> DictConfig:
    """Return the configuration of one job; an interrupt waits until it is composed."""
    with held_back():
        return loader.load_sweep_config(sweep, list(job))


def refusal(error: Exception) -> str:
    """Return one line for input that Hydra refuses: the mistake and the choices."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        options = error.options or sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
        return f"{group} has no option {option!r}: choose one of {', '.join(options)}"
    if isinstance(error, InstantiationException) and cause is not None:
        return " ".join(str(cause).split())
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        known = sorted(str(key) for key in cause.parent_node if key != "hydra")
        close = difflib.get_close_matches(str(cause.key), known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"there is no key {str(cause.full_key)!r}: {hint}there are {', '.join(known)}"
    return " ".join(f"{error} {cause or ''}".split())
