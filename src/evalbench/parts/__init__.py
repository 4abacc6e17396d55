"""Parts of a technique that act on a cohort: one file each, through the hooks of `parts.hooks`."""
