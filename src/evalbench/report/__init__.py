"""From the folder of an evaluation to its report: `write(folder)` writes it, `read(folder)` gives its numbers."""

from evalbench.report.index import write_index
from evalbench.report.writing import read, write

__all__ = ["read", "write", "write_index"]
