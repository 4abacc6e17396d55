"""From a table of results, or the folder of an evaluation, to a report.

`judge(frame, baseline=...)` and `read(folder)` return a `Report`; `write(folder)` writes the report of a folder.
"""

from evalbench.report.api import Report, judge, read
from evalbench.report.index import write_index
from evalbench.report.writing import write

__all__ = ["Report", "judge", "read", "write", "write_index"]
