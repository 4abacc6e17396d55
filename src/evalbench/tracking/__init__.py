"""Trackers: mirrors of the store for people to watch. They may fail without hurting a result."""

from evalbench.tracking.tracker import MemoryTracker, NullTracker, Run, Tracker

__all__ = ["MemoryTracker", "NullTracker", "Run", "Tracker"]
