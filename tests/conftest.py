"""What tests share: configurations composed as on the command line, and the command line itself."""

import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles the whole program anew
sys.dont_write_bytecode = False
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's `&` has it ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from omegaconf import DictConfig

import postgresql
import started
from contracts.tracker import one_pixel
from evalbench.__main__ import main
from evalbench.cell import Cell
from evalbench.config import Config, parse
from evalbench.programs import conf_folder
from evalbench.report.render import style
from wandb_server import KEY, WandbServer

Compose = Callable[..., Config]
Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., started.Program]
Inline = Callable[..., str]


def compose_config(*overrides: str) -> Config:
    """Return the checked configuration of one cell, as the command line would make it."""
    tree = _composed(overrides)
    return parse(tree, tree.hydra)


@lru_cache(maxsize=50)
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Compose a tree once for the tests that follow each other: Hydra takes a tenth of a second."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=["tracker=none", *overrides], return_hydra_config=True)


def make_cell(*overrides: str) -> Cell:
    """Return a cell with its data."""
    return Cell.of(compose_config(*overrides))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what libraries and tests have made while they were imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Serve a stand-in for W&B's server, for this process and its children; W&B reads addresses once per process."""
    import wandb

    wandb.teardown()
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server
        wandb.teardown()


@pytest.fixture(scope="session", autouse=True)
def save_in_full() -> Iterator[Callable[[Figure, Path], None]]:
    """Save figures that were drawn as one pixel: the pixels are most of the time that a report takes.

    Processes that tests start save all of them.
    """
    real = style.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", lambda _, path: path.write_bytes(one_pixel()))
        yield real


@pytest.fixture
def pictures(save_in_full: Callable[[Figure, Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Save figures as users see them."""
    monkeypatch.setattr(style, "save", save_in_full)


@pytest.fixture(autouse=True)
def logging_unchanged() -> Iterator[None]:
    """Fail a test that changes what the tests after it can log."""
    before = logging_settings()
    yield
    assert logging_settings() == before


def logging_settings() -> dict[str, tuple[object, ...]]:
    """Return level, switch and handing-on of the root logger and of evalbench's loggers that are not as they begin."""
    root, begun = logging.root, (logging.NOTSET, False, True)
    loggers = {name: logging.getLogger(name) for name in root.manager.loggerDict if name.startswith("evalbench")}
    settings = {name: (logger.level, logger.disabled, logger.propagate) for name, logger in loggers.items()}
    changed = {name: values for name, values in settings.items() if values != begun}
    return {"root": (root.level, root.disabled, root.manager.disable), **changed}


@pytest.fixture
def inline(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inline:
    """Run the command line in this process, one cell after another, where starting others would prove nothing more."""

    def run(*arguments: str) -> str:
        here = [] if any("launcher=" in text for text in arguments) else ["hydra/launcher=basic"]
        silent = ["hydra/hydra_logging=none"]  # others would change this process's for good
        if "hydra/launcher=processes" not in arguments:  # whose jobs log elsewhere
            silent.append("hydra/job_logging=none")
        monkeypatch.setattr(sys, "argv", ["evalbench", *arguments, *here, *silent])
        main()
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server."""
    reason = postgresql.missing()
    if reason is not None:
        pytest.skip(reason)
    with postgresql.running() as server:
        yield server


@pytest.fixture(scope="session")
def programs() -> Iterator[started.Server]:
    """A server that programs are forked from."""
    with started.serving() as server:
        yield server


@pytest.fixture
def start(workspace: Path, programs: started.Server) -> Start:
    """Start `evalbench ARGUMENTS` in the workspace, or in another folder; it is under way sooner than with `cli`."""
    return partial(programs.start, folder=workspace)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with W&B's own files kept inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of a test that logged in this process
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / f"wandb-{name.lower()}"))
    return tmp_path


@pytest.fixture
def cli(workspace: Path) -> Cli:
    """Run `evalbench ARGUMENTS` in the workspace and return the finished process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "evalbench", *arguments]
        return subprocess.run(command, cwd=workspace, env=os.environ, capture_output=True, text=True, timeout=240)

    return run
