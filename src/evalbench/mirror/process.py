"""Trackers at work beside a sweep, each in a process of its own: whatever one does, training and results go on.

The process reads what to do from its standard input, a JSON text a line, and answers likewise. It ends when its input
does, so that it does not outlive the sweep; one that has no patience left is killed.
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
"""Between two looks into the store."""
LEAVE_SECONDS = 10.0
"""How long a process whose sweep has died may take for the run that it is at."""


class Mirrors:
    """The trackers of one evaluation, as the sweep sees them."""

    def __init__(
        self,
        store_url: str,
        evaluation: str,
        names: Sequence[str],
        patience_seconds: float,
        log_folder: Path | None = None,
    ) -> None:
        """Start nothing yet; each tracker has so much patience for all waiting together."""
        self._processes = [_Process(store_url, evaluation, name, patience_seconds, log_folder) for name in names]

    def start(self) -> None:
        """Begin to mirror what ends."""
        for process in self._processes:
            process.start()

    def drain(self, at_most_seconds: float = float("inf")) -> None:
        """Wait until the trackers have all trials that have ended, or patience runs out."""
        self._ask("drain", at_most_seconds)

    def conclude(self) -> None:
        """Hand over what was drawn from the trials, also to trackers that had nothing else to do; end the processes."""
        for process in self._processes:
            if process.error is None and (process.mirror.lacks_conclusion() or process.mirror.waiting()):
                process.start()
        self._ask("conclude", float("inf"))
        self.stop()

    def stop(self) -> None:
        """Leave no process behind."""
        for process in self._processes:
            process.stop()

    def problems(self) -> list[tuple[str, int, str]]:
        """Return, for each tracker that lacks something, its name, how many trials it lacks, and why."""
        found = []
        for process in self._processes:
            mirror = process.mirror
            missing = mirror.waiting()
            if missing or mirror.lacks_conclusion():
                found.append((process.name, missing, process.error or "it was not started"))
        return found

    def _ask(self, word: str, at_most_seconds: float) -> None:
        running = [process for process in self._processes if process.running]
        for process in running:
            process.say(word)
        for process in running:
            process.wait(at_most_seconds)


class _Process:
    """One tracker's process, as the sweep sees it."""

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
        """Return what the store knows about this tracker."""
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
                start_new_session=True,  # Ctrl-C is for the sweep, which then tells this process
            )
        threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()
        self.say(self.order)

    @staticmethod
    def _listen(process: "subprocess.Popen[str]", answers: "queue.Queue[tuple[float, str]]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put((time.monotonic(), line))
        answers.put((time.monotonic(), ""))

    def say(self, word: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked = time.monotonic()
        with suppress(BrokenPipeError):  # it has died, as waiting will tell
            self._process.stdin.write(json.dumps(word) + "\n")
            self._process.stdin.flush()

    def wait(self, at_most_seconds: float) -> None:
        """Wait for the answer to the last word; kill the process where it does not come."""
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
            self._process.kill()
            self._process.wait()
            self._process = None


# ── the tracker's process ─────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Mirror one evaluation to one tracker until told to end; answer every word with null, or with what went wrong."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a tracker prints goes to the log
    order = json.loads(sys.stdin.readline())
    words: queue.Queue[str | None] = queue.Queue()
    left = threading.Event()
    threading.Thread(target=_read_words, args=(words, left), daemon=True).start()
    error: str | None = None
    try:
        mirror = Mirror(Store(order["store"], patient=True), order["evaluation"], order["tracker"])
        word: str | None = "follow"
        while word is not None:
            word = _next(words, follow=word == "follow")
            mirror.send(lambda: not left.is_set())
            if word == "follow":
                mirror.follow()
            elif word == "conclude":
                mirror.conclude()
                mirror.tracker.close()
            if word in ("drain", "conclude"):
                print(json.dumps(None), file=answers, flush=True)
        mirror.tracker.close()
    except Exception as problem:  # whatever a tracker raises
        traceback.print_exc()
        error = _one_line(problem)
    while error is not None:  # what went wrong is the answer to every word from now on
        print(json.dumps(error), file=answers, flush=True)
        error = error if words.get() is not None else None
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # past the exit handlers of libraries, which may wait for a server


def _next(words: "queue.Queue[str | None]", follow: bool) -> str | None:
    """Return the next word; while cells are in training, `follow` when none comes for a while."""
    try:
        return words.get(timeout=PERIOD_SECONDS if follow else None)
    except queue.Empty:
        return "follow"


def _read_words(words: "queue.Queue[str | None]", left: threading.Event) -> None:
    for line in sys.stdin:
        words.put(json.loads(line))
    left.set()
    words.put(None)
    time.sleep(LEAVE_SECONDS)
    os._exit(1)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, InputError) else f"{type(error).__name__}: {lines[0]}"
