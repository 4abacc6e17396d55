"""Imports flow one way, heavy libraries stay in the modules that need them, starting is light, and code stays small."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

import evalbench
import modules
from modules import MODULES

SOURCE = Path(evalbench.__file__).parent
ORDER = list(MODULES)
HEAVY = {
    "torch": {
        "models",
        "engine",
        "engines",
        "cost",
        "weights",
        "tasks",
        "parts",
        "draws",
        "random_functions",
        "gpus",
        "convert",
    },
    "safetensors": {"models", "weights", "workloads", "convert"},
    "skops": {"weights"},
    "pytorch_lightning": {"engine", "engines"},
    "wandb": {"tracking", "imports", "dashboard"},
    "mlflow": {"tracking", "imports"},
    "tensorboard": {"tracking", "imports"},
    "trackio": {"tracking"},
    "wandb_workspaces": {"dashboard"},
    "matplotlib": {"report"},
    "optuna": {"search", "formats"},
    "sqlalchemy": {"store", "imports"},
    "sklearn": {"workloads", "tasks", "engines", "weights"},
    "hydra": {"config", "processes", "composition", "api", "terminal"},
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 450, 50
"""Complexity has a limit too, in pyproject.toml."""
VAGUE = {
    "found": "findings, results, a match",
    "place": "slot, index, position, rank, link, path",
    "places": "slots, indices, positions, ranks, links, paths",
    "standing": "pruning score",
    "ring": "recommendation",
    "rings": "recommendations",
    "room": "module",
    "rooms": "modules",
}
"""Words that once had several meanings, and the words to use instead."""
FILES = sorted(SOURCE.rglob("*.py"))


def module_of(parts: Sequence[str]) -> str | None:
    """Return the module of a file or of an imported name, given in parts; None if there is none."""
    names = (".".join(parts[:depth]) for depth in (2, 1))
    return next((name for name in names if name in MODULES), None)


def module_of_file(file: Path) -> str | None:
    return module_of(file.relative_to(SOURCE).with_suffix("").parts)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, anywhere in it."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_belongs_to_a_module() -> None:
    homeless = {str(file.relative_to(SOURCE)) for file in FILES if module_of_file(file) is None}
    assert homeless == {"engine/__init__.py"}
    assert {module_of_file(file) for file in FILES} - {None} == set(MODULES)


def test_a_module_imports_only_lower_modules_and_itself() -> None:
    for file in FILES:
        module = module_of_file(file)
        for name in imports(file):
            package, *parts = name.split(".")
            if package == "evalbench":
                imported = module_of(parts)
                assert imported is not None, f"{file} imports {name}"
                assert module is not None, f"{file} imports {name}"
                assert ORDER.index(imported) <= ORDER.index(module), f"{file} imports {name}"


def test_heavy_libraries_stay_in_their_modules() -> None:
    for file in FILES:
        for name in imports(file):
            allowed = HEAVY.get(name.split(".")[0])
            assert allowed is None or str(module_of_file(file)).split(".")[0] in allowed, f"{file} imports {name}"


def test_the_docs_show_the_order_that_is_checked() -> None:
    assert modules.PAGE.read_text(encoding="utf-8") == modules.page(), "run: cd tests && python modules.py"
    assert modules.PICTURE.read_text(encoding="utf-8") == modules.picture(), "run: cd tests && python modules.py"


def test_files_and_functions_stay_small() -> None:
    for file in FILES:
        assert file.read_text(encoding="utf-8").count("\n") <= MOST_LINES, file
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MOST_LINES_OF_A_FUNCTION, f"{file}: {node.name}"


def names(file: Path) -> Iterator[str]:
    """Yield the names that a file binds: of variables, arguments, attributes, functions and classes."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def test_names_say_their_contents() -> None:
    for file in FILES:
        words = {word for name in names(file) for word in name.strip("_").lower().split("_")}
        assert not words & VAGUE.keys(), f"{file}: {VAGUE}"


def test_a_class_name_has_one_meaning() -> None:
    nodes = [node for file in FILES for node in ast.walk(tree_of(file))]
    classes = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    assert sorted(classes) == sorted(set(classes))


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
