"""Check evalbench on a GPU and time it there, within a time limit: `python benchmarks/gpu.py`, or `make gpu`.

The tests that need a CUDA device run first, side by side. Then each part of the bench runs alone, the most important
first. A part that fails, or takes longer than its share, loses only its own results. This program needs nothing but
Python's library: where the packages of evalbench are not installed, it unpacks the wheels of `make wheels`.
"""

import argparse
import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / ".gpu" / "wheels"
PAGE = ROOT / "benchmarks" / "results-gpu.md"
NEEDED = ("hydra", "omegaconf", "optuna", "sqlalchemy", "pytest_timeout", "xdist")
LAST_SECONDS = 20
"""Seconds kept for the page and the archive."""
WAITING = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
sys.stdin.readline()
raise SystemExit(module.main(sys.argv[2:]))
"""
"""Imports a module, waits for a line, and runs it: so the imports of a part do not count as its time."""
OUTCOME = re.compile(r"^\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR|SKIPPED|XFAIL) (?:\S*?::)?(.+?) *$", re.M)
SECTION = re.compile(r"^_{3,} (?:ERROR at \w+ of )?(.+?) _{3,}$(.*?)(?=^_{3,} |^={3,} )", re.M | re.S)


@dataclass(frozen=True)
class Part:
    """A part of the bench: a module of this folder with its arguments, and the most seconds that it may take."""

    name: str
    seconds: float
    module: str
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("steps", 60, "benchmarks.steps"),
    Part("compiled", 80, "benchmarks.steps", ("--compiled",)),
    Part("mlp-32", 100, "benchmarks.engine", ("mlp-32",)),
    Part("sweep", 130, "benchmarks.engine", ("sweep",)),
    Part("cnn-32", 30, "benchmarks.engine", ("cnn-32",)),
    Part("adapters", 100, "benchmarks.adapters", ("--bf16",)),
    Part("transformer-32", 30, "benchmarks.engine", ("transformer-32",)),
)
TEST_SECONDS = 110
"""The most seconds of the tests."""


@dataclass
class Run:
    """Where a run keeps its files, when it must end, and what it will say at the end."""

    folder: Path
    seconds: float
    """The most seconds that it may take."""
    small: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    failed: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Return the seconds until the run must end."""
        return self.began + self.seconds - time.monotonic()

    @property
    def records(self) -> Path:
        """Return the folder of the measurements."""
        return self.folder / "records"

    def note(self, name: str, ended: str) -> None:
        """Say how a program ended."""
        self.failed = self.failed or ended != "exit code 0"
        self.say(f"{name}: {ended}")

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start, and keep it for the summary."""
        line = f"[{time.monotonic() - self.began:5.1f} s] {text}"
        self.summary.append(line)
        print(line, flush=True)


def environment(site: Path) -> dict[str, str]:
    """Return the environment of the programs to run; unpack wheels into `site` if packages are not installed."""
    path = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT)]
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        if not list(WHEELS.glob("*.whl")):
            raise SystemExit(f"{', '.join(missing)} are not installed, and {WHEELS} has no wheels: run `make wheels`")
        unpack(WHEELS, site)
        path.insert(0, str(site))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*path, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).strip(os.pathsep),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # plugins of other projects may warn, and a warning fails a test
    }


def unpack(wheels: Path, site: Path) -> None:
    """Unpack all wheels of a folder, and copy the metadata of evalbench beside them."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    compileall.compile_dir(site, quiet=2, workers=0)
    for metadata in wheels.glob("*.dist-info"):
        shutil.copytree(metadata, site / metadata.name)


@contextmanager
def running(run: Run, log: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program with a log file and a process group of its own; end it and all that it started."""
    with (run.folder / f"{log}.log").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=run.environment, stdin=subprocess.PIPE, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes], patience: float = 5) -> None:
    """End a program of ours: Ctrl-C first, so that it still reports, then by force with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def outcome(process: subprocess.Popen[bytes], seconds: float) -> str:
    """Wait for a program; say how it ended."""
    with suppress(BrokenPipeError, subprocess.TimeoutExpired):
        process.communicate(b"\n", timeout=max(1.0, seconds))
    return "out of time" if process.poll() is None else f"exit code {process.returncode}"


def run_tests(run: Run, workers: int, names: str) -> None:
    """Run the tests that need a CUDA device side by side; keep their numbers, and the first lines of each failure."""
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    plugins = ["-p", "pytest_timeout", "-p", "xdist.plugin", "-p", "no:cacheprovider"]
    options = ["-n", str(workers), "--dist=load", "--timeout=90", "--tb=short", "--durations=15", "-v", "-m", "gpu"]
    options += ["-k", names] if names else []
    folder = f"--basetemp={run.folder / 'pytest'}"
    with running(run, "tests", ["-m", "pytest", *plugins, *options, folder, *files]) as process:
        ended = outcome(process, min(TEST_SECONDS, run.left - LAST_SECONDS))
    shutil.rmtree(run.folder / "pytest", ignore_errors=True)
    run.note("tests", ended)
    run.summary += read_tests((run.folder / "tests.log").read_text(errors="replace"))


def read_tests(log: str) -> list[str]:
    """Return the numbers of tests by outcome, and for each failure its name, first error lines and last positions."""
    outcomes = {name: kind for kind, name in OUTCOME.findall(log)}
    kinds = list(outcomes.values())
    counts = ", ".join(f"{kinds.count(kind)} {kind.lower()}" for kind in sorted(set(kinds), reverse=True))
    lines = [f"  {counts or 'no test ended: ' + log.strip()[-400:]}"]
    sections = {name.split(".")[-1]: text for name, text in SECTION.findall(log)}
    for name, kind in outcomes.items():
        if kind in ("FAILED", "ERROR"):
            text = sections.get(name, "")
            errors = " | ".join(re.findall(r"^E +(.*)$", text, re.M)[:3])[:260]
            positions = " ".join(re.findall(r"^(?:\S*/)?(\w+\.py:\d+): ", text, re.M)[-3:])
            lines.append(f"  {kind} {name}: {errors} @ {positions}")
    return lines


def start(run: Run, part: Part) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start a part of the bench, which imports its libraries and then waits for a line."""
    arguments = [*part.arguments, "--records", str(run.records), *(["--small"] if run.small else [])]
    return running(run, part.name, ["-c", WAITING, part.module, *arguments])


def run_part(run: Run, part: Part, process: subprocess.Popen[bytes]) -> None:
    """Let a part run, alone; a part that fails shows its last lines."""
    left = run.left - LAST_SECONDS
    if left < 5:
        run.note(part.name, "left out, no time is left")
        return
    ended = outcome(process, min(part.seconds, left))
    end(process)
    run.note(part.name, ended)
    if ended != "exit code 0":
        lines = (run.folder / f"{part.name}.log").read_text(errors="replace").splitlines()
        run.summary += [f"  {line[:200]}" for line in lines[-6:]]


def write_page(run: Run) -> None:
    """Write the page from the records of all parts that measured anything."""
    output = run.folder / PAGE.name
    with running(run, "page", ["-m", "benchmarks.table", str(run.records), str(output)]) as process:
        ended = outcome(process, max(10.0, run.left - 3))
    if output.exists() and not run.small:
        shutil.copy(output, PAGE)
    run.note("page", ended)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, and end with a summary; return 1 if a test or a part failed."""
    parser = argparse.ArgumentParser(prog="python benchmarks/gpu.py", description=__doc__)
    parser.add_argument("--seconds", type=float, default=480, help="the most seconds of the whole run (default 480)")
    parser.add_argument("--workers", type=int, default=min(12, os.cpu_count() or 1), help="tests side by side")
    parser.add_argument("--only", nargs="*", metavar="PART", help="'tests' and names of parts (default: all)")
    parser.add_argument("--tests", default="", metavar="NAMES", help="run these tests alone, as `pytest -k` names them")
    parser.add_argument("--small", action="store_true", help="tiny numbers, to try this program on any machine")
    parser.add_argument("--output", type=Path, default=Path(os.environ.get("OUT", ROOT / "outputs" / "gpu")))
    chosen = parser.parse_args(arguments)
    shutil.rmtree(chosen.output / "run", ignore_errors=True)
    run = Run(chosen.output.resolve() / "run", chosen.seconds, chosen.small)
    run.records.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as site, ExitStack() as stack:
        run.environment = environment(Path(site))
        parts = [part for part in PARTS if chosen.only is None or part.name in chosen.only]
        processes = [stack.enter_context(start(run, part)) for part in parts]
        if chosen.only is None or "tests" in chosen.only:
            run_tests(run, chosen.workers, chosen.tests)
        for part, process in zip(parts, processes, strict=True):
            run_part(run, part, process)
        write_page(run)
    return report(run, chosen.output)


def report(run: Run, output: Path) -> int:
    """Pack all files into one archive and print the summary, which fits into 12,000 characters."""
    page = run.folder / PAGE.name
    text = "\n".join(run.summary)
    (run.folder / "summary.txt").write_text(text)
    with tarfile.open(output / "gpu.tar.gz", "w:gz") as archive:
        archive.add(run.folder, "gpu")
    print(
        "\n==== summary\n", text[:5000], "\n==== page\n", page.read_text()[:6000] if page.exists() else "none", sep=""
    )
    return int(run.failed)


if __name__ == "__main__":
    raise SystemExit(main())
