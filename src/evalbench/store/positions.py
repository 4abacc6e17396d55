"""How far the trials in training have come: the process that trains a cell writes it, and the terminal reads it."""

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from evalbench.store import tables
from evalbench.store.database import chunks, insistent, now, write
from evalbench.store.lease import is_dead
from evalbench.store.tables import state_of
from evalbench.trial import Position, State


class Positions:
    """The positions of the trials that cells and studies train now."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def note(self, cell_id: str, position: Position) -> None:
        """Write the position of the trials that a cell trains."""
        with self._engine.begin() as connection:
            write(connection, tables.positions, [{"cell_id": cell_id, **position._asdict()}], over=True)

    @insistent
    def forget(self, cell_id: str) -> None:
        """Delete the position of trials that have ended."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(tables.positions).where(tables.positions.c.cell_id == cell_id))

    @insistent
    def of(self, cell_ids: Sequence[str]) -> dict[str, Position | None]:
        """Return the cells and studies that a process trains now, with their position; None if it is not known."""
        leases, positions = tables.leases, tables.positions
        query = sa.select(leases, positions.c.members, positions.c.step, positions.c.steps).outerjoin_from(
            leases, positions, leases.c.cell_id == positions.c.cell_id
        )
        with self._engine.connect() as connection:
            time_now = now(connection)
            rows = [
                row
                for chunk in chunks(cell_ids)
                for row in connection.execute(query.where(leases.c.cell_id.in_(chunk)))
            ]
        held = [row for row in rows if row.expires > time_now and not is_dead(row.owner)]
        return {row.cell_id: None if row.steps is None else Position(row.members, row.step, row.steps) for row in held}

    @insistent
    def count_ended(self, evaluation: str) -> dict[str, Counter[State]]:
        """Return the number of an evaluation's trials in each state, by cell; tuned settings are a cell."""
        query = (
            sa.select(tables.trials.c.cell_id, tables.trials.c.state, sa.func.count())
            .join(tables.links, tables.links.c.trial_id == tables.trials.c.id)
            .where(tables.links.c.evaluation == evaluation)
            .group_by(tables.trials.c.cell_id, tables.trials.c.state)
        )
        counts: dict[str, Counter[State]] = {}
        with self._engine.connect() as connection:
            for cell_id, state, count in connection.execute(query):
                counts.setdefault(cell_id, Counter())[state_of(state)] += count
        return counts

    @insistent
    def count_tried(self, study_ids: Sequence[str]) -> Counter[str]:
        """Return the number of ended trials of each study."""
        candidates, trials = tables.candidates, tables.trials
        query = sa.select(candidates.c.study_id, candidates.c.trial_ids)
        with self._engine.connect() as connection:
            asked = {
                trial_id: row.study_id
                for chunk in chunks(study_ids)
                for row in connection.execute(query.where(candidates.c.study_id.in_(chunk)))
                for trial_id in row.trial_ids
            }
            ended = [
                trial_id
                for chunk in chunks(list(asked))
                for trial_id in connection.scalars(sa.select(trials.c.id).where(trials.c.id.in_(chunk)))
            ]
        return Counter(asked[trial_id] for trial_id in ended)
