"""The tables of the store, the records that they hold, and how stored values are decoded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from evalbench.errors import ConfigError
from evalbench.trial import CurvePoint, State, TrialResult

SCHEMA_VERSION = 1

metadata = sa.MetaData()
schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("cell_id", sa.String(40), nullable=False, index=True),
    sa.Column("workload", sa.String, nullable=False),
    sa.Column("root_seed", sa.BigInteger, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("settings", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Column("provenance", sa.JSON, nullable=False),
)
evaluations = sa.Table(
    "evaluations",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("design", sa.JSON, nullable=False),
)
links = sa.Table(
    "links",
    metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("technique", sa.String, nullable=False),
    sa.Column("factors", sa.JSON, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
)
mirrors = sa.Table(
    "mirrors",
    metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("tracker", sa.String(40), primary_key=True),
)
descriptions = sa.Table(
    "descriptions",
    metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
)
points = sa.Table(
    "points",
    metadata,
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("point", sa.JSON, nullable=False),
)
positions = sa.Table(
    "positions",
    metadata,
    sa.Column("cell_id", sa.String(40), primary_key=True),
    sa.Column("members", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("steps", sa.BigInteger, nullable=False),
)
references = sa.Table(
    "reference_rows",
    metadata,
    sa.Column("workload_id", sa.String(40), primary_key=True),
    sa.Column("seed", sa.Integer, primary_key=True),
    sa.Column("reference", sa.String(40), primary_key=True),
    sa.Column("metrics", sa.JSON, nullable=False),
)
costs = sa.Table(
    "costs",
    metadata,
    sa.Column("cell_id", sa.String(40), primary_key=True),
    sa.Column("machine", sa.String(200), primary_key=True),
    sa.Column("measured_with", sa.String(40), nullable=False),
    sa.Column("rounds", sa.JSON, nullable=False),
)
candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("study_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("trial_ids", sa.JSON, nullable=False),
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("cell_id", sa.String(40), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class Link:
    """Connect a trial to an evaluation: its technique and its levels of the other factors."""

    trial_id: str
    technique: str
    factors: Mapping[str, str]


@dataclass(frozen=True)
class StoredCandidate:
    """Hold one candidate of a study: the value of each key, and the trials that judge it."""

    number: int
    values: Mapping[str, Any]
    trial_ids: tuple[str, ...]


@dataclass(frozen=True)
class StoredTrial:
    """Hold a trial as the store keeps it."""

    id: str
    workload: str
    seed: int
    settings: Mapping[str, Any]
    result: TrialResult
    provenance: Mapping[str, Any]


def result_of(state: str, stored: Mapping[str, Any]) -> TrialResult:
    """Return the result that a row of `trials` holds; raise `ConfigError` if this version cannot read it."""
    ended = state_of(state)
    try:
        return TrialResult(
            **{**stored, "state": ended, "curve": tuple(CurvePoint(**point) for point in stored["curve"])}
        )
    except (KeyError, TypeError) as error:
        raise _unreadable("results", error) from error


def plain(result: TrialResult) -> dict[str, Any]:
    """Return a result as a row of `trials` holds it; `dataclasses.asdict` takes twenty times as long."""
    curve = [dict(vars(point)) for point in result.curve]
    return {**vars(result), "metrics": dict(result.metrics), "curve": curve}


def state_of(text: str) -> State:
    """Return the state that a stored word means; raise `ConfigError` for an unknown word."""
    try:
        return State(text)
    except ValueError as error:
        raise _unreadable("states of trials", error) from error


def from_json(text: str) -> Any:
    """Parse stored JSON; raise `ConfigError` for anything else."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unreadable("JSON", error) from error


def _unreadable(content: str, error: Exception) -> ConfigError:
    remedy = "a newer version wrote it, or another program: delete that row, or give another store.url"
    return ConfigError("store.url", f"must hold {content} that this version can read ({error})", remedy=remedy)
