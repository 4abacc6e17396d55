"""What Hydra can only find in this namespace: thin, and light to import."""
