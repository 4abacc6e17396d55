"""A stand-in for W&B's server on loopback: the GraphQL calls and the file stream that the installed library makes."""

import base64
import gzip
import json
import math
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "5ec4e7" * 6 + "5ec4"
AUTHORIZATION = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
OPERATION = re.compile(r"(?:query|mutation) +(\w+)")
MANIFEST = "wandb_manifest.json"
ENTITY = "lab"
"""The entity of the key's owner."""


@dataclass
class ServerRun:
    """What the server knows of a run."""

    id: str
    fields: dict[str, Any] = field(default_factory=dict)
    """The variables of `UpsertBucket`: `displayName`, `groupName`, `jobType`, `tags`, `notes`."""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    """None until the run has finished."""

    def curve(self, *names: str) -> list[dict[str, Any]]:
        """Return some values of each point of the history."""
        return [{name: row[name] for name in names if name in row} for row in self.history]


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients close connections when they leave."""


class WandbServer:
    """Serve while the context is entered; `faults` maps a part of a request to the status that it gets."""

    def __init__(self) -> None:
        self.runs: dict[str, ServerRun] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}
        """The files of each committed artifact, by the artifact's name and the path in it."""
        self.requests: Counter[str] = Counter()
        """The number of answered requests, by the name of the GraphQL operation or the first part of the path."""
        self.faults: dict[str, int] = {}
        self.most_runs: float = math.inf
        """The server drops out when one more run has begun."""
        self.unknown: list[tuple[str, Any]] = []
        """Operations that the server does not know, with their content."""
        self._asked: dict[str, Mapping[str, Any]] = {}
        self._pending: dict[str, dict[str, bytes]] = {}
        self._http: ThreadingHTTPServer | None = None
        self.port = 0

    def __enter__(self) -> "WandbServer":
        self._http = _Http(("127.0.0.1", self.port), _handler(self))
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ── GraphQL ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, operation: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of a GraphQL operation; raise `KeyError` for one that the server does not know."""
        answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "Viewer": lambda _: {
                "viewer": {"id": "me", "entity": ENTITY, "username": "me", "email": "", "flags": "{}"}
            },
            "GetDefaultEntity": lambda _: {"viewer": {"id": "me", "entity": ENTITY}},
            "Run": self._run,
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "RunResumeStatus": self._resume,
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._create_run_files,
            "ArtifactType": lambda _: {"project": {"artifact": None}},
            "CreateArtifact": self._create_artifact,
            "CreateArtifactManifest": self._create_manifest,
            "UpdateArtifactManifest": self._update_manifest,
            "CreateArtifactFiles": self._create_artifact_files,
            "CommitArtifact": self._commit,
            "ArtifactByID": self._artifact,
        }
        return answers[operation](values)

    def _project(self, name: str) -> dict[str, Any]:
        return {"id": "project", "name": name, "entity": {"id": "entity", "name": ENTITY}}

    def _resume(self, values: Mapping[str, Any]) -> dict[str, Any]:
        run = self.runs.get(values["name"])
        return {"model": {**self._project(values["project"]), "bucket": None if run is None else self._state_of(run)}}

    def _state_of(self, run: ServerRun) -> dict[str, Any]:
        tail = [json.dumps(row) for row in run.history[-1:]]
        return {
            "id": run.id,
            "name": run.id,
            "displayName": run.fields.get("displayName"),
            "summaryMetrics": json.dumps(run.summary),
            "config": json.dumps(run.config),
            "historyLineCount": len(run.history),
            "historyTail": json.dumps(tail),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "tags": run.fields.get("tags"),
            "notes": run.fields.get("notes"),
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _upsert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        inserted = values["name"] not in self.runs  # else a run goes on
        run = self.runs.setdefault(values["name"], ServerRun(values["name"]))
        if values["displayName"] is not None:  # the call that begins or resumes a run
            run.exit_code = None
        run.fields |= {key: value for key, value in values.items() if value is not None}
        run.config |= json.loads(values["config"] or "{}")
        bucket = {
            "id": run.id,
            "name": run.id,
            "displayName": run.fields.get("displayName"),
            "description": "",
            "config": json.dumps(run.config),
            "sweepName": None,
            "project": self._project(values["project"]),
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        run = self.runs.get(values["name"])
        if run is None:
            return {"project": {"run": None}}
        state = "running" if run.exit_code is None else "finished"
        about = {**self._state_of(run), "projectId": "1", "state": state, "group": run.fields.get("groupName")}
        return {"project": {"run": {**about, "historyKeys": None, "systemMetrics": "{}", "user": {"username": "me"}}}}

    def _create_run_files(self, values: Mapping[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._upload_to("run", values["run"], name)} for name in values["files"]]
        return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}

    def _create_artifact(self, values: Mapping[str, Any]) -> dict[str, Any]:
        asked = values["input"]
        id = f"artifact{len(self._asked)}"
        self._asked[id], self._pending[id] = asked, {}
        sequence = {"id": "sequence", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": id, "state": "PENDING", "artifactSequence": sequence}}}

    def _create_manifest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(values["artifactID"])}}

    def _update_manifest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(values["artifactManifestID"])}}

    def _manifest(self, id: str) -> dict[str, Any]:
        url = self._upload_to("artifact", id, MANIFEST)
        return {"id": id, "file": {"id": "file", "uploadUrl": url, "uploadHeaders": []}}

    def _create_artifact_files(self, values: Mapping[str, Any]) -> dict[str, Any]:
        nodes = []
        for asked in values["input"]["artifactFiles"]:
            id, name = asked["artifactID"], asked["name"]
            url = self._upload_to("artifact", id, name)
            about = {"storagePath": name, "multipartUploadUrls": None, "artifact": {"id": id}}
            nodes.append(
                {"id": name, "name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": [], **about}
            )
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        id = values["artifactID"]
        self.artifacts[self._asked[id]["artifactCollectionName"]] = self._pending[id]
        return {"commitArtifact": {"artifact": {"id": id, "digest": ""}}}

    def _artifact(self, values: Mapping[str, Any]) -> dict[str, Any]:
        asked = self._asked[values["id"]]
        project = {**self._project(asked["projectName"]), "internalId": "1", "__typename": "Project"}
        sequence = {"__typename": "ArtifactSequence", "id": "1", "name": asked["artifactCollectionName"]}
        about = {key: asked[key] for key in ("description", "metadata", "digest", "historyStep")}
        about |= {"ttlDurationSeconds": -2, "ttlIsInherited": True, "tags": [], "state": "COMMITTED", "size": 0}
        about |= {"versionIndex": 0, "commitHash": None, "fileCount": 0, "createdAt": "", "updatedAt": None}
        kind = {"name": asked["artifactTypeName"]}
        artifact = {"id": values["id"], "artifactSequence": {**sequence, "project": project}, "artifactType": kind}
        return {"artifact": {**artifact, **about, "aliases": []}}

    def _upload_to(self, *path: str) -> str:
        return f"{self.url}/upload/{'/'.join(path)}"

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def stream(self, id: str, content: Mapping[str, Any]) -> None:
        """Take a part of a run's file stream: lines at an offset, and its end."""
        run = self.runs[id]
        for name, part in content.get("files", {}).items():
            rows, offset = [json.loads(line) for line in part["content"]], part["offset"]
            if name == "wandb-history.jsonl":
                run.history[offset : offset + len(rows)] = rows
            elif name == "wandb-summary.json":
                run.summary = rows[-1]
        if content.get("complete"):
            run.exit_code = content["exitcode"]

    def take(self, path: str, content: bytes) -> None:
        """Take an uploaded file."""
        owner, id, name = path.split("/", 2)
        files = self.runs[id].files if owner == "run" else self._pending[id]
        files[name] = content


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self._body()
            path = self.path.strip("/")
            if path == "graphql":
                query = json.loads(body)
                self._answer(OPERATION.findall(query["query"])[0], query)
            elif path.startswith("files/"):
                self._answer("file_stream", json.loads(body))
            else:  # telemetry
                self._reply(200, {})

        def do_PUT(self) -> None:
            self._answer("upload", self._body())

        def do_GET(self) -> None:
            self._reply(404, {})

        def _answer(self, what: str, content: Any) -> None:
            """Count a request and answer it, with the status of its fault if it has one."""
            if len(server.runs) > server.most_runs:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            key = self.headers.get("Authorization", "")
            status = server.faults.get(what, server.faults.get("*"))
            if status is None and what != "upload" and key != AUTHORIZATION:
                status = 401
            if status is not None:
                self._reply(status, {"errors": [{"message": f"fault {status}"}]})
                return
            try:
                data = self._data(what, content)
            except KeyError:
                server.unknown.append((what, content))
                self._reply(400, {"errors": [{"message": f"unknown: {what}"}]})
                return
            server.requests[what] += 1
            self._reply(200, data)

        def _data(self, what: str, content: Any) -> Any:
            path = self.path.strip("/").split("/", 1)[1] if what in ("file_stream", "upload") else ""
            if what == "file_stream":
                server.stream(path.split("/")[2], content)
                return {}
            if what == "upload":
                server.take(path, content)
                return {}
            return {"data": server.answer(what, content.get("variables") or {})}

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

        def _reply(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Handler
