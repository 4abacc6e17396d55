"""Imports flow one way, heavy libraries stay in the rooms that need them, and starting is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import evalbench

SOURCE = Path(evalbench.__file__).parent
ROOMS = [
    "errors",
    "names",
    "interrupts",
    "programs",
    "seeds",
    "trial",
    "tasks",
    "provenance",
    "ranks",
    "space",
    "own_code",
    "config",
    "processes",
    "store",
    "tracking",
    "live",
    "mirror",
    "sync",
    "imports",
    "workloads",
    "models",
    "weights",
    "parts",
    "engine.halving",
    "engine.batches",
    "engine.tracing",
    "engine.noise",
    "engine.schedules",
    "engine.counting",
    "engine.state",
    "engine.python_state",
    "engine.kernels",
    "engine.calls",
    "engine.instances",
    "engine.optimizers",
    "engine.one_by_one",
    "engine.steps",
    "engine.members",
    "engine.guard",
    "engine.networks",
    "engine.data",
    "engine.validation",
    "engine.gradients",
    "engine.cohort",
    "engine.checkpoints",
    "engine.memory",
    "engine.training",
    "engine.checks",
    "cost",
    "cell",
    "statistics",
    "search",
    "tuning",
    "record",
    "report.render",
    "report.analysis",
    "report.section",
    "report.sections",
    "report.page",
    "report",
    "comparison",
    "dashboard",
    "evaluation",
    "composition",
    "api",
    "__init__",
    "terminal",
    "__main__",
]
"""Lowest first: a room imports only from itself and from rooms before it."""
HEAVY = {
    "torch": {"models", "engine", "cost", "weights", "tasks", "parts"},
    "safetensors": {"weights"},
    "pytorch_lightning": {"engine"},
    "wandb": {"tracking", "imports", "dashboard"},
    "mlflow": {"tracking", "imports"},
    "tensorboard": {"tracking", "imports"},
    "trackio": {"tracking"},
    "wandb_workspaces": {"dashboard"},
    "matplotlib": {"report"},
    "optuna": {"search"},
    "sqlalchemy": {"store", "imports"},
    "sklearn": {"workloads", "tasks"},
    "hydra": {"config", "processes", "composition", "api", "terminal"},
}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(parts: Sequence[str]) -> str | None:
    """Return the room that a file's or an import's dotted name lies in; None for what is in no room."""
    names = (".".join(parts[:depth]) for depth in (2, 1))
    return next((name for name in names if name in ROOMS), None)


def room_of_file(file: Path) -> str | None:
    return room_of(file.relative_to(SOURCE).with_suffix("").parts)


def imports(file: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_has_a_room() -> None:
    homeless = {str(file.relative_to(SOURCE)) for file in FILES if room_of_file(file) is None}
    assert homeless == {"engine/__init__.py"}
    assert {room_of_file(file) for file in FILES} - {None} == set(ROOMS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_room_imports_only_from_lower_rooms_and_itself(file: Path) -> None:
    room = room_of_file(file)
    for name in imports(file):
        package, *parts = name.split(".")
        if package == "evalbench":
            other = room_of(parts)
            assert other is not None, name
            assert room is not None, f"{file.name} imports {name}"
            assert ROOMS.index(other) <= ROOMS.index(room), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_heavy_libraries_stay_in_their_rooms(file: Path) -> None:
    for name in imports(file):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or str(room_of_file(file)).split(".")[0] in allowed, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import sys; sys.argv[1:] = ['--help']; from evalbench.__main__ import main; main()",
            "torch wandb pandas optuna",
        ),
        ("import evalbench; evalbench.__version__; dir(evalbench)", "torch pandas numpy hydra matplotlib"),
        ("import evalbench.report, evalbench.report.__main__", "torch wandb hydra optuna"),
        ("import evalbench.terminal.hydra_app, evalbench.cell", "torch wandb pytorch_lightning optuna"),
    ],
)
def test_starting_is_light(code: str, absent: str) -> None:
    after = f"import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules))); {code}"
    output = subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True).stdout
    loaded = output.split("LOADED", 1)[1].split()
    assert "evalbench" in loaded
    assert not set(absent.split()) & set(loaded)
