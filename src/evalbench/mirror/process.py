"""Run each tracker of a sweep in a process of its own, so that its faults cannot stop training or results.

The process reads commands from its standard input, one JSON value per line, and answers in the same way. It ends when
its input ends, so that it does not outlive the sweep. The sweep kills a process that exceeds its patience.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from evalbench.errors import InputError
from evalbench.mirror.mirror import Mirror
from evalbench.store import Store

PERIOD_SECONDS = 0.5
"""Interval between store polls."""
LEAVE_SECONDS = 10.0
"""How long a process may finish its current run after the sweep has died."""


class Mirrors:
    """Control the tracker processes of one evaluation."""

    def __init__(
        self,
        store_url: str,
        evaluation: str,
        names: Sequence[str],
        patience_seconds: float,
        log_folder: Path | None = None,
    ) -> None:
        """Prepare the processes; `patience_seconds` limits the total waiting time for each tracker."""
        self._processes = [_Process(store_url, evaluation, name, patience_seconds, log_folder) for name in names]

    def start(self) -> None:
        """Start to mirror ended trials, or read the evaluation again, whose next look has more trials."""
        for process in self._processes:
            if process.running:
                process.say("reload")
            else:
                process.start()

    def drain(self, at_most_seconds: float = float("inf")) -> None:
        """Wait until the trackers have all ended trials, or the patience runs out."""
        self._ask("drain", at_most_seconds)

    def conclude(self) -> None:
        """Send the report to all trackers that lack it, and end the processes."""
        for process in self._processes:
            if process.error is None and (process.mirror.lacks_conclusion() or process.mirror.waiting()):
                process.start()
        self._ask("conclude", float("inf"))
        self.stop()

    def stop(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.stop()

    def problems(self) -> list[tuple[str, int, str]]:
        """Return the name, the number of missing trials and the reason for each incomplete tracker."""
        problems = []
        for process in self._processes:
            mirror = process.mirror
            missing = mirror.waiting()
            if missing or mirror.lacks_conclusion():
                problems.append((process.name, missing, process.error or "it was not started"))
        return problems

    def _ask(self, command: str, at_most_seconds: float) -> None:
        running = [process for process in self._processes if process.running]
        for process in running:
            process.say(command)
        for process in running:
            process.wait(at_most_seconds)


class _Process:
    """Control the process of one tracker."""

    def __init__(
        self, store_url: str, evaluation: str, name: str, patience_seconds: float, log_folder: Path | None
    ) -> None:
        self.patience, self.log_folder = patience_seconds, log_folder
        self.order = {"store": store_url, "evaluation": evaluation, "tracker": name}
        self.name = name
        self.error: str | None = None
        self._process: subprocess.Popen[str] | None = None
        self._asked = 0.0
        self._answers: queue.Queue[tuple[float, str]] = queue.Queue()

    @property
    def running(self) -> bool:
        return self._process is not None

    @cached_property
    def mirror(self) -> Mirror:
        """Return the tracker's mirror, read from the store."""
        return Mirror(Store(self.order["store"], patient=True), self.order["evaluation"], self.name)

    def start(self) -> None:
        if self.running:
            return
        path = Path(os.devnull)
        if self.log_folder is not None:
            self.log_folder.mkdir(parents=True, exist_ok=True)
            path = self.log_folder / f"tracker-{self.name}.log"
        with path.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "evalbench.mirror"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # only the sweep handles Ctrl-C and then stops this process
            )
        threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()
        self.say(self.order)

    @staticmethod
    def _listen(process: "subprocess.Popen[str]", answers: "queue.Queue[tuple[float, str]]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                answers.put((time.monotonic(), line))
        answers.put((time.monotonic(), ""))

    def say(self, command: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked = time.monotonic()
        with suppress(BrokenPipeError):  # the process has died; `wait` reports that
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def wait(self, at_most_seconds: float) -> None:
        """Wait for the answer to the last command; kill the process if no answer comes."""
        end = self._asked + min(self.patience, at_most_seconds)
        try:
            answered, answer = self._answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            self.error = "it was too slow"
        else:
            self.patience -= max(0.0, answered - self._asked)
            self.error = json.loads(answer) if answer else "its process died"
        if self.error is not None:
            self._kill()

    def stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(LEAVE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._kill()
        self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.kill()
            self._process.wait()
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process = None


# ── the tracker's process ─────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Mirror one evaluation to one tracker until the input ends; answer each command with null or an error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of trackers goes to the log
    order = json.loads(sys.stdin.readline())
    commands: queue.Queue[str | None] = queue.Queue()
    left = threading.Event()
    threading.Thread(target=_read_commands, args=(commands, left), daemon=True).start()
    error: str | None = None
    try:
        mirror = Mirror(Store(order["store"], patient=True), order["evaluation"], order["tracker"])
        command: str | None = "follow"
        while command is not None:
            command = _next(commands, follow=command == "follow")
            mirror.send(lambda: not left.is_set())
            if command == "follow":
                mirror.follow()
            elif command == "reload":
                mirror.reload()
            elif command == "conclude":
                mirror.conclude()
                mirror.tracker.close()
            if command in ("drain", "conclude"):
                print(json.dumps(None), file=answers, flush=True)
        mirror.tracker.close()
    except Exception as problem:  # a tracker may raise any error
        traceback.print_exc()
        error = _one_line(problem)
    while error is not None:  # answer every further command with the error
        print(json.dumps(error), file=answers, flush=True)
        error = error if commands.get() is not None else None
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # skip the libraries' exit handlers, which may wait for a server


def _next(commands: "queue.Queue[str | None]", follow: bool) -> str | None:
    """Return the next command; while cells are in training, return `follow` after each polling interval."""
    try:
        return commands.get(timeout=PERIOD_SECONDS if follow else None)
    except queue.Empty:
        return "follow"


def _read_commands(commands: "queue.Queue[str | None]", left: threading.Event) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    left.set()
    commands.put(None)
    time.sleep(LEAVE_SECONDS)
    os._exit(1)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, InputError) else f"{type(error).__name__}: {lines[0]}"
