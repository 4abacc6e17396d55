"""The command line: `python -m evalbench`, or `evalbench`."""

import re
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

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


def _job(tree: DictConfig) -> None:
    from evalbench import terminal  # keeps --help and completion quick

    terminal.run_job(tree)


def main() -> None:
    """Run evalbench; what Hydra itself refuses is bad input too, and exits with 2."""
    sys.argv[1:] = add_multirun(sys.argv[1:])
    hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_job)()


if __name__ == "__main__":
    main()
