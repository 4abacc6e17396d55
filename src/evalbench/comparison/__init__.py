"""An evaluation against an earlier one: what changed beyond noise, and what may have caused it."""

from evalbench.comparison.changes import compare
from evalbench.comparison.values import Change, Comparison

__all__ = ["Change", "Comparison", "compare"]
