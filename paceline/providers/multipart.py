"""A multipart/form-data body that is read from disk as it is sent, one file open at a time.

The framing is, byte for byte, that of Kolena's own client (urllib3's). httpx's own multipart opens all files at once,
and most other clients hold the body in memory.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial

from paceline.providers.base import Upload
from paceline.providers.contents import CHUNK_BYTES, contents, whole
from paceline.providers.digests import LARGE_FILE_BYTES, Digests, Piece, digests_for
from paceline.providers.in_turn import InTurn

READING = InTurn()


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
        start = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(part)}"; filename="'
        self._parts = [(_file_head(start, upload.name), upload) for upload in uploads]
        self._end = f"--{boundary}--\r\n".encode()
        framing = len(self._fields) + sum(len(head) + 2 for head, _ in self._parts) + len(self._end)
        self._length = framing + sum(upload.size_bytes for upload in uploads)
        self._digests: list[bytes] = []

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        digests = digests_for(self._length, len(self._parts))
        self._digests = digests.found
        try:
            yield from self._chunks(digests)
        finally:
            digests.finish()  # with the last chunk on its way

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of each file's bytes, in order, as far as the last iteration got."""
        return tuple(self._digests)

    def _chunks(self, digests: Digests) -> Iterator[bytes]:
        """Join small files until there is a chunk of them: hundreds of files must not be thousands of packets."""
        parts = deque(self._parts)
        packed = [self._fields]
        turn = self._turns()
        while parts:
            with turn():
                small, large = self._pack(parts, packed)
                digests.add(small)
            if large is None and not parts:
                packed.append(self._end)
            yield b"".join(packed)
            packed = []
            if large is not None:
                for chunk in contents(large, self._chunk_bytes):
                    digests.add([(chunk, False)])
                    yield chunk
                digests.add([(b"", True)])
                packed.append(b"\r\n")
        if packed:
            yield b"".join((*packed, self._end))

    def _turns(self) -> Callable[[], AbstractContextManager[None]]:
        """Return what to read a chunk in: a turn where files are small and at hand, else nothing."""
        files = len(self._parts)
        if files * LARGE_FILE_BYTES <= self._length or not all(upload.read for _, upload in self._parts):
            return nullcontext
        return partial(READING.turn, files * min(self._chunk_bytes / self._length, 1))

    def _pack(self, parts: deque[tuple[bytes, Upload]], packed: list[bytes]) -> tuple[list[Piece], Upload | None]:
        """Read small files up to a chunk of them, to the end, or to a large one, which is returned behind its head."""
        size = sum(map(len, packed))
        small: list[Piece] = []
        while parts and size < self._chunk_bytes:
            head, upload = parts.popleft()
            packed.append(head)
            if upload.size_bytes >= self._chunk_bytes:
                return small, upload
            data = whole(upload)
            small.append((data, True))
            packed += (data, b"\r\n")
            size += len(head) + len(data)
        return small, None


def _field(boundary: str, name: str, value: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'.encode()


def _file_head(start: str, name: str) -> bytes:
    if _USUAL(name):
        return f'{start}{name}"\r\nContent-Type: {_kind_of_suffix(name[name.index(".") + 1 :])}\r\n\r\n'.encode("ascii")
    return f'{start}{_quoted(name)}"\r\nContent-Type: {_kind(name)}\r\n\r\n'.encode()


_USUAL = re.compile(r"[\w -]+\.\w+", re.ASCII).fullmatch
"""Names whose kind is their one suffix's, and that need no quoting: nearly all, and guessing takes 4 µs."""


@lru_cache(256)
def _kind_of_suffix(suffix: str) -> str:
    return _kind(f"a.{suffix}")


def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _quoted(name: str) -> str:
    """Write a name as browsers do: raw, with quote, CR and LF percent-encoded; so too bytes that are no UTF-8."""
    escapes = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
    escapes |= {ord(c): f"%{ord(c) & 0xFF:02X}" for c in name if "\ud800" <= c <= "\udfff"}
    return name.translate(escapes)
