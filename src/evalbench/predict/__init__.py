"""`evalbench predict RUN ROWS`: predictions of a saved model for new rows."""

from evalbench.predict.saved import SavedModel, chosen

__all__ = ["SavedModel", "chosen"]
