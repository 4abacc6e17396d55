"""The command line: `python -m evalbench`, or `evalbench`."""

import difflib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from evalbench import programs
from evalbench.errors import ConfigError, InputError

_LOOKING = ("-m", "--multirun", "--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "-sc")


def conf_folder() -> Path:
    """Return the folder of the configuration: in the wheel beside this file, in a checkout at the top."""
    here = Path(__file__).resolve().parent
    for folder in (here / "conf", here.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"evalbench is installed without its configuration: no conf/config.yaml near {here}")


def add_multirun(arguments: list[str]) -> list[str]:
    """Say `--multirun` where a sweep is chosen: Hydra 1.4 will not take it from the sweep file."""
    chosen = any(re.match(r"\+{1,2}sweep=", text) for text in arguments)
    said = any(text.split("=")[0] in (*_LOOKING, "--shell-completion", "hydra.mode") for text in arguments)
    return ["--multirun", *arguments] if chosen and not said else arguments


def in_any_order(arguments: list[str]) -> list[str]:
    """Put options behind overrides: Hydra wants all overrides side by side."""
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
    raise InputError(f"{message}: see python -m evalbench --help")


def add_to_search(arguments: list[str]) -> list[str]:
    """Let `search.space.…=` and `optimizer.space.…=` say what is not there yet, as Hydra's `++` does."""
    return [f"++{text}" if re.match(r"\w+\.space\.|search\.pruning\.", text) else text for text in arguments]


def _job(tree: DictConfig) -> None:
    from evalbench.terminal import hydra_app  # keeps --help and completion quick

    hydra_app.run_job(tree)


def refusal(error: Exception) -> str:
    """Return one line for what Hydra would not compose: the mistake, and the choices there are."""
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


def main() -> None:
    """Run evalbench; what Hydra itself refuses is bad input too, and exits with 2."""
    code = programs.run("evalbench", _main)
    if code:
        raise SystemExit(code)


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
    """Whether an error comes from composing the configuration: Hydra's code is nearer to it than ours."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    near = [
        name for name in modules if name.startswith(("hydra.", "evalbench.", "hydra_plugins.evalbench.", "__main__"))
    ]
    return bool(near) and near[-1].startswith("hydra.")


if __name__ == "__main__":
    main()
