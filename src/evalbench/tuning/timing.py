"""How long one step of a candidate takes, timed alone, for studies that have it among their objectives."""

import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping

from evalbench import provenance
from evalbench.cell import Cell
from evalbench.store import Store

ROUNDS = 5


def graph_id(tuned: Cell) -> str:
    """Return the identity of all that a step's time depends on: not the optimizer's numbers."""
    optimizer = {key: tuned.settings.get("optimizer", {}).get(key) for key in ("_target_", "batch_size", "clip_norm")}
    text = json.dumps([{**tuned.settings, "optimizer": optimizer}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def known(tuned: Cell, store: Store) -> Mapping[str, float]:
    """Return the timed objectives of a candidate's cell on this machine; none if the store has no timing of it."""
    graph = graph_id(tuned)
    rounds = (store.costs([graph], provenance.machine(tuned.config.accelerator)) or {}).get(graph)
    if not rounds:
        return {}
    seconds = statistics.median(timing["step_seconds"] for timing in rounds)
    return {"cost/step_seconds": seconds, "cost/seconds": seconds * rounds[0]["steps"]}


def measure(cells: Iterable[Cell], store: Store) -> None:
    """Time a step of the candidates' cells whose graph was not timed before."""
    from evalbench import cost  # torch and Lightning: only if something is timed

    graphs = {graph_id(tuned): tuned for tuned in cells if not known(tuned, store)}
    for graph, tuned in graphs.items():
        (rounds,) = cost.measure([(tuned.config, tuned.dataset)], ROUNDS)
        store.record_costs({graph: [vars(timing) for timing in rounds]}, provenance.machine(tuned.config.accelerator))
