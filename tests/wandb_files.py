"""Reads an offline W&B run's file back: a log of checksummed chunks (LevelDB's framing) of protocol buffers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

from evalbench.tracking import Run

BLOCK_BYTES = 32768
CHUNK_HEADER = struct.Struct("<IHB")  # checksum, length, and whether the chunk ends its record
FILE_HEADER_BYTES = 7
ENDS_RECORD = (1, 4)


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file in order."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = FILE_HEADER_BYTES, b""
    while place + CHUNK_HEADER.size <= len(data):
        room = BLOCK_BYTES - place % BLOCK_BYTES
        if room < CHUNK_HEADER.size:
            place += room
            continue
        _, length, kind = CHUNK_HEADER.unpack_from(data, place)
        start = place + CHUNK_HEADER.size
        parts += data[start : start + length]
        place = start + length
        if kind in ENDS_RECORD:
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            parts = b""
            yield record


def read_run(path: Path) -> tuple[Run, dict[str, str]]:
    """Return the run, and each metric's declared step axis."""
    values: dict[str, dict[str, Any]] = {"config": {}, "summary": {}}
    head: Any = None
    curve: list[dict[str, Any]] = []
    axes: dict[str, str] = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            head = record.run
            values["config"].update(_items(head.config.update))
        elif kind in ("config", "summary"):
            values[kind].update(_items(getattr(record, kind).update))
        elif kind == "history":
            curve.append({k: v for k, v in _items(record.history.item).items() if not k.startswith("_")})
        elif kind == "metric":
            axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    config = {key: value for key, value in values["config"].items() if key != "_wandb"}
    logged = {key for point in curve for key in point}
    summary = {k: v for k, v in values["summary"].items() if not k.startswith("_") and k.split(".")[0] not in logged}
    run = Run(head.run_id, head.run_group, head.job_type, tuple(head.tags), config, curve, summary, "", True)
    return run, axes


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
