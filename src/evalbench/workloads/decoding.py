"""Image files as pixels, in several processes. As a program, one of them: it reads and answers tasks, a line each.

It imports nothing of evalbench, so that it starts at once, and ends when its standard input does.
"""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILES = 256
"""Files of a task."""
MOST_IN_PROCESS = 4 * FILES
"""Files up to which starting other processes takes longer than decoding."""
UNREADABLE = (OSError, SyntaxError, ValueError)
"""What PIL raises for a file that is no image."""

Header = tuple[str, tuple[int, int]]
"""An image's mode, as PIL names it, and (width, height)."""


def header(file: Any) -> Header | None:
    """Return the header of an image file, or of an image of PIL; None if it cannot be read."""
    from PIL import Image

    if isinstance(file, Image.Image):
        return file.mode, file.size
    try:
        with Image.open(file) as image:
            image.verify()
            return image.mode, image.size
    except UNREADABLE:
        return None


def pixels(file: Any, mode: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels `(channels, height, width)` of an image in a mode, scaled to a size; raise PIL's error."""
    from PIL import Image

    image = file if isinstance(file, Image.Image) else Image.open(file)
    with image:
        plain = image.convert("RGBA" if image.mode == "P" else image.mode).convert(mode)
        array = np.asarray(plain if plain.size == size else plain.resize(size, Image.Resampling.BILINEAR))
    return np.ascontiguousarray(np.moveaxis(array.reshape(size[1], size[0], len(mode)), 2, 0))


def headers(files: Sequence[str]) -> list[Header | None]:
    """Return the headers of image files."""
    answers = _answers([{"files": part} for part in _parts(files)])
    return [None if one is None else (one[0], (one[1][0], one[1][1])) for answer in answers for one in answer]


def write(files: Sequence[str], mode: str, size: tuple[int, int], path: str, offset: int) -> str | None:
    """Write the pixels of image files one after the other into a file from a byte on; return what is wrong, or None."""
    num_bytes = FILES * len(mode) * size[0] * size[1]
    tasks = [
        {"files": part, "mode": mode, "size": size, "path": path, "offset": offset + number * num_bytes}
        for number, part in enumerate(_parts(files))
    ]
    return next((answer for answer in _answers(tasks) if answer is not None), None)


def _parts(files: Sequence[str]) -> list[Sequence[str]]:
    return [files[first : first + FILES] for first in range(0, len(files), FILES)]


def _answer(task: Mapping[str, Any]) -> Any:
    if "path" not in task:
        return [header(file) for file in task["files"]]
    with Path(task["path"]).open("r+b") as out:
        out.seek(task["offset"])
        for file in task["files"]:
            try:
                decoded = pixels(file, task["mode"], tuple(task["size"]))
            except UNREADABLE as error:
                return f"{file}: cannot be read as an image ({error}): remove or replace it"
            out.write(decoded.data)
    return None


def _answers(tasks: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return the answers to tasks, by processes if they are many."""
    if len(tasks) * FILES <= MOST_IN_PROCESS:
        return [_answer(task) for task in tasks]
    answers: list[Any] = [None] * len(tasks)
    left = iter(enumerate(tasks))
    count = min(len(tasks), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with ThreadPoolExecutor(count) as threads:
        try:
            for done in threads.map(lambda _: list(_answered(left)), range(count)):
                for number, answer in done:
                    answers[number] = answer
        finally:
            deque(left, maxlen=0)  # after an error or Ctrl-C no process begins another task
    return answers


def _answered(tasks: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[tuple[int, Any]]:
    """Yield the answers of one process to those tasks that no other process has taken."""
    command, pipe = [sys.executable, "-I", __file__], subprocess.PIPE  # -I: without the modules beside this one
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, task in tasks:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise OSError(f"a process that decodes images has ended with the code {process.wait()}")
            yield number, json.loads(answer)
        process.stdin.close()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
