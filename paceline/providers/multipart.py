"""A multipart/form-data body that is read from disk as it is sent, one file open at a time.

The framing is, byte for byte, that of Kolena's own client (urllib3's). httpx's own multipart opens all files at once,
and most other clients hold the body in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mimetypes
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from paceline.errors import FileChanged, FileMissing, SourceUnreachable
from paceline.providers.base import Upload

CHUNK_BYTES = 256 * 1024
"""Larger ones are no faster: the digest sets the pace (600 to 850 MB/s on loopback with two busy cores; 1,400 to 1,800
without it; in a thread of its own it was faster or slower, as the load would have it). And a slow connection copies the
rest at every partial send.
"""


class Multipart:
    """The body of one upload: form fields first, then the files, each as a part named `part`.

    Iterating opens and reads the files; it may be repeated. `len()` is the exact Content-Length, known beforehand from
    the planned sizes. A file that turns out shorter, longer, or changed while it is read raises `FileChanged`, one that
    is gone `FileMissing`, one that can't be read `SourceUnreachable`: all before its last byte is given away, so a
    request that was cut short by it can't be complete.
    """

    def __init__(
        self,
        fields: Sequence[tuple[str, str]],
        uploads: Sequence[Upload],
        *,
        part: str = "files",
        boundary: str | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        boundary = boundary or secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._chunk_bytes = chunk_bytes
        self._fields = b"".join(_field(boundary, name, value) for name, value in fields)
        self._parts = [(_file_head(boundary, part, upload.name), upload) for upload in uploads]
        self._end = f"--{boundary}--\r\n".encode()
        framing = len(self._fields) + sum(len(head) + 2 for head, _ in self._parts) + len(self._end)
        self._length = framing + sum(upload.size_bytes for upload in uploads)
        self._digests: list[bytes] = []

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        self._digests = []
        return _gathered(self._pieces(), self._chunk_bytes)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of each file's bytes, in order, as far as the last iteration got."""
        return tuple(self._digests)

    def _pieces(self) -> Iterator[bytes]:
        yield self._fields
        for head, upload in self._parts:
            yield head
            digest = hashlib.sha256()
            for chunk in _contents(upload, self._chunk_bytes):
                digest.update(chunk)
                yield chunk
            self._digests.append(digest.digest())
            yield b"\r\n"
        yield self._end


def _field(boundary: str, name: str, value: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'.encode()


def _file_head(boundary: str, part: str, name: str) -> bytes:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    disposition = f'Content-Disposition: form-data; name="{_quoted(part)}"; filename="{_quoted(name)}"'
    return f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n".encode()


def _quoted(name: str) -> str:
    """Write a name as browsers do: raw, with quote, CR and LF percent-encoded; so too bytes that are no UTF-8."""
    escapes = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
    escapes |= {ord(c): f"%{ord(c) & 0xFF:02X}" for c in name if "\ud800" <= c <= "\udfff"}
    return name.translate(escapes)


def _contents(upload: Upload, chunk_bytes: int) -> Iterator[bytes]:
    """Give the file's bytes, exactly as many as planned; raise before the last of them if it is another file now."""
    with _opened(upload) as stream:
        before = _stamp(stream)
        left = upload.size_bytes
        while True:
            chunk = _read(upload, stream, min(chunk_bytes, left + 1))
            left -= len(chunk)
            if left < 0 or (left == 0 and _read(upload, stream, 1)):
                raise FileChanged(f"{upload.path!r} has grown since it was planned; plan again", path=upload.path)
            if left == 0:
                if _stamp(stream) != before:
                    raise FileChanged(f"{upload.path!r} was written to while it was sent", path=upload.path)
                yield chunk
                return
            if not chunk:
                raise FileChanged(f"{upload.path!r} has shrunk since it was planned; plan again", path=upload.path)
            yield chunk


def _opened(upload: Upload) -> IO[bytes]:
    try:
        return upload.open()
    except FileNotFoundError as error:
        raise FileMissing(f"{upload.path!r} can't be opened", path=upload.path) from error
    except OSError as error:
        # `open` has turned what is about the file into `FileProblem`; this is about the machine or the mount.
        raise SourceUnreachable(f"{upload.path!r} can't be opened: {error.strerror}", path=upload.path) from error


def _read(upload: Upload, stream: IO[bytes], size_bytes: int) -> bytes:
    try:
        return stream.read(size_bytes)
    except OSError as error:
        raise SourceUnreachable(f"{upload.path!r} can't be read: {error.strerror}", path=upload.path) from error


def _stamp(stream: IO[bytes]) -> tuple[int, int] | None:
    """Return size and modification time of an open file; None for a stream that is no file."""
    with contextlib.suppress(OSError, AttributeError, io.UnsupportedOperation):
        status = os.fstat(stream.fileno())
        return status.st_size, status.st_mtime_ns
    return None


def _gathered(pieces: Iterable[bytes], least_bytes: int) -> Iterator[bytes]:
    """Join small neighbours until there are `least_bytes`: hundreds of small files must not be thousands of packets."""
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        if size >= least_bytes or (size and len(piece) >= least_bytes):
            yield b"".join(small)
            small, size = [], 0
        if len(piece) >= least_bytes:
            yield piece
        else:
            small.append(piece)
            size += len(piece)
    if size:
        yield b"".join(small)
