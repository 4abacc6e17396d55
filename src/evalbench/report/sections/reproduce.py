"""How to reproduce the results."""

from __future__ import annotations

from collections.abc import Mapping

from evalbench.names import code, fenced, plain
from evalbench.report.analysis.findings import Findings
from evalbench.report.render.markdown import markdown
from evalbench.report.section import Section, always


def fingerprints(findings: Findings) -> str:
    """Return the fingerprints of the data, so that readers can check that they have the same."""
    rows = [[code(w.name), f"{w.rows:,}", code(w.fingerprint)] for w in findings.evaluation.workloads.values()]
    return markdown(["workload", "rows", "fingerprint of the data"], rows, 3)


def versions(findings: Findings) -> str:
    """Return the versions of the software that trained."""
    rows = [[code(name), code(version)] for name, version in findings.evaluation.provenance["versions"].items()]
    return markdown(["package", "version"], rows, 2)


def text(findings: Findings) -> str:
    """Return the command, and the code, machines and versions behind the results."""
    provenance = findings.evaluation.provenance
    parts = ["## How to reproduce", fenced(provenance["command"], "sh")]
    if findings.evaluation.foreign:
        return "\n\n".join(
            [
                *parts,
                "- evalbench did not train these results: how they were made is not known here.\n"
                "- This report is made from the table alone. The same table and options write it again, byte for byte.",
            ]
        )
    commit = code(provenance["commit"]) if provenance["commit"] else "not recorded"
    points = [
        f"Commit: {commit}; training version {plain(provenance['training_version'])}.",
        *_own_code(provenance.get("code") or {}),
        f"Machines: {'; '.join(map(plain, provenance['machines']))}.",
        f"Trained from {plain(provenance['trained_from'])} until {plain(provenance['trained_until'])}.",
        "This report is made from `evaluation.json` and the tables beside it. `evalbench report FOLDER`"
        " writes it again, byte for byte.",
    ]
    listed_points = "\n".join(f"- {point}" for point in points)
    return "\n\n".join([*parts, listed_points, versions(findings), fingerprints(findings)])


def _own_code(pieces: Mapping[str, Mapping[str, str]]) -> list[str]:
    if not pieces:
        return []
    known = [
        f"{code(name)} ({', '.join(f'{code(module)} {plain(version)}' for module, version in modules.items())})"
        for name, modules in pieces.items()
    ]
    return [f"Own code, by hashes of its syntax trees and versions of packages: {'; '.join(known)}."]


REPRODUCE = Section(always, text)
