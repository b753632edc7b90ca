"""Measures how fast, and in how much memory, an upload leaves: `python -m benchmarks.upload [FILES] [MB]`.

Sparse files go to a server on loopback that throws them away; curl sends the same for comparison. The digests, which
curl doesn't compute, are what costs most.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paceline.providers.base import SubmitRequest, Upload
from paceline.providers.kolena import Kolena

ROUNDS = 3


def serve(listener: socket.socket) -> None:
    """Answer every POST when its body has arrived; the body is not kept."""
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            head, _, body = head.partition(b"\r\n\r\n")
            left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
            while left and (got := connection.recv_into(buffer)):
                left -= got
            reply = b'{"run_id": 1, "status": "running"}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(reply), reply))


def ours(url: str, paths: list[Path]) -> None:
    """Upload with Kolena's adapter."""
    uploads = [
        Upload(path.name, path.name, path.stat().st_size, lambda path=path: open(path, "rb", buffering=0))  # type: ignore[misc]  # mypy can't type a default of a lambda
        for path in paths
    ]
    Kolena(url, "key").submit(SubmitRequest("1", "b.b-000001", uploads, 600.0, gate=lambda: None))


def curls(url: str, paths: list[Path]) -> None:
    """Upload with curl."""
    forms = [argument for path in paths for argument in ("-F", f"files=@{path}")]
    subprocess.run([shutil.which("curl") or "curl", "-s", "-o", os.devnull, "-H", "Expect:", *forms, url], check=True)


def main(files: int = 8, megabytes: int = 250) -> None:
    """Print MB/s of each round, and the peak of resident memory."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if (child := os.fork()) == 0:
        serve(listener)
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{number}.bin" for number in range(files)]
            for path in paths:
                path.touch()
                os.truncate(path, megabytes * 1_000_000)
            for name, send in (("paceline", ours), ("curl", curls)):
                for _ in range(ROUNDS):
                    started = time.perf_counter()
                    send(url, paths)
                    print(f"{name} {files * megabytes / (time.perf_counter() - started):.0f} MB/s")
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    finally:
        os.kill(child, 9)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
