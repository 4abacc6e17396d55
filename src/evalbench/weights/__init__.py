"""Trained models on disk: saved as safetensors with a description, never as pickles, and loaded to predict."""

from evalbench.weights.loading import load
from evalbench.weights.predictor import Predictor, Signature
from evalbench.weights.saving import (
    BASES,
    DESCRIPTION,
    WEIGHTS,
    FittedEstimator,
    folder,
    save,
    save_base,
    save_estimator,
    writing,
)

__all__ = [
    "BASES",
    "DESCRIPTION",
    "WEIGHTS",
    "FittedEstimator",
    "Predictor",
    "Signature",
    "folder",
    "load",
    "save",
    "save_base",
    "save_estimator",
    "writing",
]
