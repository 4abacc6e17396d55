"""What programs print: lines that fit a terminal, whole lines in a pipe, only problems with `--quiet`.

Rich leaves colours out in a pipe and if `NO_COLOR` is set.
"""

from rich.console import Console
from rich.text import Text

QUIET = ("--quiet", "-q")
"""The option of every program: print nothing but problems."""
INDENT = 9
"""The width of the words that begin a line, such as `Report   `."""
NARROWEST = 20
"""The narrowest text that is broken into lines."""
_quiet = False


def take_quiet(arguments: list[str]) -> list[str]:
    """Return the arguments without `--quiet`; consoles that are made from now on are quiet if it was there."""
    global _quiet
    _quiet = any(text in QUIET for text in arguments)
    return [text for text in arguments if text not in QUIET]


def is_quiet() -> bool:
    """Return whether nothing but problems is to be printed."""
    return _quiet


def plain_console() -> Console:
    """Return a console that prints names of the user's as text, never as markup."""
    return Console(markup=False, emoji=False, highlight=False, quiet=_quiet)


def is_live(console: Console) -> bool:
    """Return whether a line may be drawn again and again: not in a pipe, even if `FORCE_COLOR` asks for colours."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal and not console.quiet


def say(console: Console, head: str, text: str, style: str = "", whole: bool = False) -> None:
    """Print a line that begins with a word; on a terminal it is broken between words and its rest is indented.

    A `whole` line, such as a command to copy, is not broken.
    """
    lines = [Text(text)]
    if console.is_terminal and not whole:
        width = max(NARROWEST, console.width - INDENT)
        lines = [line for part in text.splitlines() for line in Text(part).wrap(console, width)]
    for number, line in enumerate(lines):
        line.rstrip()
        console.print(Text(f"{'' if number else head:<{INDENT}}", style).append_text(line), soft_wrap=True)


def say_problem(console: Console, head: str, text: str, style: str = "red", whole: bool = False) -> None:
    """Print a line about something that went wrong, also if the console is quiet: then on the error stream."""
    shown = Console(stderr=True, markup=False, highlight=False) if console.quiet else console
    say(shown, head, text, style, whole)
