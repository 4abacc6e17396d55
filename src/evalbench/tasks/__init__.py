"""Kinds of problems, and the metrics that they are judged by."""
