"""The command line of an evaluation: Hydra composes it and runs the task. A mistake in it gets one line."""

import os
import re
import sys
import traceback
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig

from evalbench import programs
from evalbench.composition import add_to_search, refusal
from evalbench.errors import ConfigError, InputError
from evalbench.programs import conf_folder

_LOOKING = ("-m", "--multirun", "--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "-sc")


def add_multirun(arguments: list[str]) -> list[str]:
    """Add `--multirun` if a sweep is chosen: Hydra 1.4 will not take it from the sweep file."""
    chosen = any(re.match(r"\+{1,2}sweep=", text) for text in arguments)
    said = any(text.split("=")[0] in (*_LOOKING, "--shell-completion", "hydra.mode") for text in arguments)
    return ["--multirun", *arguments] if chosen and not said else arguments


def in_any_order(arguments: list[str]) -> list[str]:
    """Move options behind overrides: Hydra wants all overrides side by side."""
    if "--experimental-rerun" in {text.split("=")[0] for text in arguments}:
        raise ConfigError("--experimental-rerun", "would run a pickle", remedy="give the command of the run again")
    parser = get_args_parser()
    parser.error = _refuse_arguments  # type: ignore[method-assign]
    known, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        _refuse_arguments(f"there is no option {unknown[0]}")
    options = list(arguments)
    for text in known.overrides:
        options.remove(text)
    return [*known.overrides, *options]


def _refuse_arguments(message: str) -> NoReturn:
    raise InputError(f"{message}: see evalbench --help")


def _job(tree: DictConfig) -> None:
    from evalbench.terminal import hydra_app  # keeps --help and completion quick

    hydra_app.run_job(tree)


def main() -> int:
    """Run an evaluation from `sys.argv` and return the exit code: 2 also for input that Hydra refuses."""
    return programs.run("evalbench", _main)


def _main() -> int:
    sys.argv[1:] = add_to_search(add_multirun(in_any_order(sys.argv[1:])))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would otherwise print
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_job)()
    except HydraException as error:
        return programs.say("evalbench", refusal(error))
    except Exception as error:  # Hydra and OmegaConf raise errors of many classes
        if isinstance(error, OSError) or not _raised_by_hydra(error):
            raise
        return programs.say("evalbench", refusal(error))
    return 0


def _raised_by_hydra(error: Exception) -> bool:
    """Return whether composing the configuration raised the error: its innermost frame is Hydra's, not ours."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    frames = [name for name in modules if name.startswith(("hydra.", "evalbench.", "hydra_plugins.evalbench."))]
    return bool(frames) and frames[-1].startswith("hydra.")
