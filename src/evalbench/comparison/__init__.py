"""An evaluation against an earlier one: what changed beyond noise, and what may have caused it."""

from evalbench.comparison.changes import Change, Comparison, compare

__all__ = ["Change", "Comparison", "compare"]
