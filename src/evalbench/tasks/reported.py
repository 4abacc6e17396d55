"""A problem of which only the scores are known: a program reports them, evalbench has no rows."""

from typing import Any

from evalbench.tasks.task import Rows, Task


def _without_rows(*_: Any, **__: Any) -> Any:
    raise AssertionError("nothing is predicted, because the rows are not known")


class Reported(Task):
    """The workload names its metric; all else is the program's."""

    name = "reported"
    metrics = ()
    outputs = "scores"
    is_classification = False
    has_row_classes = False

    def check(self, table: Rows) -> None:
        """Accept it: there are no rows."""

    num_outputs = trivial = linear = example_targets = natural = loss = score = predict = staticmethod(_without_rows)
