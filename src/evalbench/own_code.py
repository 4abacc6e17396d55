"""Find the user's own code behind a `_target_`: a part of a trial's identity, because edited code is a new technique.

Own code is all code except evalbench and the packages of its installation: Python's library, PyTorch, the other
requirements. A module is identified by its syntax tree, so that comments, layout and docstrings do not count, a
compiled module by its bytes, an installed package by its version. The imports of an own module are followed. Only the
target itself is imported, because it may be defined in another module.
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
"""The modules and packages behind each name of own code, with the hash or version of each."""

DISTRIBUTION = "evalbench-dl"
STANDARD_LIBRARY = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
INSTALLED = {"site-packages", "dist-packages"}
IMPORTERS = {"import_module", "__import__", "exec_module", "load_module", "run_module", "run_path"}
"""Functions that import modules without an `import` statement."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

_read: dict[str, tuple[object, str | None, tuple[str, list[str]]]] = {}
"""By module: its specification or module object, its file, and the result of reading it."""


def behind(settings: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the own code of the dotted names in some settings, including nested `_target_`s.

    Raises `ImportError`, or any error that the import of a `_target_` raises.
    """
    code = {name: _pieces(name, is_target) for name, is_target in sorted(_names(settings))}
    return {name: pieces for name, pieces in code.items() if pieces}


def locate(name: str) -> Any:
    """Return the object of a dotted name, as Hydra finds it: an attribute of a module comes before a submodule.

    Raises `ImportError`, or any error that the import raises.
    """
    path, *rest = name.split(".")
    target: Any = importlib.import_module(path)
    for part in rest:
        path = f"{path}.{part}"
        try:
            target = getattr(target, part)
        except AttributeError:
            try:
                target = importlib.import_module(path)
            except ModuleNotFoundError as error:
                if error.name is None or not path.startswith(error.name):
                    raise  # the module exists, but one of its imports does not
                target = getattr(target, part)  # raises an error that names the missing attribute
    return target


def changes(old: Code | None, new: Code) -> list[str]:
    """Return a note for each name with changed code, or with code that was not recorded (`old` is None)."""
    if old is None:
        return [f"code of {name} was not recorded" for name in new]
    return [f"code of {name} changed" for name, pieces in new.items() if old.get(name) != pieces]


def targets(settings: Any) -> list[str]:
    """Return every `_target_` in some settings, including nested ones, without imports."""
    return [name for name, is_target in _names(settings) if is_target]


def _names(value: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each dotted name in a value, at any depth, and whether it is a `_target_`."""
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
    """Return the modules that define an object, the objects that it wraps and binds, and its base classes."""
    while isinstance(target, functools.partial):
        target = target.func
    owner = getattr(target, "__self__", target)
    classes = (owner if isinstance(owner, type) else type(owner)).__mro__
    modules = {getattr(part, "__module__", None) for part in (target, inspect.unwrap(target), *classes)}
    return {module for module in modules if isinstance(module, str)}


def _closure(names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of own modules and versions of installed packages that some names lead to."""
    pieces: dict[str, str] = {}
    queue = list(names)
    while queue:
        for spec in _modules(queue.pop()):
            if spec.name in pieces or _is_namespace(spec):
                continue
            installed = _installed(spec)
            if installed is not None:
                pieces |= installed
                break
            pieces[spec.name], imported = _read_once(spec)
            queue += imported
    return pieces


def _modules(name: str) -> list[ModuleSpec]:
    """Return the modules along a dotted name, packages first, without imports."""
    first, *rest = name.split(".")
    spec = _top(first) if first else None
    specs = []
    while spec is not None:
        specs.append(spec)
        if not rest or spec.submodule_search_locations is None:
            break
        spec = PathFinder.find_spec(f"{spec.name}.{rest.pop(0)}", spec.submodule_search_locations)
    return specs


def _top(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a module without a specification: a script, or `__main__` of a notebook
        return ModuleSpec(name, None, origin=getattr(sys.modules[name], "__file__", None))


def _is_namespace(spec: ModuleSpec) -> bool:
    """Return whether a module is a folder without code of its own."""
    return spec.submodule_search_locations is not None and not spec.has_location


# ── installed packages ────────────────────────────────────────────────────────────────────────────────────────────────


def _installed(spec: ModuleSpec) -> dict[str, str] | None:
    """Return the versions of a module's packages, without those of the standard installation; None for own code."""
    top, path = spec.name.partition(".")[0], Path(spec.origin or "")
    if top == "evalbench" or spec.origin in ("built-in", "frozen"):
        return {}
    if not INSTALLED & set(path.parts):
        return {} if any(path.is_relative_to(folder) for folder in STANDARD_LIBRARY) else None
    if _canonical(top) in _standard():
        return {}  # returns before the slow search in all packages
    names = set(_distributions().get(top, ()))
    if len(names) > 1:  # several packages share the namespace
        names = {name for name in names if any(_is_at(file, path) for file in metadata.files(name) or ())} or names
    if not names:
        return None  # copied into the folder by hand
    return {name: _version(name) for name in names if _canonical(name) not in _standard()}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _is_at(file: metadata.PackagePath, path: Path) -> bool:
    return file.name == path.name and Path(str(file.locate())) == path


@functools.cache
def _standard() -> frozenset[str]:
    """Return the distributions that come with evalbench: its direct and indirect requirements."""
    standard: set[str] = set()
    queue = [DISTRIBUTION]
    while queue:
        name = _canonical(queue.pop())
        if name in standard:
            continue
        standard.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        queue += [re.split(r"[^\w.-]", text)[0] for text in required if not re.search(r"\bextra\s*==", text)]
    return frozenset(standard)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _version(name: str) -> str:
    """Return a distribution's version, with a hash of its files if it does not come from a package index."""
    distribution = metadata.distribution(name)
    if distribution.read_text("direct_url.json") is None:
        return distribution.version
    code = [file for file in distribution.files or () if file.suffix in (".py", ".so", ".pyd") and file.hash]
    text = "\n".join(sorted(f"{file} {file.hash.value}" for file in code if file.hash))
    return f"{distribution.version} {_short(text.encode())}"


# ── own modules ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_once(spec: ModuleSpec) -> tuple[str, list[str]]:
    """Return a module's hash and the names that it imports, read once: of the code that this process runs.

    A module that is imported again has a new specification, and is read again.
    """
    module = sys.modules.get(spec.name)
    loaded = getattr(module, "__spec__", None) or module
    cached = _read.get(spec.name)
    if cached is None or cached[0] is not loaded or cached[1] != spec.origin or loaded is None:
        cached = _read[spec.name] = (loaded, spec.origin, _read_module(spec))
    return cached[2]


def _read_module(spec: ModuleSpec) -> tuple[str, list[str]]:
    read: Callable[[Any], bytes] = getattr(spec.loader, "get_data", lambda file: Path(file).read_bytes())
    try:
        content = read(spec.origin)
    except (OSError, TypeError) as error:
        raise ImportError(f"{spec.name} must have source code, which shows changes: put it into a .py file") from error
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # compiled
        return _short(content), []
    return _short(_serialized(tree)), list(dict.fromkeys(_imports(spec, tree)))


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _serialized(tree: ast.Module) -> bytes:
    """Return the tree as bytes, without docstrings and without empty fields, in which versions of Python differ."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    parts: list[str] = []
    queue: list[Any] = [tree]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.AST):
            fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
            parts.append(f"{type(node).__name__} {' '.join(fields)}")
            queue += fields.values()
        elif isinstance(node, list):
            parts.append(str(len(node)))
            queue += node
        else:
            parts.append(repr(node))
    return "\n".join(parts).encode()


def _imports(spec: ModuleSpec, tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names that a module imports, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _absolute("." * node.level + (node.module or ""), spec)
            for alias in node.names:
                yield from [f"{package}.{alias.name}"] if alias.name != "*" else [package, *_submodules(package)]
        elif isinstance(node, ast.Call):
            yield from _imported_by(node, spec)


def _imported_by(call: ast.Call, spec: ModuleSpec) -> Iterator[str]:
    """Yield the names that a function call imports; for a computed name, yield all modules that it may name."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if function not in IMPORTERS:
        return
    texts = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if isinstance(next(iter(call.args), None), ast.Constant):
        yield from (_absolute(text, spec) for text in texts[:1])
        return
    for text in texts:  # `import_module(f"models.{name}")`
        yield from _submodules(_absolute(text.rpartition(".")[0], spec))
    package = spec.name if spec.submodule_search_locations else spec.parent or ""
    yield from _submodules(package, [str(Path(spec.origin or "").parent)])


def _absolute(name: str, spec: ModuleSpec) -> str:
    try:
        return importlib.util.resolve_name(name, spec.parent)
    except ImportError:  # the module's own import fails too
        return ""


def _submodules(package: str, folders: Iterable[str] | None = None) -> Iterator[str]:
    """Yield all modules of a package of the user's, and of its subpackages."""
    if folders is None:
        specs = [spec for spec in _modules(package)[-1:] if _installed(spec) is None]
        folders = [folder for spec in specs for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        for module in pkgutil.iter_modules([folder]):
            name = f"{package}.{module.name}".lstrip(".")
            yield name
            if module.ispkg:
                yield from _submodules(name, [f"{folder}/{module.name}"])
