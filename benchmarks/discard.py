"""A server that reads uploads as fast as Python can and throws them away: the other end of the upload measurement.

    python -m benchmarks.discard [BYTES_PER_S]

Prints its URL, and ends when its standard input closes. A thread for each connection. With `BYTES_PER_S`, each
connection is read no faster, as though it came over a line of that speed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sys
import threading
import time

HEAD_BYTES = 65_536
BUFFER_BYTES = 1 << 20
LINE_BYTES = 65_536
"""What is read at a time where it comes at a speed: half a millisecond of 1 Gbit/s."""
ANSWER = json.dumps({"run_id": 1, "agent_id": 1, "status": "running"}).encode()


def serve(listener: socket.socket, bytes_per_s: float = math.inf) -> None:
    """Answer one request per connection, for ever."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, bytes_per_s), daemon=True).start()


def _answer(connection: socket.socket, bytes_per_s: float) -> None:
    with connection, contextlib.suppress(OSError):
        size = BUFFER_BYTES if math.isinf(bytes_per_s) else LINE_BYTES
        _swallow(connection, memoryview(bytearray(size)), bytes_per_s)


def _swallow(connection: socket.socket, buffer: memoryview, bytes_per_s: float) -> None:
    """Read one request and answer it."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES:
        received = connection.recv(HEAD_BYTES)
        if not received:
            return
        head += received
    head, _, body = head.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
    headers = {name: value.strip() for name, _, value in lines}
    length = int(headers.get(b"content-length", b"0"))
    if headers.get(b"expect") == b"100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # curl waits a second for it
    left = length - len(body)
    through_s = time.monotonic()  # when the line has carried what was read
    while left > 0:
        received_bytes = connection.recv_into(buffer, min(left, len(buffer)))
        if not received_bytes:
            break
        left -= received_bytes
        if not math.isinf(bytes_per_s):
            takes_s, now_s = received_bytes / bytes_per_s, time.monotonic()
            through_s = max(through_s, now_s - takes_s) + takes_s  # a line that had nothing to carry doesn't catch up
            time.sleep(max(through_s - now_s, 0))
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    connection.sendall(answer % (len(ANSWER), ANSWER))


def main() -> None:
    """Serve until standard input closes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    bytes_per_s = float(sys.argv[1]) if len(sys.argv) > 1 else math.inf
    if not math.isinf(bytes_per_s):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * LINE_BYTES)  # else megabytes would arrive at once
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    threading.Thread(target=serve, args=(listener, bytes_per_s), daemon=True).start()
    while os.read(sys.stdin.fileno(), 4096):
        pass


if __name__ == "__main__":
    main()
