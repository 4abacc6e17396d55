"""The engines: each trains the trials of a cell behind one contract."""

import importlib

from evalbench.config import Config
from evalbench.engines.contract import Engine, Measurement, Outlets, TimedTrial, Trained

__all__ = ["Engine", "Measurement", "Outlets", "TimedTrial", "Trained", "of"]


def of(config: Config) -> Engine:
    """Return the engine that a cell's model chooses; it is imported now, with the libraries that it needs."""
    engine: Engine = importlib.import_module(f"evalbench.engines.{config.engine}").ENGINE
    return engine
