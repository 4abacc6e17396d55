"""Compile a traced program with Inductor, torch's compiler, and keep what it compiled for the next run.

Inductor loads compiled programs by `pickle` and as shared libraries. So they lie in a folder that only the user can
read and write, which is checked each time before it is used.
"""

import copy
import importlib.util
import logging
import os
import re
import shutil
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from evalbench.engine.tracing import Program, tensors_of
from evalbench.errors import ConfigError

log = logging.getLogger(__name__)

TIMED = 3
"""Runs that are timed to tell what compiling saves; the fastest counts."""
TOLERANCE = 1e-3
"""The largest allowed difference from the traced program, as a share of a result's largest number."""
TOLERANCE_BF16 = 5e-2
"""The same if the program computes in bfloat16, which keeps 8 bits."""
SMALLEST = 1e-3
"""Differences of a small result are compared with at least this share of the largest number of all results."""
NAMED = re.compile(r"[\w.]*(Error|Exception)\b")
"""Begins a line that names an error."""

Run = Callable[..., Any]


def made(program: Program, arguments: tuple[Any, ...], folder: Path) -> tuple[Run, dict[str, Any]]:
    """Return the compiled program, and what compiling cost and saved as plain values.

    If Inductor cannot compile it, or its results differ, the traced program itself is returned with the reason.
    """
    start = time.perf_counter()
    try:
        with _inductor(folder):
            run = _compiled(program, tensors_of(arguments))
            run(*_copies(arguments))  # loads, and on CUDA tunes, the kernels
    except Exception as error:  # a compiler may raise anything
        return _as_traced(program, _reason(error))
    seconds = time.perf_counter() - start
    if not _agree(run(*_copies(arguments)), program(*_copies(arguments)), _tolerance(program)):
        return _as_traced(program, "its results differ from those of the traced program")
    before, after = (1e6 * _fastest(function, arguments) for function in (program, run))
    log.info("compiled a step in %.1f s: it takes %.0f µs, not %.0f", seconds, after, before)
    measured = {"compiled_in_s": round(seconds, 1), "compiled_us": round(after), "traced_us": round(before)}
    return run, measured


def _reason(error: Exception) -> str:
    """Return the line that names the error; that of a process of Inductor ends with it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if NAMED.match(line)), lines[0])


def check(on_cuda: bool, folder: Path) -> None:
    """Raise `ConfigError` if nothing can be compiled here, or the folder is not safe."""
    remedy = "leave trainer.path out"
    if on_cuda and importlib.util.find_spec("triton") is None:
        raise ConfigError("trainer.path", "needs Triton to compile for CUDA", "compiled", f"install it, or {remedy}")
    if shutil.which(compiler()) is None:
        rule = f"needs a C++ compiler, and there is no {compiler()}"
        raise ConfigError("trainer.path", rule, "compiled", f"install one, name it in the variable CXX, or {remedy}")
    make_private(folder)


def compiler() -> str:
    """Return the command of the C++ compiler that Inductor calls."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def make_private(folder: Path) -> None:
    """Make the folder for this user alone; raise `ConfigError` for one that others own or can use."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        state = folder.lstat()
        is_own = not hasattr(os, "getuid") or state.st_uid == os.getuid()
        if not stat.S_ISDIR(state.st_mode) or not is_own or (os.name == "posix" and state.st_mode & 0o077):
            rule = "must be a folder that is yours and that only you can read and write, because programs lie in it"
            raise ConfigError("trainer.compile_folder", rule, str(folder), "delete it, or name another") from None
    except OSError as error:
        rule = f"must be a folder that can be made ({error.strerror})"
        raise ConfigError("trainer.compile_folder", rule, str(folder), "name another") from None


@contextmanager
def _inductor(folder: Path) -> Iterator[None]:
    """Let Inductor keep its files in the folder."""
    make_private(folder)
    names = {"TORCHINDUCTOR_CACHE_DIR": folder.absolute(), "TRITON_CACHE_DIR": folder.absolute() / "triton"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(path) for name, path in names.items()})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own parts
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _compiled(program: Program, inputs: list[Tensor]) -> Run:
    import torch._inductor  # takes seconds to import

    graph = copy.deepcopy(program.graph)
    output = next(node for node in graph.nodes if node.op == "output")
    leaves, structure = tree_flatten(output.args[0])
    output.args = (tuple(leaves),)  # Inductor takes no nested results
    examples: list[Any] = list(inputs)
    options: dict[str, Any] = {"triton.cudagraphs": False}  # graphs are `engine.graphs`'
    if inputs[0].device.type == "cpu":
        options["compile_threads"] = 1  # starts no processes
    run = torch._inductor.compile(fx.GraphModule(program.module, graph), examples, options)

    def call(*arguments: Any) -> Any:
        return tree_unflatten(list(run(*tensors_of(arguments))), structure)

    return call


def _as_traced(program: Program, reason: str) -> tuple[Run, dict[str, Any]]:
    log.warning("a step runs as traced, because it cannot be compiled: %s", reason)
    return program, {"not_compiled": reason}


def _copies(arguments: tuple[Any, ...]) -> list[Any]:
    """Return copies, because a program may write into its inputs."""
    return [value.clone() if isinstance(value, Tensor) else [part.clone() for part in value] for value in arguments]


def _tolerance(program: Program) -> float:
    in_bf16 = any(node.meta.get("dtype") is torch.bfloat16 for node in program.graph.nodes)
    return TOLERANCE_BF16 if in_bf16 else TOLERANCE


def _agree(results: Any, expected: Any, tolerance: float) -> bool:
    pairs = [
        (a.double(), b.double()) for a, b in zip(tree_leaves(results), tree_leaves(expected), strict=True) if a.numel()
    ]
    scales = [float(b.nan_to_num(0, 0, 0).abs().max()) for _, b in pairs]
    for (a, b), scale in zip(pairs, scales, strict=True):
        limit = tolerance * max(scale, SMALLEST * max(scales))
        close = torch.isclose(a, b, rtol=0, atol=limit, equal_nan=True)
        if not bool(close.all()):
            return False
    return True


def _fastest(run: Run, arguments: tuple[Any, ...]) -> float:
    """Return the fewest seconds of a run."""
    seconds = []
    for _ in range(TIMED):
        copies = _copies(arguments)
        _synchronize(copies)
        start = time.perf_counter()
        run(*copies)
        _synchronize(copies)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _synchronize(arguments: list[Any]) -> None:
    if tensors_of(arguments)[0].device.type == "cuda":
        torch.cuda.synchronize()
