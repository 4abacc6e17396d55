"""Trained models on disk: saved as safetensors with a description, never as pickles, and loaded to predict."""

from evalbench.weights.loading import load
from evalbench.weights.predictor import Predictor, Signature
from evalbench.weights.saving import (
    BASES,
    DESCRIPTION,
    LEARNED,
    WEIGHTS,
    FittedEstimator,
    file_of,
    fits,
    folder,
    learned_from,
    save,
    save_base,
    save_estimator,
    writing,
)

__all__ = [
    "BASES",
    "DESCRIPTION",
    "LEARNED",
    "WEIGHTS",
    "FittedEstimator",
    "Predictor",
    "Signature",
    "file_of",
    "fits",
    "folder",
    "learned_from",
    "load",
    "save",
    "save_base",
    "save_estimator",
    "writing",
]
