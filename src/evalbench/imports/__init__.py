"""Runs that any program logged to a tracker, as a table that can be judged."""

from evalbench.imports.runs import DEFAULT_MAP, SOURCES, load, parse_map, select, write_table

__all__ = ["DEFAULT_MAP", "SOURCES", "load", "parse_map", "select", "write_table"]
