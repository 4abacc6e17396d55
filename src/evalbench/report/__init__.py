"""From a table of results, or the folder of an evaluation, to a report.

`judge(frame, baseline=...)` and `read(folder)` return a `Report`; `write(folder)` writes the report of a folder.
"""

import evalbench.report.render.backend  # noqa: F401 # isort: skip - before anything else loads matplotlib
from evalbench.report.api import Report, judge, read, write
from evalbench.report.render.index import write_index

__all__ = ["Report", "judge", "read", "write", "write_index"]
