"""Kinds of problems, one file each, and the registry of metrics."""

from typing import Final

from evalbench.tasks.binary import Binary
from evalbench.tasks.count import Count
from evalbench.tasks.generation import Generation
from evalbench.tasks.language import Language
from evalbench.tasks.metric import METRICS, Metric
from evalbench.tasks.multi_output import MultiOutput
from evalbench.tasks.multiclass import Multiclass
from evalbench.tasks.multilabel import MultiLabel
from evalbench.tasks.next_token import NextToken
from evalbench.tasks.ordinal import Ordinal
from evalbench.tasks.own import own_metric
from evalbench.tasks.own_task import OwnTask
from evalbench.tasks.ranking import Ranking
from evalbench.tasks.regression import Regression
from evalbench.tasks.reported import Reported
from evalbench.tasks.task import Task
from evalbench.tasks.token_classification import TokenClassification

__all__ = ["MEASURED", "METRICS", "TASKS", "Kind", "Metric", "OwnTask", "Task", "kind_of", "own_metric"]


class Kind:
    """The kinds of problems, as a loader names them; a new one is a line here."""

    BINARY: Final[Task] = Binary()
    MULTICLASS: Final[Task] = Multiclass()
    REGRESSION: Final[Task] = Regression()
    ORDINAL: Final[Task] = Ordinal()
    MULTILABEL: Final[Task] = MultiLabel()
    MULTI_OUTPUT: Final[Task] = MultiOutput()
    COUNT: Final[Task] = Count()
    RANKING: Final[Task] = Ranking()
    LANGUAGE: Final[Task] = Language()
    NEXT_TOKEN: Final[Task] = NextToken()
    TOKEN_CLASSIFICATION: Final[Task] = TokenClassification()
    GENERATION: Final[Task] = Generation()
    REPORTED: Final[Task] = Reported()


TASKS = {task.name: task for task in vars(Kind).values() if isinstance(task, Task)}
"""By name."""
COMMON = (Kind.MULTICLASS, Kind.REGRESSION, Kind.LANGUAGE)
MEASURED = [metric for metric in METRICS.values() if any(metric.name in task.metrics for task in COMMON)]
"""The metrics that have a column in every table of results; those of other tasks have one where they are measured."""


def kind_of(num_classes: int) -> Task:
    """Return the kind of a table by its number of classes; none are numbers."""
    return {0: Kind.REGRESSION, 2: Kind.BINARY}.get(num_classes, Kind.MULTICLASS)
