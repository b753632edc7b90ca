"""A multipart/form-data body that is read from disk as it is sent, one file open at a time.

The framing is, byte for byte, that of Kolena's own client (urllib3's). httpx's own multipart opens all files at once,
and most other clients hold the body in memory.
"""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from collections.abc import Iterator, Sequence

from paceline.providers.base import Upload
from paceline.providers.contents import CHUNK_BYTES, contents, gathered


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
        return gathered(self._pieces(), self._chunk_bytes)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of each file's bytes, in order, as far as the last iteration got."""
        return tuple(self._digests)

    def _pieces(self) -> Iterator[bytes]:
        yield self._fields
        for head, upload in self._parts:
            yield head
            digest = hashlib.sha256()
            for chunk in contents(upload, self._chunk_bytes):
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
