"""A PostgreSQL server of the tests' own, in a temporary folder, on a socket that only its user and root can reach."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

SETTINGS = ("fsync=off", "listen_addresses=", "max_connections=100")


def missing() -> str | None:
    """Return why no server can be started, or None."""
    if importlib.util.find_spec("psycopg") is None:
        return "its driver is not installed: pip install 'psycopg[binary]'"
    return None if _programs() is not None else "PostgreSQL is not installed: make services"


def _programs() -> Path | None:
    """Return the folder of the newest `pg_ctl`; Debian keeps it outside the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    folder: Path
    user: str

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; it refuses to run as root."""
        programs = _programs()
        assert programs is not None
        other: dict[str, Any] = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        subprocess.run(
            [str(programs / program), "-D", str(self.folder / "data"), *arguments],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            **(other if os.getuid() == 0 else {}),
        )

    def restart(self) -> None:
        """End all sessions in the middle of what they do, and start again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def start(self) -> None:
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"unix_socket_directories={self.folder}"))
        self.run("pg_ctl", "start", "--wait", f"--log={self.folder}/log", f"--options={options}")

    def new_database(self) -> str:
        """Return the URL of an empty database."""
        import psycopg

        name = f"test{uuid4().hex}"
        with psycopg.connect(host=str(self.folder), user="evalbench", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://evalbench@/{name}?host={self.folder}"


@contextmanager
def running() -> Iterator[Server]:
    """Run a server for a while."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # not pytest's, into which another user cannot look
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)
    server = Server(folder, user)
    try:
        server.run("initdb", "--no-sync", "--username=evalbench", "--auth=trust")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
