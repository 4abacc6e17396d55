"""SQL through SQLAlchemy: opening a database, retrying during outages, inserting safely from several processes."""

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from evalbench.errors import StorageError
from evalbench.store import tables

log = logging.getLogger(__name__)

BUSY_SECONDS = 60
"""How long SQLite waits for another process."""
OUTAGE_SECONDS = 300.0
"""How long a method retries during an outage of the server."""
RETRY_SECONDS = 1.0
LOCK = 0x6576616C
"""The number of our advisory lock in a PostgreSQL database."""

T = TypeVar("T")
P = ParamSpec("P")
Owner = TypeVar("Owner", bound="HasEngine")
_unanswered: set[str] = set()
"""Servers for which an outage has been logged."""


class HasEngine(Protocol):
    """Describe an object that works on a database."""

    _engine: sa.Engine


def insist(url: sa.URL, work: Callable[[], T]) -> T:
    """Run `work`, retrying during an outage of the server; raise `StorageError` if the outage lasts too long."""
    where = f"the store {url.render_as_string(hide_password=True)}"
    end = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            result = work()
        except DBAPIError as error:
            if not _may_pass(error, url) or time.monotonic() > end:
                raise StorageError(where, reason(error)) from error
            if where not in _unanswered:
                _unanswered.add(where)
                log.warning("%s does not answer (%s); trying for %g s", where, reason(error), OUTAGE_SECONDS)
            time.sleep(RETRY_SECONDS)
        else:
            _unanswered.discard(where)
            return result


def insistent(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """Make a method retry during an outage; see `insist`."""

    @functools.wraps(method)
    def insistent(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return insist(self._engine.url, lambda: method(self, *args, **kwargs))

    return insistent


def _may_pass(error: DBAPIError, url: sa.URL) -> bool:
    """Return whether a retry may help: the server was unreachable, restarting, or ended a deadlock."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    away = isinstance(error, OperationalError | InterfaceError) and url.get_backend_name() != "sqlite"
    return error.connection_invalidated or (away and (code is None or code.startswith(("08", "40", "53300", "57P"))))


def reason(error: Exception) -> str:
    """Return the driver's message in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def is_full(error: Exception) -> bool:
    """Return whether a disk is full or fails."""
    return any(words in reason(error) for words in ("disk is full", "disk I/O error", "No space left"))


def printable(url: str) -> str:
    """Return the address of a store without its password."""
    with suppress(ArgumentError):
        return make_url(url).render_as_string(hide_password=True)
    return url


@contextmanager
def alone_in(url: str, schema: str) -> Iterator[None]:
    """Create a schema in a PostgreSQL database for tables of another program, one process at a time."""
    engine = sa.create_engine(url)
    with engine.begin() as turn:
        wait_for_turn(turn)
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        yield
    engine.dispose()


def wait_for_turn(connection: sa.Connection) -> None:
    """Let processes create tables one after the other; `IF NOT EXISTS` does not prevent a race."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def write(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], over: bool) -> None:
    """Insert rows in one statement, replacing or skipping existing rows; safe under concurrent writers."""
    keys = [column.name for column in table.primary_key]
    rows = sorted(rows, key=lambda row: [row[key] for key in keys])  # in one order, which prevents deadlocks
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


def now(connection: sa.Connection) -> float:
    """Return the clock of the leases in seconds: the server's, because the clients' clocks may differ."""
    if connection.dialect.name != "postgresql":
        return time.time()
    return float(connection.scalars(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).one())


def prepare_sqlite(connection: Any, _: Any) -> None:
    """Set WAL mode: readers do not wait for the writer, writers wait for each other."""
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


def is_store(url: sa.URL) -> bool:
    """Return whether a database holds a store, without changing the database."""
    engine = sa.create_engine(url)
    try:
        return sa.inspect(engine).has_table(tables.trials.name)
    finally:
        engine.dispose()


def chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """Yield slices that are small enough for one statement; databases limit the number of its values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
