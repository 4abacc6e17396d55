"""How a foreign table was read: every guess, in words."""

from __future__ import annotations

from evalbench.names import plain
from evalbench.report.analysis.findings import Findings
from evalbench.report.section import Section


def said(findings: Findings) -> list[str] | None:
    """Return what was guessed or chosen when the table was read; None if nothing was."""
    return list(findings.evaluation.provenance.get("read", [])) or None


def text(lines: list[str]) -> str:
    """Return the guesses in one paragraph."""
    return f"*How the table was read:* {'; '.join(shown(line) for line in lines)}."


def shown(line: str) -> str:
    """Return a guess as text for Markdown; names in it are in quotation marks."""
    return plain(line.replace("`", "'"))


HOW_READ = Section(said, text)
