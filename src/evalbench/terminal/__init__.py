"""An evaluation at the terminal: Hydra's task and sweep, progress, the summary, exit codes."""
