"""Starts the sandbox for a test, in a process of its own that cannot outlive the test."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

START_S = 20.0
STOP_S = 5.0
ROOT = Path(__file__).resolve().parents[2]

# Whatever proxies the machine has set, the sandbox is on loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SandboxError(Exception):
    """The sandbox didn't start, or refused what a test told it."""


class Sandbox:
    """A running sandbox: ``with Sandbox("--run-seconds", "0") as sandbox: …``.

    Arguments are those of ``python -m sandbox``; ``environment`` is added to this process's. ``key`` is accepted by any
    sandbox that wasn't given keys of its own.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.key = "sandbox-" + secrets.token_hex(16)
        self.url = ""

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it answers; raise SandboxError with what it said if it doesn't."""
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-")
        self.folder = Path(self._folder.name)
        self.stderr = self.folder / "stderr"
        theirs, self._owner = os.pipe()
        ready = self.folder / "url"
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--ready-file", str(ready)]
        command += ["--owner-fd", str(theirs), *self._arguments]
        with self.stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | self._environment,
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        os.close(theirs)
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                complaint = self.stderr.read_text()
                self.stop()
                raise SandboxError(complaint or "the sandbox didn't get ready")
            time.sleep(0.01)
        self.url = ready.read_text().strip()

    def stop(self) -> int:
        """End the process as its owner's death would; give its exit code. Does nothing the second time."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None
        if self._process is None:
            return 0
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        if self._folder is not None:
            self._folder.cleanup()
        return code

    def ended(self) -> int:
        """Wait for the process to end by itself; give its exit code, negative for a signal."""
        assert self._process is not None
        return self._process.wait(STOP_S)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def control(self, method: str, path: str, body: object = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Call ``/_sandbox/{path}``; raise SandboxError with the sandbox's words when it refuses."""
        request = urllib.request.Request(  # noqa: S310 - always http, to ourselves
            f"{self.url}/_sandbox/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _DIRECT.open(request, timeout=timeout_s) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise SandboxError(error.read().decode()) from error
        return answer

    def stats(self) -> dict[str, Any]:
        """Give the totals; the shape is in ``sandbox.stats``."""
        return self.control("GET", "stats")

    def log(self, since: int = 0, request_class: str | None = None, *, files: bool = True) -> list[dict[str, Any]]:
        """Give the request log after number ``since``, oldest first; of one endpoint class, or (None) of all.

        Shape: ``sandbox.arrivals.Arrival.to_dict``; thousands of large uploads are quicker to read without ``files``.
        """
        entries: list[dict[str, Any]] = self.control("GET", f"log?since={since}&files={int(files)}")["entries"]
        return [entry for entry in entries if request_class in (None, entry["class"])]

    def faults(self, *specs: str | Mapping[str, Any]) -> list[dict[str, Any]]:
        """Put faults in force, as ``KIND@CLASS:NAME=VALUE`` or JSON forms; give them with their ids."""
        forms = [{"spec": spec} if isinstance(spec, str) else dict(spec) for spec in specs]
        added: list[dict[str, Any]] = self.control("POST", "faults", {"faults": forms})["faults"]
        return added

    def clear_faults(self, kind: str | None = None) -> None:
        """End the faults of one kind, or (None) all of them."""
        self.control("DELETE", "faults" if kind is None else f"faults?kind={kind}")

    def limits(self, **limits: str | bool | None) -> dict[str, str]:
        """Change limits by class, like ``add="40/2s"`` or ``add=None``; also ``retry_after`` and ``refused_count``."""
        changed: dict[str, str] = self.control("POST", "limits", limits)["limits"]
        return changed

    def finish(self, run_ids: Sequence[int | str] | None = None) -> int:
        """End running runs now, all of them or those; say how many were running."""
        answer = self.control("POST", "runs", {"finish": "all" if run_ids is None else list(run_ids)})
        return int(answer["finished"])

    def run_seconds(self, seconds: str) -> None:
        """Change how long runs accepted from now on take, like ``2`` or ``2-8``."""
        self.control("POST", "runs", {"seconds": seconds})

    def create_runs(self, **form: object) -> list[int]:
        """Make runs nobody asked for: ``agent``, ``external_id`` or ``prefix``, ``count``, ``files``; give ids."""
        created: list[int] = self.control("POST", "runs", {"create": form})["created"]
        return created

    def keys(self, **change: object) -> None:
        """Revoke, restore or allow keys: ``revoke=KEY or "all", status=403``, ``restore=…``, ``accept=[…]``."""
        self.control("POST", "keys", change)

    def wait(self, event: str, timeout: float = 10.0, **query: object) -> int:
        """Wait for an event of ``sandbox.waiting``, like ``wait("accepted", count=5)``; raise SandboxError if late."""
        asked = {key.rstrip("_"): value for key, value in query.items()}
        path = "wait?" + urlencode({"event": event, "timeout": timeout, **asked})
        answer = self.control("GET", path, timeout_s=timeout + 10)
        if not answer["reached"]:
            raise SandboxError(f"{event} {query} wasn't reached in {timeout} s: it is at {answer['value']}")
        return int(answer["value"])

    def reset(self) -> None:
        """Make it as freshly started; run ids go on."""
        self.control("POST", "reset")
