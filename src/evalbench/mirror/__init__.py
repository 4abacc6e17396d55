"""From the store to trackers: what they are told of an evaluation, in a process of its own, each thing once."""

from evalbench.mirror.mirror import Mirror, described
from evalbench.mirror.process import Mirrors

__all__ = ["Mirror", "Mirrors", "described"]
