"""Write the index and the radar into a folder of reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evalbench.radar.files import as_json, build_your_own_radar, verdict_table
from evalbench.radar.history import TechnologyRadar, radar_of
from evalbench.radar.pages import index_page, radar_page
from evalbench.radar.reading import read_folders
from evalbench.record.tables import write_table


def build(reports: Path, others: Iterable[Path] = (), since: str | None = None) -> TechnologyRadar:
    """Write `index.html`, `radar.html`, `radar.json` and two CSV files into a folder of reports.

    The same summaries give the same bytes.

    Args:
        reports: the folder of all reports, such as `reports`.
        others: more folders of reports, or of one report, by whomever.
        since: the day from which moves count, `2026-11-26`; by default those of the last evaluation.

    Raises:
        TableError: a folder does not exist.
    """
    radar = radar_of(read_folders(reports, others), since)
    pages = {"index.html": index_page(radar), "radar.html": radar_page(radar), "radar.json": as_json(radar)}
    for name, content in pages.items():
        (reports / name).write_text(content, encoding="utf-8", newline="\n")
    write_table(verdict_table(radar), reports / "radar.csv", "%.10g")
    write_table(build_your_own_radar(radar), reports / "build-your-own-radar.csv")
    return radar
