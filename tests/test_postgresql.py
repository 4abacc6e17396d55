"""The same sweep, started twice on one PostgreSQL server that is restarted in the middle."""

import re
from pathlib import Path

import pytest

from conftest import Start
from evalbench.store import Store
from evalbench.trial import State
from postgresql import Server

SWEEP = ("-m", "dataset=iris", "optimizer=sgd,adam", "num_seeds=2", "budget.epochs=3", "cost.rounds=0", "tracker=none")


@pytest.mark.slow
def test_two_processes_and_a_restart_lose_nothing_and_train_nothing_twice(
    start: Start, workspace: Path, server: Server
) -> None:
    url = server.new_database()
    programs = []
    for number in range(2):
        own = (f"store.url='{url}'", f"hydra.sweep.dir=logs{number}", "evaluation.name=same", "hydra/launcher=basic")
        programs.append(start(*SWEEP, *own))
    store = Store(url)
    while not store.count_states("same") and any(program.poll(0.02) is None for program in programs):
        pass
    server.restart()
    endings = [program.end() for program in programs]
    assert [ending.returncode for ending in endings] == [0] * 2, endings
    assert not [ending for ending in endings if "Traceback" in ending.stdout + ending.stderr]
    assert store.count_states("same") == {State.COMPLETE: 4}
    logs = [path.read_text() for path in workspace.glob("logs*/*/evalbench.log")]
    trained = [found for text in logs for found in re.findall(r"training (.+, seeds .+)", text)]
    assert sorted(trained) == ["mlp-adam on iris, seeds [0, 1]", "mlp-sgd on iris, seeds [0, 1]"]
