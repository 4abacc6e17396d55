"""The right to train one cell, held by one process at a time."""

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from evalbench.errors import LeaseLostError
from evalbench.store import tables
from evalbench.store.database import RETRY_SECONDS, insistent, now, write

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0


class Lease:
    """The right of this process to train one cell."""

    def __init__(self, engine: sa.Engine, cell_id: str, seconds: float = LEASE_SECONDS) -> None:
        self._engine = engine
        self._mine = tables.leases.c.cell_id == cell_id
        self.cell_id = cell_id
        self._seconds = seconds
        self._seen: tuple[str, float] | None = None
        self._seen_since = 0.0
        self._has_logged = False
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex}"

    @insistent
    def claim(self) -> bool:
        """Try to take the cell: it is free, its lease has expired, or its owner on this machine is dead."""
        with self._engine.begin() as connection:
            time_now = now(connection)
            values = {"owner": self.owner, "expires": time_now + self._seconds}
            held = connection.execute(sa.select(tables.leases).where(self._mine)).one_or_none()
            if held is None:
                write(connection, tables.leases, [{"cell_id": self.cell_id, **values}], over=False)
                return connection.scalar(sa.select(tables.leases.c.owner).where(self._mine)) == self.owner
            if held.owner != self.owner and held.expires > time_now and not is_dead(held.owner):
                self._log_wait(held.owner, held.expires - time_now)
                if not self._is_abandoned(held.owner, held.expires):
                    return False
            same = self._mine & (tables.leases.c.owner == held.owner) & (tables.leases.c.expires == held.expires)
            return connection.execute(sa.update(tables.leases).where(same).values(**values)).rowcount == 1

    def _is_abandoned(self, owner: str, expires: float) -> bool:
        """Return whether nobody renewed the lease while this process watched; its date may come from a wrong clock."""
        if self._seen != (owner, expires):
            self._seen, self._seen_since = (owner, expires), time.monotonic()
        return time.monotonic() - self._seen_since > 2 * self._seconds

    def _log_wait(self, owner: str, seconds_left: float) -> None:
        """Log once which process holds the cell; warn of a wrong clock if the lease lasts longer than leases do."""
        if self._has_logged:
            return
        self._has_logged = True
        host, pid, _ = owner.rsplit(":", 2)
        holder = f"process {pid} on {host}, which has {self.cell_id}"
        if seconds_left <= 2 * self._seconds:
            log.info("waiting for %s", holder)
            return
        until = datetime.fromtimestamp(0, UTC) + timedelta(seconds=min(time.time() + seconds_left, 2.5e11))
        log.warning(
            "waiting for %s until %s, it says, though a lease lasts %g s: the clock of %s is wrong, or that of this"
            " machine; if it does not renew the lease within %g s, this process takes over",
            holder, f"{until:%Y-%m-%d %H:%M} UTC", self._seconds, host, 2 * self._seconds,
        )  # fmt: skip

    def renew(self, connection: sa.Connection) -> None:
        """Extend the lease within a transaction; raise `LeaseLostError` if another process has taken the cell."""
        mine = sa.update(tables.leases).where(self._mine, tables.leases.c.owner == self.owner)
        if connection.execute(mine.values(expires=now(connection) + self._seconds)).rowcount != 1:
            raise LeaseLostError(f"cell {self.cell_id} was taken over by another process after {self._seconds:g} s")

    def keep(self, stop: threading.Event) -> None:
        """Renew the lease until told to stop; `Store.record` notices a lost lease."""
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

    @insistent
    def release(self) -> None:
        """Free the cell if this process still holds it."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(tables.leases).where(self._mine & (tables.leases.c.owner == self.owner)))


def is_dead(owner: str) -> bool:
    """Return whether an owner was a process of this machine that has ended."""
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
