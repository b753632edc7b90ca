"""The service that the example provider speaks to: a plain REST API with one agent, whose runs end at once.

POST /agents/7/runs · GET /agents/7 · GET /runs/ID · GET /runs?external_id=…
"""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import Serving

AGENT = "7"


class RestService(Serving):
    """Listens on 127.0.0.1 while its block runs. `runs` are those it has started, by id."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.runs: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.answer(self, lambda: service.look(self.path))

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the client has left
                    self.close_connection = True
                    return
                service.answer(self, lambda: service.start(self.path, self.headers["Content-Type"], body))

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    def answer(self, handler: BaseHTTPRequestHandler, do: Any) -> None:
        """Check the key, do what was asked, send what it came to."""
        right = handler.headers["Authorization"] == f"Bearer {self.key}"
        status, value = do() if right else (401, {"error": "unknown key"})
        data = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def look(self, target: str) -> tuple[int, Any]:
        """Show an agent, a run, or the runs under some external ids."""
        parts = urlsplit(target)
        with self.lock:
            runs = dict(self.runs)
        if parts.path == f"/agents/{AGENT}":
            return 200, {"id": AGENT, "name": "Checksums"}
        if parts.path == "/runs":
            asked = parse_qs(parts.query).get("external_id", [])
            found = [run for run in runs.values() if run["external_id"] in asked]
            return 200, {"runs": found, "total": len(found)}
        run = runs.get(parts.path.removeprefix("/runs/"))
        return (404, {"error": "not here"}) if run is None else (200, run)

    def start(self, target: str, content_type: str, body: bytes) -> tuple[int, Any]:
        """Start a run, and end it: its result is the size and SHA-256 of each file."""
        if target != f"/agents/{AGENT}/runs":
            return 404, {"error": "no such agent"}
        fields, files = _taken_apart(content_type, body)
        result = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
        with self.lock:
            run_id = f"r-{len(self.runs) + 1}"
            run = {"id": run_id, "external_id": fields["external_id"], "status": "succeeded", "result": result}
            self.runs[run_id] = run
        return 201, {**run, "status": "running", "result": None}


def _taken_apart(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the fields and the files of a multipart body."""
    boundary = content_type.partition("boundary=")[2].encode()
    fields, files = {}, {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head)
        name = headers.get_param("name", header="Content-Disposition")
        filename = headers.get_filename()
        if filename is None:
            fields[str(name)] = data.removesuffix(b"\r\n").decode()
        else:
            files[filename] = data.removesuffix(b"\r\n")
    return fields, files
