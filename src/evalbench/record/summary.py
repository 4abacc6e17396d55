"""`summary.json`: the verdicts, numbers and provenance of a report for programs; `summary.schema.json` describes it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from evalbench.errors import TableError
from evalbench.names import one_line, short

FILE = "summary.json"
VERSION = 1
LARGEST = 32_000_000  # bytes that are read
LONGEST_INTEGER = 18  # digits
SCHEMA = Path(__file__).with_name("summary.schema.json")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of `summary.json`."""
    content: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return content


def settings_hash(settings: Mapping[str, Any] | None, space: Any = None, code: Any = None) -> str | None:
    """Return the hash that tells techniques of one name apart: of settings, search space and own code.

    None if the settings are not known.
    """
    if settings is None:
        return None
    about = {"settings": settings, **({"space": space} if space else {}), **({"code": code} if code else {})}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def write_summary(folder: Path, summary: Mapping[str, Any]) -> Path:
    """Write the file into the folder of a report, and return its path."""
    path = folder / FILE
    text = json.dumps(exact(summary), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")
    return path


def read_summary(path: Path) -> dict[str, Any]:
    """Read a file that anybody may have written, and check it against the schema.

    Raises:
        TableError: it is missing, too large, no JSON, of another version, or does not fit the schema.
    """
    from fastjsonschema import JsonSchemaValueException

    try:
        if path.stat().st_size > LARGEST:
            raise TableError(f"{path} has more than {LARGEST:,} bytes: it is no {FILE}")
        summary = exact(json.loads(path.read_bytes(), parse_constant=_no_number, parse_int=_whole))
    except FileNotFoundError:
        raise TableError(f"{path} is missing: `evalbench report FOLDER` writes it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"{path} cannot be read as JSON: {error}") from None
    version = summary.get("version") if isinstance(summary, dict) else None
    if version != VERSION:
        shown = short(repr(version))
        raise TableError(f"{path}: version must be {VERSION}, not {shown}: use the evalbench that wrote it")
    try:
        return dict(_validator()(summary))
    except JsonSchemaValueException as error:
        raise TableError(f"{path}: {short(one_line(error.message), 200)}") from None


@cache
def _validator() -> Callable[[Any], Any]:
    import fastjsonschema

    check: Callable[[Any], Any] = fastjsonschema.compile(schema())
    return check


def _whole(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text):,} digits is too large")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def exact(value: Any) -> Any:
    """Return a value as JSON has it in UTF-8: numbers with ten digits, None for those that are not finite."""
    if isinstance(value, str):
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")  # a name may hold half of a character
    if isinstance(value, Mapping):
        return {exact(str(key)): exact(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [exact(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value
