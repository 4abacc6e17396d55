"""The command line: `python -m evalbench`, or `evalbench`."""

import difflib
import errno
import os
import re
import sys
import traceback
from pathlib import Path

import hydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from evalbench.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk, a quota or a limit says when there is no more space: no fault of the input."""
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


def add_to_search(arguments: list[str]) -> list[str]:
    """Let `search.space.…=` and `optimizer.space.…=` say what is not there yet, as Hydra's `++` does."""
    return [f"++{text}" if re.match(r"\w+\.space\.|search\.pruning\.", text) else text for text in arguments]


def _job(tree: DictConfig) -> None:
    from evalbench import terminal  # keeps --help and completion quick

    terminal.run_job(tree)


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
    sys.argv[1:] = add_to_search(add_multirun(sys.argv[1:]))
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises what it would otherwise print
    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_job)()
    except HydraException as error:
        print(f"evalbench: {refusal(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except ValueError as error:
        if not _raised_by_hydra(error):
            raise
        print(f"evalbench: {refusal(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # where the sweep is not under way yet, or not any more
        print("evalbench: interrupted; the same command goes on from what is in the store", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise  # it is not about a file
        what = f"{error.filename or 'the system'}: {error.strerror or error}"
        print(f"evalbench: {what}: work in a folder that can be written and has space", file=sys.stderr)
        raise SystemExit(1 if error.errno in FULL else 2) from None
    except StorageError as error:
        print(f"evalbench: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra itself raised a plain error, as it does for `optimizer=null`."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"]).startswith("hydra.")


if __name__ == "__main__":
    main()
