"""Turn the runs of a tracker, logged by any program, into a table of results."""

from evalbench.imports.runs import DEFAULT_MAP, SOURCES, latest, load, parse_map, select, write_table
from evalbench.names import short

__all__ = ["DEFAULT_MAP", "SOURCES", "latest", "load", "parse_map", "select", "short", "write_table"]
