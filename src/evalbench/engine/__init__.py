"""The cohort engine: C trials trained as one batched model; `training` is its door."""
