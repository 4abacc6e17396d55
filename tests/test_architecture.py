"""Imports flow one way, heavy libraries stay in the rooms that need them, and starting is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalbench

SOURCE = Path(evalbench.__file__).parent
LEVELS = (
    ("errors", "interrupts", "seeds", "trial", "provenance", "ranks"),
    ("space", "config", "processes"),
    ("store", "tracking"),
    ("live", "mirror"),
    ("sync", "imports"),
    ("workloads",),
    ("halving", "models", "batches", "tracing", "noise", "schedules", "kernels", "optimizers", "counting"),
    ("steps", "cohort"),
    ("checkpoints", "memory", "weights"),
    ("training",),
    ("cost",),
    ("cell", "statistics"),
    ("search", "tuning"),
    ("report", "export"),
    ("compare", "dashboard"),
    ("evaluation",),
    ("terminal",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
HEAVY = {
    "torch": {
        "models",
        "batches",
        "tracing",
        "noise",
        "schedules",
        "kernels",
        "optimizers",
        "counting",
        "steps",
        "cohort",
        "checkpoints",
        "memory",
        "training",
        "cost",
        "weights",
        "workloads",
    },
    "safetensors": {"weights"},
    "pytorch_lightning": {"cohort", "training"},
    "wandb": {"tracking", "imports", "dashboard"},
    "mlflow": {"tracking", "imports"},
    "tensorboard": {"tracking", "imports"},
    "trackio": {"tracking"},
    "wandb_workspaces": {"dashboard"},
    "matplotlib": {"report"},
    "optuna": {"search"},
    "sqlalchemy": {"store"},
    "sklearn": {"workloads"},
    "hydra": {"config", "processes", "terminal", "__main__"},
}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imports(file: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_level() -> None:
    assert {room_of(file) for file in FILES} - {"__init__", "conf"} == LEVEL.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_room_imports_only_from_lower_rooms_and_itself(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":
        return
    for name in imports(file):
        if name.startswith("evalbench."):
            other = name.split(".")[1]
            assert other == room or LEVEL[other] < LEVEL[room] or _same_level_without_cycle(other, room), name


def _same_level_without_cycle(other: str, room: str) -> bool:
    """Rooms of one level may use each other in the order in which they are listed."""
    rooms = LEVELS[LEVEL[room]]
    return LEVEL[other] == LEVEL[room] and rooms.index(other) < rooms.index(room)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_heavy_libraries_stay_in_their_rooms(file: Path) -> None:
    for name in imports(file):
        allowed = HEAVY.get(name.split(".")[0])
        assert allowed is None or room_of(file) in allowed, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import sys; sys.argv[1:] = ['--help']; from evalbench.__main__ import main; main()",
            "torch wandb pandas optuna",
        ),
        ("import evalbench.report, evalbench.report.__main__", "torch wandb hydra optuna"),
        ("import evalbench.terminal, evalbench.cell", "torch wandb pytorch_lightning optuna"),
    ],
)
def test_starting_is_light(code: str, absent: str) -> None:
    after = f"import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules))); {code}"
    output = subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True).stdout
    loaded = output.split("LOADED", 1)[1].split()
    assert "evalbench" in loaded
    assert not set(absent.split()) & set(loaded)
