"""Uploads a folder of small files with a bare loop: what ours is compared with beside curl.

    python -m benchmarks.bare_upload URL FOLDER SIZE

Opens, reads, hashes and sends one file after the other, in pieces of the adapter's size, without any of its checks, and
prints `{"seconds"}` from connecting to the answer of the last round: six in one process, as the uploader's warm ones.
Nobody should upload so: it would send a file that has changed, or one that a symlink leads to.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
from urllib.parse import urlsplit

from benchmarks.uploader import WARM_TIMES
from paceline.providers.contents import CHUNK_BYTES

_HEAD = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}"\r\nContent-Type: text/plain\r\n\r\n'


def upload(url: str, folder: str, size_bytes: int) -> float:
    """Upload all files of `folder`, each of `size_bytes`; return the seconds."""
    names = sorted(os.listdir(folder))
    parts = [(_HEAD.format(name).encode(), f"{folder}/{name}") for name in names]
    length = sum(len(head) + size_bytes + 2 for head, _ in parts)
    place = urlsplit(url)
    digests: list[bytes] = []
    packed: list[bytes] = []
    size = 0
    begun = time.perf_counter()
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {length}\r\n\r\n".encode())
        for head, path in parts:
            file = os.open(path, os.O_RDONLY)
            data = os.read(file, size_bytes)
            os.close(file)
            digests.append(hashlib.sha256(data).digest())
            packed += (head, data, b"\r\n")
            size += size_bytes
            if size >= CHUNK_BYTES:
                connection.sendall(b"".join(packed))
                packed, size = [], 0
        connection.sendall(b"".join(packed))
        if not connection.recv(65_536).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the upload was not answered")
    return time.perf_counter() - begun


if __name__ == "__main__":
    seconds = [upload(sys.argv[1], sys.argv[2], int(sys.argv[3])) for _ in range(WARM_TIMES + 1)]
    print(json.dumps({"seconds": seconds[-1]}))
