"""The same sweep, started twice on one PostgreSQL server that is restarted in the middle."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evalbench.store import Store
from evalbench.trial import State
from postgresql import Server

SWEEP = ("-m", "dataset=iris", "optimizer=sgd,adam", "num_seeds=2", "budget.epochs=3", "cost.rounds=0", "tracker=none")


@pytest.mark.slow
def test_two_processes_and_a_restart_lose_nothing_and_train_nothing_twice(workspace: Path, server: Server) -> None:
    url = server.new_database()
    processes = []
    for number in range(2):
        own = (f"store.url='{url}'", f"hydra.sweep.dir=logs{number}", "evaluation.name=same", "hydra/launcher=basic")
        with (workspace / f"{number}.txt").open("w") as out:
            command = [sys.executable, "-m", "evalbench", *SWEEP, *own]
            processes.append(subprocess.Popen(command, stdout=out, stderr=out, env=os.environ))
    store = Store(url)
    while not store.count_states("same") and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    server.restart()
    codes = [process.wait() for process in processes]
    said = [path.read_text() for path in sorted(workspace.glob("*.txt"))]
    assert codes == [0] * 2, said
    assert not [text for text in said if "Traceback" in text]
    assert store.count_states("same") == {State.COMPLETE: 4}
    logs = [path.read_text() for path in workspace.glob("logs*/*/evalbench.log")]
    trained = [found for text in logs for found in re.findall(r"training (.+, seeds .+)", text)]
    assert sorted(trained) == ["mlp-adam on iris, seeds [0, 1]", "mlp-sgd on iris, seeds [0, 1]"]
