"""Results in SQL: `Store` is the source of truth, `Lease` the right to train a cell."""

from evalbench.store.database import alone_in, printable
from evalbench.store.lease import Lease
from evalbench.store.store import ENDED, Store
from evalbench.store.tables import Link, StoredCandidate, StoredTrial

__all__ = ["ENDED", "Lease", "Link", "Store", "StoredCandidate", "StoredTrial", "alone_in", "printable"]
