"""Runs that any program logged to a tracker, as a table that can be judged."""

from evalbench.imports.runs import DEFAULT_MAP, SOURCES, latest, load, parse_map, select, write_mapped, write_table
from evalbench.names import short

__all__ = ["DEFAULT_MAP", "SOURCES", "latest", "load", "parse_map", "select", "short", "write_mapped", "write_table"]
