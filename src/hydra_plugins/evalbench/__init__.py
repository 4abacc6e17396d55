"""Plugins that Hydra finds only in this namespace: thin, and light to import."""
