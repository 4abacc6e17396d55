"""The summaries of folders of reports, in the order in which they were judged. Anybody may have written them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalbench.errors import TableError
from evalbench.names import one_line
from evalbench.record.summary import FILE, read_summary

PAGES = ("report.html", "report.md")
VERSIONS = {"evalbench": "evalbench-dl", "torch": "torch"}
"""The versions that the pages show, by the names of their packages."""


@dataclass(frozen=True)
class PastEvaluation:
    """An evaluation with a summary; `link` leads from the page to its report, None if it has none."""

    summary: Mapping[str, Any]
    source: str  # the folder that it lies in, as it was given; empty for the folder of the radar itself
    folder: str  # its name
    link: str | None

    @property
    def date(self) -> str:
        """Return the day of the last training, `2026-11-26`; empty if it is not known."""
        return (self.summary["date"] or "")[:10]

    @property
    def order(self) -> tuple[str, str, str]:
        """Return what evaluations are sorted by, oldest first; those without a date come before all others."""
        return (self.summary["date"] or "", self.source, self.folder)

    @property
    def name(self) -> str:
        """Return its name, with the folder that it comes from if that is another."""
        return f"{self.summary['name']} ({self.source})" if self.source else str(self.summary["name"])

    @property
    def versions(self) -> str:
        """Return the versions that trained, in words."""
        known = self.summary["provenance"]["versions"]
        return ", ".join(f"{name} {known[package]}" for name, package in VERSIONS.items() if package in known)

    @cached_property
    def data_sets(self) -> Mapping[tuple[str, str], str | None]:
        """Return the workloads of the first verdict: the fingerprint of each name and metric, None if not known."""
        workloads = self.summary["scope"]["workloads"]
        return {(one["name"], one["metric"]): one["fingerprint"] for one in workloads if one["counted"]}

    @property
    def baseline(self) -> tuple[str, str | None]:
        """Return the name of the baseline, and the hash of its settings if they are known."""
        hashes = [one["settings_hash"] for one in self.summary["techniques"] if one["is_baseline"]]
        return str(self.summary["baseline"]), hashes[0] if hashes else None


@dataclass(frozen=True)
class Archive:
    """What folders of reports hold: evaluations, oldest first, and what was left out, with the reason."""

    evaluations: tuple[PastEvaluation, ...]
    left_out: tuple[tuple[str, str], ...]


def read_folders(reports: Path, others: Iterable[Path] = ()) -> Archive:
    """Read the summary of each report in `reports` and in folders of reports of others.

    A folder of others may also be that of a single report.

    Raises:
        TableError: a folder does not exist.
    """
    left_out: list[tuple[str, str]] = []
    evaluations: list[PastEvaluation] = []
    for source, folder in _reports_in(reports, others, left_out):
        try:
            one = PastEvaluation(
                read_summary(folder / FILE), source, one_line(folder.resolve().name), _link(folder, reports)
            )
        except TableError as error:
            left_out.append((one_line(folder), _reason(folder, error)))
            continue
        copies = [other for other in evaluations if other.summary == one.summary]
        if copies:
            left_out.append((one_line(folder), f"a copy of {copies[0].name}"))
        else:
            evaluations.append(one)
    return Archive(tuple(sorted(evaluations, key=lambda one: one.order)), tuple(left_out))


def _reports_in(reports: Path, others: Iterable[Path], left_out: list[tuple[str, str]]) -> list[tuple[str, Path]]:
    """Return each folder of a report once, with the folder that it comes from; note those that cannot be opened."""
    folders: dict[Path, tuple[str, Path]] = {}
    for source in (reports, *others):
        if not source.is_dir():
            raise TableError(f"{source} is not a folder: give the folder of all reports, such as reports")
        inside = [source] if source != reports and _is_report(source) else sorted(source.iterdir())
        for folder in inside:
            try:
                if _is_report(folder):
                    folders.setdefault(folder.resolve(), ("" if source == reports else one_line(source), folder))
            except OSError as error:
                left_out.append((one_line(folder), str(error.strerror)))
    return list(folders.values())


def _is_report(folder: Path) -> bool:
    return folder.is_dir() and any((folder / name).is_file() for name in (FILE, "evaluation.json", "report.md"))


def _reason(folder: Path, error: TableError) -> str:
    if (folder / FILE).exists():
        return str(error).removeprefix(f"{folder / FILE}: ").removeprefix(f"{folder / FILE} ")
    again = "`evalbench report` on it" if (folder / "evaluation.json").is_file() else "the command of its report"
    return f"it has no {FILE}: {again} writes one"


def _link(folder: Path, reports: Path) -> str | None:
    page = next((name for name in PAGES if (folder / name).is_file()), None)
    if page is None:
        return None
    path = os.path.relpath(folder.resolve() / page, reports.resolve()).replace(os.sep, "/")
    return quote(path, errors="surrogateescape")
