"""`evalbench predict RUN ROWS`: predictions of a saved model for new rows."""

from evalbench.predict.saved import SavedModel, add_arguments, chosen

__all__ = ["SavedModel", "add_arguments", "chosen"]
