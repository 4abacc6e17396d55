"""Lines at the console: broken on a terminal, whole in a pipe, and none if it is quiet."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from evalbench import console as consoles
from evalbench.console import is_live, plain_console, say, say_problem, take_quiet
from evalbench.report import read
from evalbench.report.analysis.findings import judged
from evalbench.report.lines import first_screen
from evalbench.report.sections.decision import sentences
from evalbench.report.sections.next_steps import next_steps
from evalbench.terminal.log_lines import ERASE, LineHandler

EXAMPLES = Path(__file__).parents[2] / "reports" / "examples"


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def printed(width: int, terminal: bool, text: str, whole: bool = False) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None, markup=False)
    say(console, "Verdict", text, whole=whole)
    return stream.getvalue().splitlines()


def test_a_terminal_breaks_a_sentence_between_words_and_a_pipe_does_not() -> None:
    sentence = "adam is better, and that is shown on new rows of these data sets"
    assert printed(40, True, sentence) == [
        "Verdict  adam is better, and that is",
        "         shown on new rows of these data",
        "         sets",
    ]
    assert printed(40, False, sentence) == [f"Verdict  {sentence}"]
    assert printed(40, True, sentence, whole=True) == [f"Verdict  {sentence}"]
    assert all(len(line) <= 40 for line in printed(40, True, "a" * 100))


def test_quiet_prints_problems_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(consoles, "_quiet", False)
    assert take_quiet(["judge", "--quiet", "a.csv"]) == ["judge", "a.csv"]
    say(plain_console(), "Report", "reports/a")
    say_problem(plain_console(), "FAILED", "sgd on iris")
    out, errors = capsys.readouterr()
    assert (out, errors) == ("", "FAILED   sgd on iris\n")
    assert take_quiet(["-m"]) == ["-m"]
    say(plain_console(), "Report", "reports/a")
    assert capsys.readouterr().out == "Report   reports/a\n"


@pytest.mark.parametrize(
    ("stream", "variables", "live"),
    [
        (Tty(), {}, True),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, False),
        (Tty(), {"TERM": "dumb"}, False),
    ],
)
def test_only_a_terminal_is_drawn_anew(stream: io.StringIO, variables: dict[str, str], live: bool) -> None:
    assert is_live(Console(file=stream, _environ={"TERM": "xterm", **variables})) is live


def test_no_color_leaves_no_colour() -> None:
    shown = {}
    for variables in ({}, {"NO_COLOR": "1"}):
        stream = Tty()
        console = Console(file=stream, _environ={"TERM": "xterm-256color", **variables})
        say(console, "FAILED", "sgd", "red")
        shown[bool(variables)] = stream.getvalue()
    assert "\x1b[31m" in shown[False]
    assert "\x1b[3" not in shown[True]


def test_a_warning_of_a_job_is_one_line_and_a_failed_trial_is_left_to_the_progress() -> None:
    handler, lines = LineHandler(), io.StringIO()
    handler.setStream(lines)
    error = (ValueError, ValueError("at one\nat two"), None)
    for name, level, exc_info in (
        ("evalbench.engine.checkpoints", logging.WARNING, error),
        ("evalbench.cell", logging.ERROR, error),
        ("somebody.else", logging.ERROR, None),
    ):
        handler.handle(logging.LogRecord(name, level, "a.py", 1, "it is\n%s", ("broken",), exc_info))
    assert lines.getvalue() == "WARNING  it is broken\nERROR    it is broken\n"
    handler.setStream(Tty())
    handler.handle(logging.LogRecord("a", logging.WARNING, "a.py", 1, "b", (), None))
    assert handler.stream.getvalue() == f"{ERASE}WARNING  b\n"  # a bar that another process has drawn is gone


@pytest.mark.parametrize("name", ["optimizers", "optimizers-tuned"])
@pytest.mark.slow
def test_the_lines_are_the_sentences_and_steps_of_the_page(name: str) -> None:
    findings = judged(read(EXAMPLES / name).findings)
    assert findings is not None
    lines = first_screen((EXAMPLES / name / "report.md").read_text(encoding="utf-8"))
    said = " ".join(text for head, text in lines if head != "Next")
    assert said == " ".join(sentences(findings)).replace("`", "").replace("**", "")
    steps = [text.rstrip(".").lower() for head, text in lines if head == "Next"]
    assert steps == [step.replace("`", "").rstrip(".").lower() for step in next_steps(findings)]


def test_a_page_without_a_verdict_per_technique_says_its_list() -> None:
    page = "# a\n\n**Which?**\n\n- `b`: **BEATS IT**.\n- `c`: *not shown*.\n\n| x |\n| - |\n| 1 |\n\nEnd.\n"
    assert first_screen(page) == [("Verdict", "b: BEATS IT."), ("", "c: not shown.")]
    many = "# a\n\n**Which?**\n\n" + "\n".join(f"- `t{number}`: yes." for number in range(30))
    assert first_screen(many)[-1] == ("", "18 more lines are in the report")
