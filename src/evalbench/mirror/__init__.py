"""Send an evaluation's records from the store to trackers, each record once, in a process per tracker."""

from evalbench.mirror.mirror import Mirror, described
from evalbench.mirror.process import Mirrors

__all__ = ["Mirror", "Mirrors", "described"]
