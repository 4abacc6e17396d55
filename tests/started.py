"""The command line in processes of its own, forked from a server that has the libraries loaded: they start at once.

Each is what `python -m evalbench ARGUMENTS` is after its imports: it has an environment, a folder and streams of its
own, and ends by itself. The server has no threads and trains nothing, so that forking it is safe.
"""

import ctypes
import gc
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from evalbench.processes.forks import DIE_WITH_PARENT
from evalbench.processes.workers import HEAVY


class Program:
    """A command line that runs."""

    def __init__(self, address: str, arguments: tuple[str, ...], folder: Path, streams: Path) -> None:
        self.streams = streams
        self._code: int | None = None
        self._connection = Client(address)
        self._connection.send((arguments, folder, dict(os.environ), streams))
        self.pid: int = self._connection.recv()

    def poll(self, seconds: float = 0) -> int | None:
        """Return the exit code, or None while it runs."""
        if self._code is None and self._connection.poll(seconds):
            self._code = self._connection.recv()
            self._connection.close()
        return self._code

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return the exit code and what it wrote."""
        code = self.poll(240)
        assert code is not None, "it does not end"
        out, err = ((self.streams / name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(["evalbench"], code, out, err)

    def kill(self) -> None:
        """Kill it in the middle of what it does."""
        assert self.poll() is None, "it ended before it was killed"
        self.send(signal.SIGKILL)
        assert self.end().returncode == -signal.SIGKILL


class Server:
    """The process that the programs are forked from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, str(folder / "socket")
        self.process = subprocess.Popen([sys.executable, __file__, self.address], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def start(self, *arguments: str, folder: Path) -> Program:
        """Start `evalbench ARGUMENTS` in a folder, with the environment of this process."""
        return Program(self.address, arguments, folder, Path(tempfile.mkdtemp(dir=self.folder)))


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server for a while."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.process.kill()
            server.process.communicate()


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _serve(address: str) -> None:
    """Fork a process for each request; return in the process of a program, ready to run it."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    for name in HEAVY:
        import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that none that has ended is left
    with Listener(address) as listener:
        print("ready", flush=True)
        while True:
            with listener.accept() as connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return _attend(connection)


def _attend(connection: Connection) -> None:
    """Fork a program, and tell its number and its exit code; return in the program."""
    arguments, folder, environment, streams = connection.recv()
    if child := os.fork():
        connection.send(child)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
    sys.argv[1:] = arguments
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(streams / name, os.O_WRONLY | os.O_CREAT), number)


if __name__ == "__main__":
    _serve(sys.argv[1])
    runpy.run_module("evalbench", run_name="__main__", alter_sys=True)
