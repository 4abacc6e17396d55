"""Every trial's record, in SQL (SQLite by default, any other database by URL): the source of truth.

Trials belong to no evaluation: evaluations link to the trials that they use. A cell is trained under a lease, so that
two processes never train the same trial.

Each method is one transaction, or several that may be repeated, so a method can retry during an outage of the server.
"""

import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from evalbench.errors import ConfigError, StorageError
from evalbench.store import tables
from evalbench.store.database import (
    chunks,
    insist,
    insistent,
    is_full,
    is_store,
    prepare_sqlite,
    printable,
    reason,
    wait_for_turn,
    write,
)
from evalbench.store.lease import Lease, is_dead
from evalbench.store.positions import Positions
from evalbench.store.tables import Link, StoredCandidate, StoredTrial, from_json, plain, result_of, state_of
from evalbench.trial import CurvePoint, State, TrialResult, TrialSpec

ENDED = (State.COMPLETE, State.DIVERGED, State.PRUNED)
"""States that a rerun leaves alone; FAILED is tried again."""


class Store:
    """One database: cheap to open, safe to use from several processes."""

    def __init__(self, url: str, patient: bool = False, make: bool = True) -> None:
        """Open the database and create missing tables; raise `ConfigError` if that fails.

        `patient`: retry during an outage, for a store that is opened while an evaluation is running.
        `make`: create a store; if false, refuse a database that holds none and create nothing.
        """
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            if not (make or is_store(parsed)):
                remedy = "it is another database: give the URL of a store"
                raise ConfigError("store.url", "must be a store", printable(url), remedy)
            self._engine = sa.create_engine(parsed, json_deserializer=from_json)
            self.positions = Positions(self._engine)
            weakref.finalize(self._engine, self._engine.pool.dispose)  # some drivers warn of connections left open
            if parsed.get_backend_name() == "sqlite":
                sa.event.listen(self._engine, "connect", prepare_sqlite)
                # A transaction that reads and then writes must not find the lock taken in between.
                sa.event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            version = insist(parsed, self._make_tables) if patient else self._make_tables()
        except (ArgumentError, NoSuchModuleError, DBAPIError, ImportError, OSError) as error:
            if is_full(error):
                raise StorageError(f"the store {printable(url)}", reason(error)) from error
            remedy = reason(error)
            raise ConfigError("store.url", "must be a database that can be opened", printable(url), remedy) from error
        if version != tables.SCHEMA_VERSION:
            remedy = "give another store.url, or use the version of evalbench that wrote it"
            raise ConfigError("store.url", f"must hold a store of version {tables.SCHEMA_VERSION}", url, remedy)

    def _make_tables(self) -> int:
        """Create missing tables; return the version of the schema."""
        with self._engine.begin() as connection:
            wait_for_turn(connection)
            tables.metadata.create_all(connection)
            version = connection.scalar(sa.select(tables.schema.c.version))
            if version is None:
                connection.execute(sa.insert(tables.schema).values(version=tables.SCHEMA_VERSION))
            return version or tables.SCHEMA_VERSION

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # ── trials ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @insistent
    def states(self, trial_ids: Sequence[str]) -> dict[str, State]:
        """Return the states of the known ones among some trials."""
        query = sa.select(tables.trials.c.id, tables.trials.c.state)
        with self._engine.connect() as connection:
            return {
                row.id: state_of(row.state)
                for chunk in chunks(trial_ids)
                for row in connection.execute(query.where(tables.trials.c.id.in_(chunk)))
            }

    def missing(self, trial_ids: Sequence[str]) -> list[str]:
        """Return, in the given order, the trials left to train: unknown or failed ones."""
        states = self.states(trial_ids)
        return [trial_id for trial_id in trial_ids if states.get(trial_id) not in ENDED]

    @insistent
    def trials(self, trial_ids: Sequence[str]) -> dict[str, StoredTrial]:
        """Return the known ones among some trials, by identity, in the given order."""
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in chunks(trial_ids)
                for row in connection.execute(sa.select(tables.trials).where(tables.trials.c.id.in_(chunk)))
            ]
        known = {
            row.id: StoredTrial(
                row.id, row.workload, row.seed, row.settings, result_of(row.state, row.result), row.provenance
            )
            for row in rows
        }
        return {trial_id: known[trial_id] for trial_id in trial_ids if trial_id in known}

    @insistent
    def settings(self, workload: str, root_seed: int) -> list[Mapping[str, Any]]:
        """Return the settings of every cell of a workload with an ended trial."""
        mine = (
            (tables.trials.c.workload == workload)
            & (tables.trials.c.root_seed == root_seed)
            & tables.trials.c.state.in_(ENDED)
        )
        first = sa.select(sa.func.min(tables.trials.c.id)).where(mine).group_by(tables.trials.c.cell_id)
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(tables.trials.c.settings).where(tables.trials.c.id.in_(first))))

    @insistent
    def record(
        self,
        results: Sequence[tuple[TrialSpec, TrialResult]],
        provenance: Mapping[str, Any],
        lease: "Lease | None" = None,
    ) -> None:
        """Write trials in one transaction, replacing existing rows; raise `LeaseLostError` for a lost lease."""
        rows = [
            {
                "id": spec.trial_id,
                "cell_id": spec.cell_id,
                "workload": spec.workload,
                "root_seed": spec.root_seed,
                "seed": spec.seed,
                "settings": dict(spec.settings),
                "state": result.state.value,
                "result": {name: value for name, value in plain(result).items() if name != "path"},
                "provenance": {**provenance, **({"path": dict(result.path)} if result.path else {})},
            }
            for spec, result in results
        ]
        if not rows:
            return
        with self._engine.begin() as connection:
            if lease is not None:
                lease.renew(connection)
            write(connection, tables.trials, rows, over=True)

    # ── evaluations ───────────────────────────────────────────────────────────────────────────────────────────────────

    @insistent
    def link(self, evaluation: str, design: Mapping[str, Any], links: Sequence[Link]) -> None:
        """Set the trials of an evaluation, replacing earlier links."""
        rows = [{"evaluation": evaluation, "position": position, **asdict(link)} for position, link in enumerate(links)]
        with self._engine.begin() as connection:
            write(
                connection, tables.evaluations, [{"name": evaluation, "design": dict(design)}], over=True
            )  # others wait
            mine = tables.links.c.evaluation == evaluation
            before = set(connection.scalars(sa.select(tables.links.c.trial_id).where(mine)))
            for chunk in chunks(sorted(before - {link.trial_id for link in links})):
                connection.execute(sa.delete(tables.links).where(mine, tables.links.c.trial_id.in_(chunk)))
            write(connection, tables.links, rows, over=True)

    def add_links(self, evaluation: str, links: Sequence[Link]) -> None:
        """Append trials to an evaluation; trials that it already has keep their position."""
        first = len(self.links(evaluation))
        rows = [{"evaluation": evaluation, "position": first + n, **asdict(link)} for n, link in enumerate(links)]
        self._insert_new(tables.links, rows)

    @insistent
    def design(self, evaluation: str) -> dict[str, Any]:
        """Return the design that `link` was given."""
        with self._engine.connect() as connection:
            query = sa.select(tables.evaluations.c.design).where(tables.evaluations.c.name == evaluation)
            return dict(connection.execute(query).scalar_one())

    @insistent
    def has_design(self, evaluation: str) -> bool:
        """Return whether `link` was ever called for the evaluation."""
        query = sa.select(tables.evaluations.c.name).where(tables.evaluations.c.name == evaluation)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    @insistent
    def links(self, evaluation: str, trial_ids: Sequence[str] | None = None) -> list[Link]:
        """Return the evaluation's links in their order, of all or of some trials."""
        query = sa.select(tables.links).where(tables.links.c.evaluation == evaluation).order_by(tables.links.c.position)
        with self._engine.connect() as connection:
            links = [Link(row.trial_id, row.technique, row.factors) for row in connection.execute(query)]
        return links if trial_ids is None else [link for link in links if link.trial_id in set(trial_ids)]

    @insistent
    def count_states(self, evaluation: str) -> dict[State, int]:
        """Return the number of an evaluation's trials in each state, without trials that were never trained."""
        query = (
            sa.select(tables.trials.c.state, sa.func.count())
            .join(tables.links, tables.links.c.trial_id == tables.trials.c.id)
            .where(tables.links.c.evaluation == evaluation)
            .group_by(tables.trials.c.state)
        )
        with self._engine.connect() as connection:
            return {state_of(state): count for state, count in connection.execute(query)}

    @insistent
    def unmirrored(self, evaluation: str, tracker: str) -> list[str]:
        """Return the evaluation's ended trials that a tracker, named by a hash, still lacks."""
        query = (
            sa.select(tables.links.c.trial_id)
            .join(tables.trials, tables.links.c.trial_id == tables.trials.c.id)
            .outerjoin(
                tables.mirrors,
                (tables.mirrors.c.evaluation == tables.links.c.evaluation)
                & (tables.mirrors.c.trial_id == tables.links.c.trial_id)
                & (tables.mirrors.c.tracker == tracker),
            )
            .where(
                tables.links.c.evaluation == evaluation,
                tables.trials.c.state.in_(ENDED),
                tables.mirrors.c.trial_id.is_(None),
            )
            .order_by(tables.links.c.position)
        )
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def note_mirrored(self, evaluation: str, trial_ids: Sequence[str], tracker: str) -> None:
        """Remember that a tracker has these trials."""
        rows = [{"evaluation": evaluation, "trial_id": trial_id, "tracker": tracker} for trial_id in trial_ids]
        self._insert_new(tables.mirrors, rows)

    @insistent
    def is_mirrored(self, evaluation: str, trial_id: str, tracker: str) -> bool:
        """Return whether a tracker has this trial, or another record with an identity."""
        row = sa.and_(
            tables.mirrors.c.evaluation == evaluation,
            tables.mirrors.c.trial_id == trial_id,
            tables.mirrors.c.tracker == tracker,
        )
        with self._engine.connect() as connection:
            return connection.execute(sa.select(tables.mirrors).where(row)).first() is not None

    @insistent
    def describe(self, evaluation: str, content: Mapping[str, Any]) -> None:
        """Keep the description of an evaluation that trackers are given beside its links and trials."""
        with self._engine.begin() as connection:
            row = {"evaluation": evaluation, "content": dict(content)}
            write(connection, tables.descriptions, [row], over=True)

    @insistent
    def description(self, evaluation: str) -> dict[str, Any] | None:
        """Return the description that `describe` was given, or None."""
        query = sa.select(tables.descriptions.c.content).where(tables.descriptions.c.evaluation == evaluation)
        with self._engine.connect() as connection:
            content = connection.scalar(query)
            return None if content is None else dict(content)

    @insistent
    def described(self) -> list[str]:
        """Return the names of all evaluations that have a description."""
        with self._engine.connect() as connection:
            return list(
                connection.scalars(
                    sa.select(tables.descriptions.c.evaluation).order_by(tables.descriptions.c.evaluation)
                )
            )

    # ── trials in training ────────────────────────────────────────────────────────────────────────────────────────────

    def add_points(self, curves: Mapping[str, Sequence[CurvePoint]], first: int) -> None:
        """Write points of the curves of trials in training, by trial; `first` is the index of their first point."""
        rows = [
            {"trial_id": trial_id, "place": index, "point": asdict(point)}
            for trial_id, points in curves.items()
            for index, point in enumerate(points, first)
        ]
        self._insert_new(tables.points, rows)

    @insistent
    def points(self, trial_ids: Sequence[str]) -> dict[str, list[CurvePoint]]:
        """Return the curves so far of trials in training, up to the first gap."""
        curves: dict[str, list[CurvePoint]] = {}
        with self._engine.connect() as connection:
            for chunk in chunks(trial_ids):
                query = (
                    sa.select(tables.points).where(tables.points.c.trial_id.in_(chunk)).order_by(tables.points.c.place)
                )
                for row in connection.execute(query):
                    curve = curves.setdefault(row.trial_id, [])
                    if row.place == len(curve):
                        curve.append(CurvePoint(**row.point))
        return curves

    @insistent
    def remove_points(self, trial_ids: Sequence[str]) -> None:
        """Delete the curves of trials that have ended or start over."""
        with self._engine.begin() as connection:
            for chunk in chunks(trial_ids):
                connection.execute(sa.delete(tables.points).where(tables.points.c.trial_id.in_(chunk)))

    @insistent
    def trainers(self, cell_ids: Sequence[str]) -> dict[str, int]:
        """Return the process of this machine that trains each cell now, by cell."""
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in chunks(cell_ids)
                for row in connection.execute(sa.select(tables.leases).where(tables.leases.c.cell_id.in_(chunk)))
            ]
        owners = {row.cell_id: row.owner.rsplit(":", 2) for row in rows if not is_dead(row.owner)}
        return {cell_id: int(pid) for cell_id, (host, pid, _) in owners.items() if host == socket.gethostname()}

    # ── studies ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @insistent
    def candidates(self, study_id: str) -> list[StoredCandidate]:
        """Return a study's candidates in the order in which it asked for them."""
        query = (
            sa.select(tables.candidates)
            .where(tables.candidates.c.study_id == study_id)
            .order_by(tables.candidates.c.number)
        )
        with self._engine.connect() as connection:
            return [
                StoredCandidate(row.number, row._mapping[tables.candidates.c["values"]], tuple(row.trial_ids))
                for row in connection.execute(query)
            ]

    @insistent
    def count_tried(self, study_ids: Sequence[str]) -> int:
        """Return the number of ended trials of some studies."""
        query = sa.select(tables.candidates.c.trial_ids)
        with self._engine.connect() as connection:
            ids = {
                trial_id
                for chunk in chunks(study_ids)
                for trial_ids in connection.scalars(query.where(tables.candidates.c.study_id.in_(chunk)))
                for trial_id in trial_ids
            }
        return len(self.states(list(ids)))

    def record_candidates(self, study_id: str, candidates: Sequence[StoredCandidate]) -> None:
        """Write candidates before they are trained; existing ones are left alone."""
        self._insert_new(
            tables.candidates,
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

    @insistent
    def references(self, workload_id: str) -> dict[tuple[int, str], dict[str, float]]:
        """Return the metrics of a workload's reference predictors, by seed and reference."""
        query = sa.select(tables.references).where(tables.references.c.workload_id == workload_id)
        with self._engine.connect() as connection:
            return {(row.seed, row.reference): row.metrics for row in connection.execute(query)}

    def record_references(self, workload_id: str, metrics: Mapping[tuple[int, str], Mapping[str, float]]) -> None:
        """Write reference rows; existing ones are left alone, because they are the same."""
        rows = [
            {"workload_id": workload_id, "seed": seed, "reference": reference, "metrics": dict(values)}
            for (seed, reference), values in metrics.items()
        ]
        self._insert_new(tables.references, rows)

    # ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @insistent
    def costs(self, cell_ids: Sequence[str], machine: str) -> dict[str, list[dict[str, Any]]] | None:
        """Return the timing rounds of cells on a machine, or None unless all were measured side by side."""
        query = sa.select(tables.costs).where(tables.costs.c.machine == machine)
        with self._engine.connect() as connection:
            rows = [
                row
                for chunk in chunks(cell_ids)
                for row in connection.execute(query.where(tables.costs.c.cell_id.in_(chunk)))
            ]
        together = {row.measured_with for row in rows}
        if len(rows) < len(set(cell_ids)) or len(together) != 1:
            return None
        return {row.cell_id: row.rounds for row in rows}

    @insistent
    def record_costs(self, costs: Mapping[str, Sequence[Mapping[str, Any]]], machine: str) -> None:
        """Write the timing rounds of cells that were measured side by side, replacing existing rows."""
        together = uuid4().hex
        rows = [
            {"cell_id": cell_id, "machine": machine, "measured_with": together, "rounds": [dict(r) for r in rounds]}
            for cell_id, rounds in costs.items()
        ]
        with self._engine.begin() as connection:
            write(connection, tables.costs, rows, over=True)

    @insistent
    def _insert_new(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, skipping existing ones."""
        with self._engine.begin() as connection:
            write(connection, table, rows, over=False)

    # ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def lease(self, cell_id: str, poll_seconds: float = 0.5) -> Iterator["Lease"]:
        """Wait for the lease of a cell, hold it, and renew it in the background until the end."""
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
