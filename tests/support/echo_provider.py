"""A provider that answers with what it should not: the key it was given, and whatever else a test wants in its texts.

It speaks as much of Kolena's API as a batch needs. Every text of every answer is `evil(KEY)`.

    with EchoProvider(lambda key: f"you sent {key}") as provider:
        ...  # provider.url
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import Serving

ENDINGS = ("refused", "failed run", "good run", "server error", "dropped", "broken JSON", "not JSON", "good run")
"""What the n-th submission meets at its first attempt; those after the last, and all second attempts, are good runs."""


class EchoProvider(Serving):
    """Listens on 127.0.0.1 while its block runs. `posts` are the external ids in order of arrival."""

    def __init__(self, evil: Callable[[str], str], endings: tuple[str, ...] = ENDINGS) -> None:
        self.evil = evil
        self.endings = endings
        self.posts: list[str] = []
        self.runs: dict[int, dict[str, Any]] = {}
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer_read(self)

            def do_POST(self) -> None:
                provider.answer_write(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    def answer_read(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a question after an agent, a run, or a list of runs."""
        evil = self.evil(_key(handler))
        parts = urlsplit(handler.path)
        asked = parse_qs(parts.query)
        if parts.path.endswith("/runs"):
            wanted = {*asked.get("run_ids", ()), *asked.get("user_defined_ids", ())}
            with self.lock:
                found = [run for run in self.runs.values() if {str(run["run_id"]), run["user_defined_id"]} & wanted]
            _send(handler, 200, {"runs": found, "total_pages": 1, "page_number": 0, "note": evil})
        else:
            _send(handler, 200, {"agent_id": 1, "name": evil})

    def answer_write(self, handler: BaseHTTPRequestHandler) -> None:
        """Take a submission, to its good or bad end."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        evil = self.evil(_key(handler))
        named = re.search(rb'name="user_defined_id"\r\n\r\n([^\r]+)', body)
        assert named is not None
        external = named[1].decode()
        with self.lock:
            number = len(set(self.posts))
            again = external in self.posts
            self.posts.append(external)
            ending = self.endings[number] if number < len(self.endings) and not again else "good run"
            run = self._run(external, evil, failed=ending == "failed run")
            if ending in ("failed run", "good run", "broken JSON", "dropped"):
                self.runs[run["run_id"]] = run
        match ending:
            case "refused":
                _send(handler, 422, {"detail": [{"loc": ["body", evil], "msg": evil}]})
            case "server error":
                _send(handler, 500, {"error": evil, "message": evil})
            case "dropped":
                handler.close_connection = True
            case "broken JSON":
                _send(handler, 200, json.dumps(run)[:-9].encode())
            case "not JSON":
                _send(handler, 502, f"<h1>{evil}</h1>".encode())
            case _:
                _send(handler, 200, run)

    def _run(self, external: str, evil: str, *, failed: bool) -> dict[str, Any]:
        return {
            "run_id": 700_000 + len(self.posts),
            "agent_id": 1,
            "user_defined_id": external,
            "status": "failed" if failed else "success",
            "run_url": f"http://127.0.0.1/runs?by={evil}",
            "order": [evil],
            "data": {
                evil: {
                    "status": "failed" if failed else "success",
                    "value": [evil],
                    "error": evil,
                    "metadata": {evil: evil},
                }
            },
            "usage": {"credits_used": 1, "note": evil},
        }


def _key(handler: BaseHTTPRequestHandler) -> str:
    return (handler.headers["Authorization"] or "").removeprefix("Bearer ")


def _send(handler: BaseHTTPRequestHandler, status: int, value: object) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
