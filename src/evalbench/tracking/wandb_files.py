"""Read the file of an offline W&B run: a log of checksummed chunks (LevelDB's framing) of protocol buffers."""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAGIC = b":W&B"
BLOCK_BYTES = 32768
CHUNK_HEADER = struct.Struct("<IHB")  # checksum, length, and part of the record (see below)
FILE_HEADER_BYTES = 7
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """The contents of the file of a run."""

    id: str = ""
    project: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: Sequence[str] = ()
    notes: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """Each declared metric's step axis."""
    hidden: set[str] = field(default_factory=set)
    """Declared metrics that get no chart of their own."""
    num_stats: int = 0
    """Number of samples of the system metrics."""
    artifacts: list[Mapping[str, Any]] = field(default_factory=list)
    """Name, type, metadata and paths of each artifact."""
    started: float = 0.0
    """Start of this copy of the run, in seconds."""
    ended: bool = False
    exit_code: int = 0


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the records of a file in order, as bytes, leaving out an incomplete record at the end.

    Raises:
        ValueError: the file is damaged, or not a file of W&B.
    """
    data = path.read_bytes()
    if not MAGIC.startswith(data[:4]):
        raise ValueError(f"{path} is not the file of a W&B run")
    position, record = FILE_HEADER_BYTES, b""
    while position + CHUNK_HEADER.size <= len(data):
        rest_of_block = BLOCK_BYTES - position % BLOCK_BYTES
        if rest_of_block < CHUNK_HEADER.size:
            position += rest_of_block
            continue
        checksum, length, part = CHUNK_HEADER.unpack_from(data, position)
        if not part:  # padding
            position += rest_of_block
            continue
        start = position + CHUNK_HEADER.size
        position = start + length
        if position > len(data):
            return
        if zlib.crc32(data[start:position], zlib.crc32(bytes([part]))) != checksum:
            raise ValueError(f"{path} is damaged at byte {start}: copy it again")
        record = data[start:position] if part in (WHOLE, FIRST) else record + data[start:position]
        if part in (WHOLE, LAST):
            yield record


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file in order."""
    from wandb.proto import wandb_internal_pb2

    for chunk in chunks(path):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(chunk)
        yield record


def is_whole(path: Path) -> bool:
    """Return whether the file holds the end of the run."""
    return path.is_file() and any(record.WhichOneof("record_type") == "exit" for record in records(path))


def read(path: Path) -> OfflineRun:
    """Return the contents of the file of a run."""
    run = OfflineRun()
    for record in records(path):
        record_type = record.WhichOneof("record_type")
        if record_type == "run":
            head = record.run
            run.id, run.name, run.group, run.job_type = head.run_id, head.display_name, head.run_group, head.job_type
            run.project, run.tags, run.notes = head.project, tuple(head.tags), head.notes
            run.started = head.start_time.seconds + head.start_time.nanos / 1e9
            _change(run.config, head.config)
        elif record_type == "config":
            _change(run.config, record.config)
        elif record_type == "summary":
            _change(run.summary, record.summary)
        elif record_type == "history":
            run.curve.append({k: v for k, v in _items(record.history.item).items() if not k.startswith("_")})
        elif record_type == "metric":
            name = record.metric.name or record.metric.glob_name
            run.axes[name] = record.metric.step_metric
            if record.metric.options.hidden:
                run.hidden.add(name)
        elif record_type == "stats":
            run.num_stats += 1
        elif record_type == "artifact" or (
            record_type == "request" and record.request.WhichOneof("request_type") == "log_artifact"
        ):
            artifact = record.artifact if record_type == "artifact" else record.request.log_artifact.artifact
            run.artifacts.append(
                {
                    "name": artifact.name,
                    "type": artifact.type,
                    "metadata": json.loads(artifact.metadata or "{}"),
                    "paths": [entry.path for entry in artifact.manifest.contents],
                }
            )
        elif record_type == "exit":
            run.ended, run.exit_code = not record.exit.not_complete, record.exit.exit_code
    run.config.pop("_wandb", None)
    run.summary = {key: value for key, value in run.summary.items() if not key.startswith("_")}
    return run


def _change(values: dict[str, Any], change: Any) -> None:
    values.update(_items(change.update))
    for item in change.remove:
        values.pop(_name(item), None)


def _items(items: Any) -> dict[str, Any]:
    return {_name(item): json.loads(item.value_json) for item in items}


def _name(item: Any) -> str:
    return item.key or ".".join(item.nested_key)
