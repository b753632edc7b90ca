"""Reads a multipart upload as a stream, in constant memory: each file is counted as it passes and never kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from sandbox.facts import FileFacts, FileReader

MAX_FIELD_BYTES = 1_000_000

# The official client writes names raw, in UTF-8, with `"` as %22: everything up to the last quote is the name.
_NAME = re.compile(rb'(?:^|;)\s*name="([^"]*)"')
_FILENAME = re.compile(rb';\s*filename="(.*?)"\s*(?:;\s*filename\*=.*)?$', re.DOTALL)
_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)


class UploadError(Exception):
    """The upload can't be accepted; ``kind`` is malformed, too_many_files, file_too_large or field_too_large."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(slots=True)
class Upload:
    """What an upload contained: form fields by name (the last of several wins) and the files in order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[FileFacts] = field(default_factory=list)


class UploadReader:
    """Follows the parts of one upload; the callbacks of ``python_multipart``'s push parser land here."""

    def __init__(self, boundary: bytes, *, max_files: int, max_file_bytes: int) -> None:
        self.upload = Upload()
        self.ended = False
        self._max_files = max_files
        self._max_file_bytes = max_file_bytes
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._file: FileReader | None = None
        self._field: str | None = None
        self._text = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of the body; raise UploadError as soon as it can't be accepted any more."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise UploadError("malformed", "There was an error parsing the body") from error

    def _part_begin(self) -> None:
        self._disposition = b""
        self._file = None
        self._field = None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = b""
        self._value = b""

    def _headers_finished(self) -> None:
        name = _NAME.search(self._disposition)
        if name is None:
            raise UploadError("malformed", 'The Content-Disposition header field "name" must be provided.')
        filename = _FILENAME.search(self._disposition)
        if filename is None:
            self._field = decoded(name[1])
        elif name[1] == b"files":
            if len(self.upload.files) >= self._max_files:
                raise UploadError("too_many_files", str(self._max_files))
            self._file = FileReader(decoded(filename[1]))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.feed(data[start:end])
            if self._file.size_bytes > self._max_file_bytes:
                raise UploadError("file_too_large", self._file.name)
        elif self._field is not None:
            self._text += data[start:end]
            if len(self._text) > MAX_FIELD_BYTES:
                raise UploadError("field_too_large", self._field)

    def _part_end(self) -> None:
        if self._file is not None:
            self.upload.files.append(self._file.facts())
        elif self._field is not None:
            self.upload.fields[self._field] = decoded(bytes(self._text))
            self._text.clear()

    def _end(self) -> None:
        self.ended = True


def boundary_of(content_type: bytes) -> bytes | None:
    """Find the boundary in a Content-Type header; None when it isn't multipart/form-data."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        return None
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2]) if match else None


def decoded(name: bytes) -> str:
    """Decode what should be UTF-8; bytes that aren't are taken for Latin-1, as Starlette does."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


async def read_upload(reader: UploadReader, chunks: AsyncIterator[bytes]) -> Upload:
    """Read a whole body; raise UploadError for one that can't be accepted, at the byte where that is known."""
    async for chunk in chunks:
        reader.feed(chunk)
    if not reader.ended:
        raise UploadError("malformed", "The body ended before its closing boundary")
    return reader.upload
