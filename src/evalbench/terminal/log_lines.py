"""Warnings of jobs at the terminal: a line each, also below a line of progress that another process draws."""

import logging
import sys

from evalbench.names import one_line

ERASE = "\r\x1b[2K"
"""Goes to the beginning of the line and erases it."""


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes the message of a record without its traceback, which is in the log file.

    Errors of ours are left out: they are failed trials, and the process that shows the progress says which.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.addFilter(lambda record: record.levelno < logging.ERROR or not record.name.startswith("evalbench"))

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        erase = ERASE if self.stream.isatty() else ""
        return f"{erase}{record.levelname:<8} {one_line(record.getMessage())}"
