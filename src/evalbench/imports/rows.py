"""A run as one flat row, whatever tracker it comes from."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]
FINISHED = "finished"
"""The state of a run that came to its end; any other state is one of a run that did not."""
MOST_EXACT = 2.0**53
"""Below it a whole float is the integer that it looks like."""


def row(id: str, started: Any, state: str | None, config: Row, summary: Row, **about: Any) -> Row:
    """Return a run as a row: what is nested in `config` and `summary` has a dotted name.

    Args:
        id: the identity of the run; rows that share it (and `project`, where there is one) are copies of one run.
        started: when this copy began, comparable among the runs of a source.
        state: the source's own word for how the run ended, in lower case; None where the source does not know.
        config: the settings of the run.
        summary: the final values of the run.
        about: other names and values, such as `name` and `group`.
    """
    found = {
        "id": id,
        **about,
        "started": started,
        **dict(spread("config", config)),
        **dict(spread("summary", summary)),
    }
    return found if state is None else {**found, "state": state}


def spread(prefix: str, values: Row) -> Iterator[tuple[str, Any]]:
    """Yield nested values with dotted names, and a map also as a whole."""
    for key, value in values.items():
        yield f"{prefix}.{key}", value
        if isinstance(value, Mapping):
            yield from spread(f"{prefix}.{key}", value)


def name_of(value: Any) -> str:
    """Return a value as a name: text as it is, anything else as JSON, so that equal values have equal names."""
    return value if isinstance(value, str) else json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return what JSON can say: 1.0 is 1, which is what trackers make of it on their own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < MOST_EXACT:
        return int(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
