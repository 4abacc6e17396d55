"""The folder of an evaluation, written and read, and any other table of results as if it were one."""
