"""The one command: `evalbench report …`, `evalbench predict …`, and `evalbench KEY=VALUE …` for an evaluation."""

import difflib
import re
import sys
from importlib import import_module

from evalbench import programs
from evalbench.console import take_quiet
from evalbench.programs import conf_folder

__all__ = ["conf_folder", "main"]

COMMANDS = {
    "report": "evalbench.report.__main__",
    "judge": "evalbench.report.__main__",
    "compare": "evalbench.comparison.__main__",
    "radar": "evalbench.radar.__main__",
    "sync": "evalbench.sync",
    "dashboard": "evalbench.dashboard.__main__",
    "predict": "evalbench.predict.__main__",
    "convert": "evalbench.convert.__main__",
}
"""Each command's name, and the module whose `main(arguments)` runs it and returns the exit code."""


def main() -> None:
    """Run the command, and exit with its code."""
    sys.argv[1:] = take_quiet(sys.argv[1:])
    code = _main(*sys.argv[1:2])
    if code:
        raise SystemExit(code)


def _main(first: str = "") -> int:
    if first in COMMANDS:
        code: int = import_module(COMMANDS[first]).main(sys.argv[2:])
        return code
    if re.fullmatch(r"[\w-]*\w", first) and not first.startswith("-"):
        close = difflib.get_close_matches(first, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return programs.say(
            "evalbench", f"there is no command {first!r}: {hint}there are {', '.join(COMMANDS)}, and KEY=VALUE"
        )
    from evalbench.terminal import command_line  # Hydra, which no command above needs

    return command_line.main()


if __name__ == "__main__":
    main()
