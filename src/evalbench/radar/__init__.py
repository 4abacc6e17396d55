"""All evaluations of a folder in one index, and a technology radar of what they say about each technique."""

from evalbench.radar.build import build

__all__ = ["build"]
