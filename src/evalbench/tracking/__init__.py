"""Trackers: mirrors of the store for people to watch. They may fail without hurting a result."""

from evalbench.tracking.tracker import Conclusion, MemoryTracker, Run, Table, Tracker

__all__ = ["Conclusion", "MemoryTracker", "Run", "Table", "Tracker"]
