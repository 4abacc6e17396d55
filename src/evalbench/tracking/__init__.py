"""Trackers mirror the store for people to watch; a tracker may fail without affecting a result."""

from evalbench.tracking.tracker import Conclusion, MemoryTracker, Run, Table, Tracker

__all__ = ["Conclusion", "MemoryTracker", "Run", "Table", "Tracker"]
