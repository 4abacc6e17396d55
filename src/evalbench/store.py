"""The truth: every trial's record, in SQL through SQLAlchemy (SQLite by default, any other database by URL).

Trials belong to no evaluation: evaluations link to the trials that they use. A cell is trained under a lease, so that
two processes never train the same trial; a lease expires when its owner stops renewing it.

A server that does not answer in the middle is waited for, and what was asked of it is asked again: each method is one
transaction, or several that may be repeated.
"""

import functools
import json
import logging
import os
import socket
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)

from evalbench.errors import ConfigError, LeaseLostError, StorageError
from evalbench.trial import CurvePoint, State, TrialResult, TrialSpec

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
LEASE_SECONDS = 60.0
BUSY_SECONDS = 60
"""How long SQLite waits for another process."""
OUTAGE_SECONDS = 300.0
"""How long a server that does not answer is waited for."""
RETRY_SECONDS = 1.0
LOCK = 0x6576616C
"""The number of our lock in a PostgreSQL database."""
ENDED = (State.COMPLETE, State.DIVERGED, State.PRUNED)
"""States that a rerun leaves alone; FAILED is tried again."""

_metadata = sa.MetaData()
_schema = sa.Table("schema", _metadata, sa.Column("version", sa.Integer, primary_key=True))
_trials = sa.Table(
    "trials",
    _metadata,
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
_evaluations = sa.Table(
    "evaluations",
    _metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("design", sa.JSON, nullable=False),
)
_links = sa.Table(
    "links",
    _metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("technique", sa.String, nullable=False),
    sa.Column("factors", sa.JSON, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
)
_mirrors = sa.Table(
    "mirrors",
    _metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("tracker", sa.String(40), primary_key=True),
)
_descriptions = sa.Table(
    "descriptions",
    _metadata,
    sa.Column("evaluation", sa.String(200), primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
)
_points = sa.Table(
    "points",
    _metadata,
    sa.Column("trial_id", sa.String(40), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("point", sa.JSON, nullable=False),
)
_references = sa.Table(
    "reference_rows",
    _metadata,
    sa.Column("workload_id", sa.String(40), primary_key=True),
    sa.Column("seed", sa.Integer, primary_key=True),
    sa.Column("reference", sa.String(40), primary_key=True),
    sa.Column("metrics", sa.JSON, nullable=False),
)
_costs = sa.Table(
    "costs",
    _metadata,
    sa.Column("cell_id", sa.String(40), primary_key=True),
    sa.Column("machine", sa.String(200), primary_key=True),
    sa.Column("measured_with", sa.String(40), nullable=False),
    sa.Column("rounds", sa.JSON, nullable=False),
)
_candidates = sa.Table(
    "candidates",
    _metadata,
    sa.Column("study_id", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("trial_ids", sa.JSON, nullable=False),
)
_leases = sa.Table(
    "leases",
    _metadata,
    sa.Column("cell_id", sa.String(40), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class Link:
    """One trial's place in an evaluation: its technique and its values of the other factors."""

    trial_id: str
    technique: str
    factors: Mapping[str, str]


@dataclass(frozen=True)
class StoredCandidate:
    """One set of hyperparameters that a study tried: the value of each key, and the trials that judge it."""

    number: int
    values: Mapping[str, Any]
    trial_ids: tuple[str, ...]


@dataclass(frozen=True)
class StoredTrial:
    """A trial as the store keeps it."""

    id: str
    workload: str
    seed: int
    settings: Mapping[str, Any]
    result: TrialResult
    provenance: Mapping[str, Any]


# ── a server that does not answer, a disk that is full ────────────────────────────────────────────────────────────────

T = TypeVar("T")
P = ParamSpec("P")
Owner = TypeVar("Owner", "Store", "Lease")
_unanswered: set[str] = set()
"""Addresses of which it was said that they do not answer."""


def _insist(url: sa.URL, work: Callable[[], T]) -> T:
    """Do something with a database, again and again while it does not answer; raise `StorageError` in the end."""
    where = f"the store {url.render_as_string(hide_password=True)}"
    end = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            result = work()
        except DBAPIError as error:
            if not _may_pass(error, url) or time.monotonic() > end:
                raise StorageError(where, _reason(error)) from error
            if where not in _unanswered:
                _unanswered.add(where)
                log.warning("%s does not answer (%s); trying for %g s", where, _reason(error), OUTAGE_SECONDS)
            time.sleep(RETRY_SECONDS)
        else:
            _unanswered.discard(where)
            return result


def _insistent(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """Make a method wait for a server that does not answer; see `_insist`."""

    @functools.wraps(method)
    def insistent(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _insist(self._engine.url, lambda: method(self, *args, **kwargs))

    return insistent


def _may_pass(error: DBAPIError, url: sa.URL) -> bool:
    """Return whether a server was not to be reached, was shutting down or starting, or ended a deadlock."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    away = isinstance(error, OperationalError | InterfaceError) and url.get_backend_name() != "sqlite"
    return error.connection_invalidated or (away and (code is None or code.startswith(("08", "40", "53300", "57P"))))


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def _is_full(error: Exception) -> bool:
    return any(words in _reason(error) for words in ("disk is full", "disk I/O error", "No space left"))


class Store:
    """One database. Cheap to open; safe to use from several processes."""

    def __init__(self, url: str, patient: bool = False, make: bool = True) -> None:
        """Open the database and make its tables where they are missing; raise `ConfigError` where that fails.

        A `patient` one, opened while an evaluation is under way, waits for a server that does not answer. Nothing is
        made, and a database without a store is refused, where `make` is false.
        """
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            if not (make or _is_store(parsed)):
                remedy = "it is another database: name the right one"
                raise ConfigError("store.url", "must be a store", printable(url), remedy)
            self._engine = sa.create_engine(parsed, json_deserializer=_from_json)
            weakref.finalize(self._engine, self._engine.pool.dispose)  # some drivers warn of connections left open
            if parsed.get_backend_name() == "sqlite":
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
                # A transaction that reads and then writes must not find the lock taken in between.
                sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            version = _insist(parsed, self._make_tables) if patient else self._make_tables()
        except (ArgumentError, NoSuchModuleError, DBAPIError, ImportError, OSError) as error:
            if _is_full(error):
                raise StorageError(f"the store {printable(url)}", _reason(error)) from error
            remedy = _reason(error)
            raise ConfigError("store.url", "must be a database that can be opened", printable(url), remedy) from error
        if version != SCHEMA_VERSION:
            remedy = "give another store.url, or use the version of evalbench that wrote it"
            raise ConfigError("store.url", f"must hold a store of version {SCHEMA_VERSION}", url, remedy)

    def _make_tables(self) -> int:
        """Make the tables where they are missing; return the version of the schema."""
        with self._engine.begin() as connection:
            _wait_for_turn(connection)
            _metadata.create_all(connection)
            version = connection.scalar(sa.select(_schema.c.version))
            if version is None:
                connection.execute(sa.insert(_schema).values(version=SCHEMA_VERSION))
            return version or SCHEMA_VERSION

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    # ── trials ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @_insistent
    def states(self, trial_ids: Sequence[str]) -> dict[str, State]:
        """Return the states of those trials that the store knows."""
        query = sa.select(_trials.c.id, _trials.c.state)
        with self._engine.connect() as connection:
            return {
                row.id: _state(row.state)
                for chunk in _chunks(trial_ids)
                for row in connection.execute(query.where(_trials.c.id.in_(chunk)))
            }

    def missing(self, trial_ids: Sequence[str]) -> list[str]:
        """Return, in order, those trials that are still to be trained: unknown or failed ones."""
        states = self.states(trial_ids)
        return [trial_id for trial_id in trial_ids if states.get(trial_id) not in ENDED]

    @_insistent
    def trials(self, trial_ids: Sequence[str]) -> dict[str, StoredTrial]:
        """Return those trials that the store knows, by identity, in the order asked for."""
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in _chunks(trial_ids)
                for row in connection.execute(sa.select(_trials).where(_trials.c.id.in_(chunk)))
            ]
        known = {
            row.id: StoredTrial(
                row.id, row.workload, row.seed, row.settings, _result(row.state, row.result), row.provenance
            )
            for row in rows
        }
        return {trial_id: known[trial_id] for trial_id in trial_ids if trial_id in known}

    @_insistent
    def settings(self, workload: str, root_seed: int) -> list[Mapping[str, Any]]:
        """Return the settings of every cell of a workload that has a trial which has ended."""
        mine = (_trials.c.workload == workload) & (_trials.c.root_seed == root_seed) & _trials.c.state.in_(ENDED)
        first = sa.select(sa.func.min(_trials.c.id)).where(mine).group_by(_trials.c.cell_id)
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(_trials.c.settings).where(_trials.c.id.in_(first))))

    @_insistent
    def record(
        self,
        results: Sequence[tuple[TrialSpec, TrialResult]],
        provenance: Mapping[str, Any],
        lease: "Lease | None" = None,
    ) -> None:
        """Write trials in one transaction, over what is there of them; under a lease, only while it is still held.

        Raises `LeaseLostError`.
        """
        rows = [
            {
                "id": spec.trial_id(),
                "cell_id": spec.cell_id(),
                "workload": spec.workload,
                "root_seed": spec.root_seed,
                "seed": spec.seed,
                "settings": dict(spec.settings),
                "state": result.state.value,
                "result": asdict(result),
                "provenance": dict(provenance),
            }
            for spec, result in results
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            if lease is not None:
                lease.renew(connection)
            _write(connection, _trials, rows, over=True)

    # ── evaluations ───────────────────────────────────────────────────────────────────────────────────────────────────

    @_insistent
    def link(self, evaluation: str, design: Mapping[str, Any], links: Sequence[Link]) -> None:
        """Say which trials an evaluation is made of, in place of what was said before."""
        rows = [{"evaluation": evaluation, "position": position, **asdict(link)} for position, link in enumerate(links)]
        with self._engine.begin() as connection:
            _write(connection, _evaluations, [{"name": evaluation, "design": dict(design)}], over=True)  # others wait
            mine = _links.c.evaluation == evaluation
            before = set(connection.scalars(sa.select(_links.c.trial_id).where(mine)))
            for chunk in _chunks(sorted(before - {link.trial_id for link in links})):
                connection.execute(sa.delete(_links).where(mine, _links.c.trial_id.in_(chunk)))
            _write(connection, _links, rows, over=True)

    def add_links(self, evaluation: str, links: Sequence[Link]) -> None:
        """Add trials to an evaluation, behind the others; one that it has already stays where it is."""
        first = len(self.links(evaluation))
        rows = [{"evaluation": evaluation, "position": first + n, **asdict(link)} for n, link in enumerate(links)]
        self._insert_new(_links, rows)

    @_insistent
    def design(self, evaluation: str) -> dict[str, Any]:
        """Return what `link` was told about the evaluation."""
        with self._engine.connect() as connection:
            query = sa.select(_evaluations.c.design).where(_evaluations.c.name == evaluation)
            return dict(connection.execute(query).scalar_one())

    @_insistent
    def has_design(self, evaluation: str) -> bool:
        """Whether `link` was ever told about the evaluation."""
        query = sa.select(_evaluations.c.name).where(_evaluations.c.name == evaluation)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    @_insistent
    def links(self, evaluation: str, trial_ids: Sequence[str] | None = None) -> list[Link]:
        """Return the evaluation's links in the order in which they were given, all or those of some trials."""
        query = sa.select(_links).where(_links.c.evaluation == evaluation).order_by(_links.c.position)
        with self._engine.connect() as connection:
            links = [Link(row.trial_id, row.technique, row.factors) for row in connection.execute(query)]
        return links if trial_ids is None else [link for link in links if link.trial_id in set(trial_ids)]

    @_insistent
    def count_states(self, evaluation: str) -> dict[State, int]:
        """Return how many of an evaluation's trials are in each state; those never trained are not counted."""
        query = (
            sa.select(_trials.c.state, sa.func.count())
            .join(_links, _links.c.trial_id == _trials.c.id)
            .where(_links.c.evaluation == evaluation)
            .group_by(_trials.c.state)
        )
        with self._engine.connect() as connection:
            return {_state(state): count for state, count in connection.execute(query)}

    @_insistent
    def unmirrored(self, evaluation: str, tracker: str) -> list[str]:
        """Return the evaluation's ended trials that a tracker, named by a hash, does not have yet."""
        query = (
            sa.select(_links.c.trial_id)
            .join(_trials, _links.c.trial_id == _trials.c.id)
            .outerjoin(
                _mirrors,
                (_mirrors.c.evaluation == _links.c.evaluation)
                & (_mirrors.c.trial_id == _links.c.trial_id)
                & (_mirrors.c.tracker == tracker),
            )
            .where(_links.c.evaluation == evaluation, _trials.c.state.in_(ENDED), _mirrors.c.trial_id.is_(None))
            .order_by(_links.c.position)
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def note_mirrored(self, evaluation: str, trial_ids: Sequence[str], tracker: str) -> None:
        """Remember that a tracker has these trials."""
        rows = [{"evaluation": evaluation, "trial_id": trial_id, "tracker": tracker} for trial_id in trial_ids]
        self._insert_new(_mirrors, rows)

    @_insistent
    def is_mirrored(self, evaluation: str, trial_id: str, tracker: str) -> bool:
        """Whether a tracker has this trial, or whatever else goes by an identity."""
        row = sa.and_(
            _mirrors.c.evaluation == evaluation, _mirrors.c.trial_id == trial_id, _mirrors.c.tracker == tracker
        )
        with self._engine.connect() as connection:
            return connection.execute(sa.select(_mirrors).where(row)).first() is not None

    @_insistent
    def describe(self, evaluation: str, content: Mapping[str, Any]) -> None:
        """Keep what trackers are told of an evaluation beside its links and trials."""
        with self._engine.begin() as connection:
            row = {"evaluation": evaluation, "content": dict(content)}
            _write(connection, _descriptions, [row], over=True)

    @_insistent
    def description(self, evaluation: str) -> dict[str, Any] | None:
        """Return what `describe` was told, or None."""
        query = sa.select(_descriptions.c.content).where(_descriptions.c.evaluation == evaluation)
        with self._engine.connect() as connection:
            content = connection.scalar(query)
            return None if content is None else dict(content)

    @_insistent
    def described(self) -> list[str]:
        """Return the names of all evaluations that have a description."""
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(_descriptions.c.evaluation).order_by(_descriptions.c.evaluation)))

    # ── trials in training ────────────────────────────────────────────────────────────────────────────────────────────

    def add_points(self, curves: Mapping[str, Sequence[CurvePoint]], first: int) -> None:
        """Write points of the curves of trials in training, by trial; `first` is their place in the curve."""
        rows = [
            {"trial_id": trial_id, "place": place, "point": asdict(point)}
            for trial_id, points in curves.items()
            for place, point in enumerate(points, first)
        ]
        self._insert_new(_points, rows)

    @_insistent
    def points(self, trial_ids: Sequence[str]) -> dict[str, list[CurvePoint]]:
        """Return the curves so far of those trials that are in training and have one, up to the first gap."""
        curves: dict[str, list[CurvePoint]] = {}
        with self._engine.connect() as connection:
            for chunk in _chunks(trial_ids):
                query = sa.select(_points).where(_points.c.trial_id.in_(chunk)).order_by(_points.c.place)
                for row in connection.execute(query):
                    curve = curves.setdefault(row.trial_id, [])
                    if row.place == len(curve):
                        curve.append(CurvePoint(**row.point))
        return curves

    @_insistent
    def remove_points(self, trial_ids: Sequence[str]) -> None:
        """Forget the curves of trials in training: they have ended, or begin anew."""
        with self._engine.begin() as connection:
            for chunk in _chunks(trial_ids):
                connection.execute(sa.delete(_points).where(_points.c.trial_id.in_(chunk)))

    @_insistent
    def trainers(self, cell_ids: Sequence[str]) -> dict[str, int]:
        """Return the processes of this machine that train cells now, by cell."""
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in _chunks(cell_ids)
                for row in connection.execute(sa.select(_leases).where(_leases.c.cell_id.in_(chunk)))
            ]
        owners = {row.cell_id: row.owner.rsplit(":", 2) for row in rows if not _is_dead(row.owner)}
        return {cell_id: int(pid) for cell_id, (host, pid, _) in owners.items() if host == socket.gethostname()}

    # ── studies ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @_insistent
    def candidates(self, study_id: str) -> list[StoredCandidate]:
        """Return what a study has asked for, in that order."""
        query = sa.select(_candidates).where(_candidates.c.study_id == study_id).order_by(_candidates.c.number)
        with self._engine.connect() as connection:
            return [
                StoredCandidate(row.number, row._mapping[_candidates.c["values"]], tuple(row.trial_ids))
                for row in connection.execute(query)
            ]

    @_insistent
    def count_tried(self, study_ids: Sequence[str]) -> int:
        """Return how many trials of some studies have ended, one way or another."""
        query = sa.select(_candidates.c.trial_ids)
        with self._engine.connect() as connection:
            ids = {
                trial_id
                for chunk in _chunks(study_ids)
                for trial_ids in connection.scalars(query.where(_candidates.c.study_id.in_(chunk)))
                for trial_id in trial_ids
            }
        return len(self.states(list(ids)))

    def record_candidates(self, study_id: str, candidates: Sequence[StoredCandidate]) -> None:
        """Write what a study asks for, before any of it is trained; one that is there already is left alone."""
        self._insert_new(
            _candidates,
            [
                {
                    "study_id": study_id,
                    "number": candidate.number,
                    "values": dict(candidate.values),
                    "trial_ids": list(candidate.trial_ids),
                }
                for candidate in candidates
            ],
        )

    # ── reference rows ────────────────────────────────────────────────────────────────────────────────────────────────

    @_insistent
    def references(self, workload_id: str) -> dict[tuple[int, str], dict[str, float]]:
        """Return the metrics of a workload's reference predictors, by seed and reference."""
        query = sa.select(_references).where(_references.c.workload_id == workload_id)
        with self._engine.connect() as connection:
            return {(row.seed, row.reference): row.metrics for row in connection.execute(query)}

    def record_references(self, workload_id: str, metrics: Mapping[tuple[int, str], Mapping[str, float]]) -> None:
        """Write reference rows; one that is there already is left alone, being the same."""
        rows = [
            {"workload_id": workload_id, "seed": seed, "reference": reference, "metrics": dict(values)}
            for (seed, reference), values in metrics.items()
        ]
        self._insert_new(_references, rows)

    # ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @_insistent
    def costs(self, cell_ids: Sequence[str], machine: str) -> dict[str, list[dict[str, Any]]] | None:
        """Return the rounds of these cells on a machine, or None unless all were measured side by side."""
        query = sa.select(_costs).where(_costs.c.machine == machine)
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in _chunks(cell_ids)
                for row in connection.execute(query.where(_costs.c.cell_id.in_(chunk)))
            ]
        together = {row.measured_with for row in rows}
        if len(rows) < len(set(cell_ids)) or len(together) != 1:
            return None
        return {row.cell_id: row.rounds for row in rows}

    @_insistent
    def record_costs(self, costs: Mapping[str, Sequence[Mapping[str, Any]]], machine: str) -> None:
        """Write the rounds of cells that were measured side by side, over what is there of them."""
        together = uuid4().hex
        rows = [
            {"cell_id": cell_id, "machine": machine, "measured_with": together, "rounds": [dict(r) for r in rounds]}
            for cell_id, rounds in costs.items()
        ]
        with self._engine.begin() as connection:
            _write(connection, _costs, rows, over=True)

    @_insistent
    def _insert_new(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, passing over those that are there already."""
        with self._engine.begin() as connection:
            _write(connection, table, rows, over=False)

    # ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def lease(self, cell_id: str, poll_seconds: float = 0.5) -> Iterator["Lease"]:
        """Hold a cell for this process, waiting until nobody else does; renewed in the background until the end."""
        lease = Lease(self._engine, cell_id)
        while not lease.claim():
            time.sleep(poll_seconds)
        stop = threading.Event()
        thread = threading.Thread(target=lease.keep, args=(stop,), daemon=True)
        thread.start()
        try:
            yield lease
        finally:
            stop.set()
            thread.join()
            with suppress(StorageError):  # it will expire
                lease.release()


def printable(url: str) -> str:
    """Return the address of a store without its password."""
    with suppress(ArgumentError):
        return make_url(url).render_as_string(hide_password=True)
    return url


@contextmanager
def alone_in(url: str, schema: str) -> Iterator[None]:
    """Make a schema in a PostgreSQL database for tables that are not ours; other processes wait for their turn."""
    engine = sa.create_engine(url)
    with engine.begin() as turn:
        _wait_for_turn(turn)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        yield
    engine.dispose()


def _wait_for_turn(connection: sa.Connection) -> None:
    """Let processes make tables one after the other; `IF NOT EXISTS` is no protection from each other."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def _write(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], over: bool) -> None:
    """Insert rows in one statement, over those that are there or passing them by, whoever else does the same now."""
    keys = [column.name for column in table.primary_key]
    rows = sorted(rows, key=lambda row: [row[key] for key in keys])  # in one order, or two might wait for each other
    if not rows:
        return
    insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(connection.dialect.name, sa.insert)(
        table
    )
    if not hasattr(insert, "on_conflict_do_nothing"):
        for row in rows:
            with suppress(IntegrityError), connection.begin_nested():
                if over:
                    connection.execute(sa.delete(table).where(*(table.c[key] == row[key] for key in keys)))
                connection.execute(sa.insert(table).values(**row))
        return
    new = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    insert = (
        insert.on_conflict_do_update(index_elements=keys, set_=new) if over and new else insert.on_conflict_do_nothing()
    )
    connection.execute(insert, rows)


class Lease:
    """This process's hold on one cell."""

    def __init__(self, engine: sa.Engine, cell_id: str, seconds: float = LEASE_SECONDS) -> None:
        self._engine = engine
        self._mine = _leases.c.cell_id == cell_id
        self._cell_id = cell_id
        self._seconds = seconds
        self._seen: tuple[str, float] | None = None
        self._seen_since = 0.0
        self._has_said = False
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"

    @_insistent
    def claim(self) -> bool:
        """Take the cell if it is free, its lease is not renewed any more, or its owner on this machine is dead."""
        with self._engine.begin() as connection:
            now = _now(connection)
            values = {"owner": self.owner, "expires": now + self._seconds}
            held = connection.execute(sa.select(_leases).where(self._mine)).one_or_none()
            if held is None:
                _write(connection, _leases, [{"cell_id": self._cell_id, **values}], over=False)
                return connection.scalar(sa.select(_leases.c.owner).where(self._mine)) == self.owner
            if held.owner != self.owner and held.expires > now and not _is_dead(held.owner):
                self._say(held.owner, held.expires - now)
                if not self._is_abandoned(held.owner, held.expires):
                    return False
            same = self._mine & (_leases.c.owner == held.owner) & (_leases.c.expires == held.expires)
            return connection.execute(sa.update(_leases).where(same).values(**values)).rowcount == 1

    def _is_abandoned(self, owner: str, expires: float) -> bool:
        """Return whether a lease was not renewed while it was watched, whatever its date: a clock may be wrong."""
        if self._seen != (owner, expires):
            self._seen, self._seen_since = (owner, expires), time.monotonic()
        return time.monotonic() - self._seen_since > 2 * self._seconds

    def _say(self, owner: str, seconds_left: float) -> None:
        """Say once who is waited for, and that a clock is wrong where a lease would last longer than leases do."""
        if self._has_said:
            return
        self._has_said = True
        host, pid, _ = owner.rsplit(":", 2)
        who = f"process {pid} on {host}, which has {self._cell_id}"
        if seconds_left <= 2 * self._seconds:
            log.info("waiting for %s", who)
            return
        until = datetime.fromtimestamp(0, UTC) + timedelta(seconds=min(time.time() + seconds_left, 2.5e11))
        log.warning(
            "waiting for %s until %s, it says, though a lease lasts %g s: the clock of %s is wrong, or that of this"
            " machine; if it does not renew the lease within %g s, this process takes over",
            who, f"{until:%Y-%m-%d %H:%M} UTC", self._seconds, host, 2 * self._seconds,
        )  # fmt: skip

    def renew(self, connection: sa.Connection) -> None:
        """Extend the lease within a transaction; raise `LeaseLostError` where another process has taken the cell."""
        mine = sa.update(_leases).where(self._mine, _leases.c.owner == self.owner)
        if connection.execute(mine.values(expires=_now(connection) + self._seconds)).rowcount != 1:
            raise LeaseLostError(f"cell {self._cell_id} was taken over by another process after {self._seconds:g} s")

    def keep(self, stop: threading.Event) -> None:
        """Renew again and again until told to stop; a lost lease is noticed when the results are written."""
        pause = self._seconds / 4
        while not stop.wait(pause):
            pause = min(RETRY_SECONDS, self._seconds / 4)
            with suppress(DBAPIError):
                try:
                    with self._engine.begin() as connection:
                        self.renew(connection)
                except LeaseLostError:
                    return
                pause = self._seconds / 4

    @_insistent
    def release(self) -> None:
        """Free the cell, if it is still held."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_leases).where(self._mine & (_leases.c.owner == self.owner)))


def _now(connection: sa.Connection) -> float:
    """Return the time that leases go by: a server's own, for the clocks of its clients may differ."""
    if connection.dialect.name != "postgresql":
        return time.time()
    return float(connection.scalars(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).one())


def _is_dead(owner: str) -> bool:
    host, pid, _ = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Readers do not wait for the writer, writers wait for each other."""
    connection.execute(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}").close()
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:  # SQLite does not wait here for another process that does the same
            if "locked" not in str(error) or time.monotonic() > patience:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=NORMAL").close()
    connection.isolation_level = None  # let SQLAlchemy's BEGIN below take the lock at once


def _is_store(url: sa.URL) -> bool:
    """Return whether a database holds a store, without a setting or a table that would change it."""
    engine = sa.create_engine(url)
    try:
        return sa.inspect(engine).has_table(_trials.name)
    finally:
        engine.dispose()


def _result(state: str, stored: Mapping[str, Any]) -> TrialResult:
    ended = _state(state)
    try:
        return TrialResult(
            **{**stored, "state": ended, "curve": tuple(CurvePoint(**point) for point in stored["curve"])}
        )
    except (KeyError, TypeError) as error:
        raise _unreadable("results", error) from error


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError as error:
        raise _unreadable("states of trials", error) from error


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _unreadable("JSON", error) from error


def _unreadable(what: str, error: Exception) -> ConfigError:
    remedy = "a newer version wrote it, or another program: delete that row, or give another store.url"
    return ConfigError("store.url", f"must hold {what} that this version can read ({error})", remedy=remedy)


def _chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Databases limit the number of values in one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
