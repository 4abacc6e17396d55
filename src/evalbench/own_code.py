"""The user's own code behind a `_target_`: a part of a trial's identity, because edited code is another technique.

Own code is neither evalbench nor what comes with its installation: Python's library, PyTorch, the other requirements.
A module is known by its syntax tree, so that comments, layout and docstrings do not count; a compiled module by its
bytes; an installed package by its version. What an own module imports is followed. Nothing is imported for that but the
target itself, because it may be defined elsewhere.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

Code = Mapping[str, Mapping[str, str]]
"""Each name that leads to own code, with the modules and packages behind it and what each of them is known by."""

DISTRIBUTION = "evalbench-dl"
STANDARD_LIBRARY = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
INSTALLED = {"site-packages", "dist-packages"}
IMPORTERS = {"import_module", "__import__", "exec_module", "load_module", "run_module", "run_path"}
"""Functions that import what no `import` statement names."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_read: dict[str, tuple[object, str | None, tuple[str, list[str]]]] = {}
"""By module: what it was imported as, its file, and what was read in it."""


def behind(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the own code that the dotted names in some settings lead to, nested `_target_`s included.

    Raises `ImportError`, or whatever the import of a `_target_` raises.
    """
    found = {name: _pieces(name, is_target) for name, is_target in sorted(_names(settings))}
    return {name: pieces for name, pieces in found.items() if pieces}


def locate(name: str) -> Any:
    """Return what a dotted name leads to, as Hydra finds it: what a module calls so counts before a module of the name.

    Raises `ImportError`, or whatever the import raises.
    """
    path, *rest = name.split(".")
    found: Any = importlib.import_module(path)
    for part in rest:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(path)
            except ModuleNotFoundError as error:
                if error.name is None or not path.startswith(error.name):
                    raise  # it is there, and imports what is not
                found = getattr(found, part)  # that says what is missing
    return found


def changes(old: Code | None, new: Code) -> list[str]:
    """Say of each name whose code is not what it was, or not known to be: `old` is None where nothing was recorded."""
    if old is None:
        return [f"code of {name} was not recorded" for name in new]
    return [f"code of {name} changed" for name, pieces in new.items() if old.get(name) != pieces]


def targets(settings: Any) -> list[str]:
    """Return every `_target_` in some settings, nested ones included; nothing is imported."""
    return [name for name, is_target in _names(settings) if is_target]


def _names(value: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the dotted names anywhere in a value, each with whether it is a `_target_`."""
    if isinstance(value, Mapping):
        for inner, part in value.items():
            yield from _names(part, str(inner))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _names(part, key)
    elif isinstance(value, str) and (key == "_target_" or re.fullmatch(r"\w+(\.\w+)+", value)):
        yield value, key == "_target_"


def _pieces(name: str, is_target: bool) -> dict[str, str]:
    pieces = _closure([name])
    if is_target and (pieces or not _modules(name)):
        pieces = _closure([name, *_definers(locate(name))])  # its import may extend `sys.path`
    return dict(sorted(pieces.items()))


def _definers(target: Any) -> set[str]:
    """Return the modules that define an object, what it wraps and binds, and what it inherits from."""
    while isinstance(target, functools.partial):
        target = target.func
    owner = getattr(target, "__self__", target)
    kinds = (owner if isinstance(owner, type) else type(owner)).__mro__
    modules = {getattr(part, "__module__", None) for part in (target, inspect.unwrap(target), *kinds)}
    return {module for module in modules if isinstance(module, str)}


def _closure(names: Iterable[str]) -> dict[str, str]:
    """Return the own modules and installed packages that some names lead to, with what each is known by."""
    pieces: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        for spec in _modules(waiting.pop()):
            if spec.name in pieces or _is_namespace(spec):
                continue
            installed = _installed(spec)
            if installed is not None:
                pieces |= installed
                break
            pieces[spec.name], imported = _read_once(spec)
            waiting += imported
    return pieces


def _modules(name: str) -> list[ModuleSpec]:
    """Return the modules along a dotted name, packages first; none of them is imported."""
    first, *rest = name.split(".")
    spec = _top(first) if first else None
    found = []
    while spec is not None:
        found.append(spec)
        if not rest or spec.submodule_search_locations is None:
            break
        spec = PathFinder.find_spec(f"{spec.name}.{rest.pop(0)}", spec.submodule_search_locations)
    return found


def _top(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a module without a specification: a script, or what a notebook calls `__main__`
        return ModuleSpec(name, None, origin=getattr(sys.modules[name], "__file__", None))


def _is_namespace(spec: ModuleSpec) -> bool:
    """Return whether it is a folder without code of its own."""
    return spec.submodule_search_locations is not None and not spec.has_location


# ── what is installed ─────────────────────────────────────────────────────────────────────────────────────────────────


def _installed(spec: ModuleSpec) -> dict[str, str] | None:
    """Return the versions of the packages that a module comes from, those of the standard installation left out.

    None for own code.
    """
    top, path = spec.name.partition(".")[0], Path(spec.origin or "")
    if top == "evalbench" or spec.origin in ("built-in", "frozen"):
        return {}
    if not INSTALLED & set(path.parts):
        return {} if any(path.is_relative_to(folder) for folder in STANDARD_LIBRARY) else None
    if _canonical(top) in _standard():
        return {}  # without a look into every package
    names = set(_distributions().get(top, ()))
    if len(names) > 1:  # a namespace that several share
        names = {name for name in names if any(_is_at(file, path) for file in metadata.files(name) or ())} or names
    if not names:
        return None  # put there by hand
    return {name: _version(name) for name in names if _canonical(name) not in _standard()}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _is_at(file: metadata.PackagePath, path: Path) -> bool:
    return file.name == path.name and Path(str(file.locate())) == path


@functools.cache
def _standard() -> frozenset[str]:
    """Return the distributions that come with evalbench: what it requires, what those require, and so on."""
    found: set[str] = set()
    waiting = [DISTRIBUTION]
    while waiting:
        name = _canonical(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        waiting += [re.split(r"[^\w.-]", text)[0] for text in required if not re.search(r"\bextra\s*==", text)]
    return frozenset(found)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _version(name: str) -> str:
    """Return a distribution's version, with a hash of its files where it does not come from a package index."""
    distribution = metadata.distribution(name)
    if distribution.read_text("direct_url.json") is None:
        return distribution.version
    code = [file for file in distribution.files or () if file.suffix in (".py", ".so", ".pyd") and file.hash]
    text = "\n".join(sorted(f"{file} {file.hash.value}" for file in code if file.hash))
    return f"{distribution.version} {_short(text.encode())}"


# ── own modules ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_once(spec: ModuleSpec) -> tuple[str, list[str]]:
    """Return a module's hash and the names that it imports: of the code that this process runs, if it is imported.

    A module that is imported anew has another specification, and is read anew.
    """
    module = sys.modules.get(spec.name)
    loaded = getattr(module, "__spec__", None) or module
    known = _read.get(spec.name)
    if known is None or known[0] is not loaded or known[1] != spec.origin or loaded is None:
        known = _read[spec.name] = (loaded, spec.origin, _read_module(spec))
    return known[2]


def _read_module(spec: ModuleSpec) -> tuple[str, list[str]]:
    read: Callable[[Any], bytes] = getattr(spec.loader, "get_data", lambda file: Path(file).read_bytes())
    try:
        content = read(spec.origin)
    except (OSError, TypeError) as error:
        raise ImportError(f"{spec.name} has no source that shows whether it changed: put it into a .py file") from error
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # compiled
        return _short(content), []
    return _short(_meaning(tree)), list(dict.fromkeys(_imports(spec, tree)))


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _meaning(tree: ast.Module) -> bytes:
    """Return the tree as bytes, without docstrings; without empty fields, in which versions of Python differ."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    parts: list[str] = []
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.AST):
            fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
            parts.append(f"{type(node).__name__} {' '.join(fields)}")
            waiting += fields.values()
        elif isinstance(node, list):
            parts.append(str(len(node)))
            waiting += node
        else:
            parts.append(repr(node))
    return "\n".join(parts).encode()


def _imports(spec: ModuleSpec, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _absolute("." * node.level + (node.module or ""), spec)
            for alias in node.names:
                yield from [f"{package}.{alias.name}"] if alias.name != "*" else [package, *_beneath(package)]
        elif isinstance(node, ast.Call):
            yield from _imported_by(node, spec)


def _imported_by(call: ast.Call, spec: ModuleSpec) -> Iterator[str]:
    """Yield what a function call imports; a name that is computed may be that of any module beside."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if function not in IMPORTERS:
        return
    words = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if isinstance(next(iter(call.args), None), ast.Constant):
        yield from (_absolute(word, spec) for word in words[:1])
        return
    for word in words:  # `import_module(f"models.{name}")`
        yield from _beneath(_absolute(word.rpartition(".")[0], spec))
    package = spec.name if spec.submodule_search_locations else spec.parent or ""
    yield from _beneath(package, [str(Path(spec.origin or "").parent)])


def _absolute(name: str, spec: ModuleSpec) -> str:
    try:
        return importlib.util.resolve_name(name, spec.parent)
    except ImportError:  # the module itself fails to import it
        return ""


def _beneath(package: str, folders: Iterable[str] | None = None) -> Iterator[str]:
    """Yield all modules of a package of the user's, and of the packages in it."""
    if folders is None:
        found = [spec for spec in _modules(package)[-1:] if _installed(spec) is None]
        folders = [folder for spec in found for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        for module in pkgutil.iter_modules([folder]):
            name = f"{package}.{module.name}".lstrip(".")
            yield name
            if module.ispkg:
                yield from _beneath(name, [f"{folder}/{module.name}"])
