"""Tracked, batched and honest comparisons of deep-learning techniques."""
