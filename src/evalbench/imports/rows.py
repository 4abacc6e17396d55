"""The flat row that represents a run of any tracker."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]
FINISHED = "finished"
"""The state of a run that finished; every other state means that the run did not finish."""
MOST_EXACT = 2.0**53
"""Whole floats below this limit equal their integer exactly."""


def row(id: str, started: Any, state: str | None, config: Row, summary: Row, **about: Any) -> Row:
    """Return a run as a row; nested values of `config` and `summary` get dotted names.

    Args:
        id: the identity of the run; rows that share it (and `project`, if they have one) are copies of one run.
        started: the start of this copy, comparable among the runs of a source.
        state: the source's own word for the end of the run, in lower case; None if the source does not know.
        config: the settings of the run.
        summary: the final values of the run.
        about: other names and values, such as `name` and `group`.
    """
    fields = {
        "id": id,
        **about,
        "started": started,
        **dict(spread("config", config)),
        **dict(spread("summary", summary)),
    }
    return fields if state is None else {**fields, "state": state}


def spread(prefix: str, values: Row) -> Iterator[tuple[str, Any]]:
    """Yield nested values with dotted names, and a map also as a whole."""
    for key, value in values.items():
        yield f"{prefix}.{key}", value
        if isinstance(value, Mapping):
            yield from spread(f"{prefix}.{key}", value)


def name_of(value: Any) -> str:
    """Return a value as a name: text unchanged, other values as JSON, so that equal values have equal names."""
    return value if isinstance(value, str) else json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold; 1.0 becomes 1, because trackers write it as 1 too."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < MOST_EXACT:
        return int(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
