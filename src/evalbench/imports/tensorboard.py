"""Read runs from TensorBoard's event files; each folder is a run."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalbench.errors import TableError
from evalbench.imports.rows import FINISHED, Row, name_of, row
from evalbench.tracking.libraries import require
from evalbench.tracking.tensorboard import ABOUT

EARLIER_ABOUT = "evalbench"
"""The tag of earlier versions."""
START, END = "_hparams_/session_start_info", "_hparams_/session_end_info"
UNFINISHED = {"STATUS_FAILURE": "failed", "STATUS_RUNNING": "running"}
"""The reliable states of a session: PyTorch writes a success with the settings, before any training."""
HEADER = struct.Struct("<QI")
"""The header of a record: the length and its checksum. The record and a checksum of 4 bytes follow."""


@dataclass
class Events:
    """The contents of event files: the last value of every tag, and the plugin data stored with the tag."""

    started: float = 0.0
    is_whole: bool = True
    """False if the last record is cut off, because its writer is still at work or was killed."""
    tensors: dict[str, Any] = field(default_factory=dict)
    plugins: dict[str, Any] = field(default_factory=dict)


def read(location: str) -> Sequence[Row]:
    """Return the runs in or below a folder: hyperparameters, and the last value of every scalar.

    PyTorch's `add_hparams` writes by default into a subfolder of the run's folder. Such a subfolder belongs to the run
    above it. If several subfolders have the same settings, the latest counts.
    """
    require("tensorboard", "tensorboard")
    folders = sorted({path.parent for path in Path(location).rglob("*tfevents*") if path.is_file()})
    rows = {folder: _row(folder, str(folder.relative_to(location))) for folder in folders}
    for folder in folders:
        below = [subfolder for subfolder in folders if subfolder.parent == folder and _settings(rows[subfolder])]
        if len({name_of(_settings(rows[subfolder])) for subfolder in below}) == 1 and not _settings(rows[folder]):
            latest = max(below, key=lambda subfolder: rows[subfolder]["started"])
            rows[folder] = {**rows[latest], **rows[folder]}
            for subfolder in below:
                del rows[subfolder]
    return list(rows.values())


def _settings(row: Row) -> Row:
    return {key: value for key, value in row.items() if key.startswith("config.")}


def _row(folder: Path, name: str) -> Row:
    from tensorboard.util.tensor_util import make_ndarray

    events = Events()
    for part in sorted(map(_events, folder.glob("*tfevents*")), key=lambda part: part.started):
        tensors, plugins = events.tensors | part.tensors, events.plugins | part.plugins
        events = Events(part.started, part.is_whole, tensors, plugins)  # a later file continues the run, or restarts it
    config, state = _session(events.plugins)
    summary: dict[str, Any] = {}
    for tag, tensor in events.tensors.items():
        if tag in events.plugins and events.plugins[tag].plugin_name == "scalars":
            value = make_ndarray(tensor)
            summary |= {tag: value.item()} if value.size == 1 else {}
    own: dict[str, Any] = {}
    about_tag = next((tag for tag in (ABOUT, EARLIER_ABOUT) if tag in events.tensors), None)
    if about_tag is not None:  # evalbench's own tracker adds this text
        text = events.tensors[about_tag].string_val[0].decode()
        own = json.loads(text.removeprefix("```json").removesuffix("```"))
        config |= own["config"]
        summary |= own["summary"]
        state = FINISHED if own["summary"] else "running"
    about = {key: own[key] for key in ("group", "job_type") if key in own}
    state = state if events.is_whole else "unfinished"
    return row(own.get("id", name), events.started, state, config, summary, name=name, **about)


def _events(path: Path) -> Events:
    """Read one file, converting old formats to the current one; raise `TableError` if the file is damaged."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
    from tensorboard.data_compat import migrate_event as as_tensors
    from tensorboard.dataclass_compat import migrate_event as with_metadata

    events, size, position = Events(), path.stat().st_size, 0
    metadata: dict[str, Any] = {}
    for record in RawEventFileLoader(str(path)).Load():  # stops without an error at a bad record
        position += HEADER.size + len(record) + 4
        for event in with_metadata(as_tensors(Event.FromString(record)), metadata):
            events.started = events.started or event.wall_time
            for value in event.summary.value:
                events.tensors[value.tag] = value.tensor
                if value.HasField("metadata"):
                    events.plugins[value.tag] = value.metadata.plugin_data
    with path.open("rb") as file:
        file.seek(position)
        rest = file.read(max(size - position, 0))
    if len(rest) >= HEADER.size:
        length, checksum = HEADER.unpack_from(rest)
        if masked_crc32c(rest[:8]) != checksum or len(rest) >= HEADER.size + length + 4:
            raise TableError(f"{path} is damaged at byte {position}: copy it again, or leave it out")
    events.is_whole = not rest
    return events


def _session(plugins: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the settings and the state of the session that the hparams plugin stored, for any writer."""
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    contents = (plugins[tag].content if tag in plugins else b"" for tag in (START, END))
    start, end = map(HParamsPluginData.FromString, contents)
    settings = start.session_start_info.hparams
    config = {key: getattr(value, str(value.WhichOneof("kind"))) for key, value in settings.items()}
    return config, UNFINISHED.get(Status.Name(end.session_end_info.status))
