"""From the folder of an evaluation to its report: `write(folder)` makes `report.md` and `figures/` in it."""

from evalbench.report.writing import write

__all__ = ["write"]
