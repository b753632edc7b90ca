r"""The JSON body that starts a Kindo run: files travel inside one input's value, a JSON text within the JSON.

    {"agentId":"…","inputs":[{"name":"language","value":"en"},{"name":"documents","value":
    "[{\"name\":\"a.txt\",\"content\":\"one\\ntwo\"},{\"name\":\"b.png\",\"content_base64\":\"iVBORw0…\"}]"}]}

So what stands in a file is escaped twice: `"` and `\` take four bytes, an end of line or a tab three, everything else
as many as in the file. Base64 needs no escapes.

A file is text if it is UTF-8 without control characters other than tab, line feed, form feed and carriage return. JSON
could hold the others too. But they mark a format that isn't text and only happens to be UTF-8, take seven bytes each,
and are what databases and models on the way refuse or drop. U+0080 to U+009F count as text: it is what older programs
made of quotation marks. Nothing is changed or left out, a byte order mark neither, so either form can be turned back
into the very file.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import threading
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import quote

from paceline.errors import FileChanged
from paceline.providers.base import Upload
from paceline.providers.contents import CHUNK_BYTES, contents, gathered, opened, pieces, stamp

INPUT = "documents"
"""The input that takes the files, unless the account or the agent says otherwise."""

REFERENCE = "reference"
"""What `send` says where files travel as addresses."""

FORMS_KEPT = 4096

_AGENT = "00000000-0000-0000-0000-000000000000"
_CONTROLS = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n\f\r")
_LONG, _LINES = b'"\\', b"\t\n\f\r"
_TWICE = {b"\\": rb"\\\\", b'"': rb"\\\"", b"\n": rb"\\n", b"\r": rb"\\r", b"\t": rb"\\t", b"\f": rb"\\f"}
"""In this order: the backslashes of the others are not escaped again."""


_PLAIN = re.compile(r"[ !#-\[\]-~]*").fullmatch
_FRAME_BYTES = len(rb"{\"name\":\"\",\"\":\"\"},")
_LONGER_KEY = len("_base64")


@dataclass(frozen=True, slots=True)
class Form:
    """How a file's contents stand in the body: as text or Base64, in so many bytes."""

    text: bool
    size_bytes: int


class Forms:
    """Remembers how files turned out to look, as long as they are the same by inode, size and modification time.

    Weighing comes between the permit and the first byte. Where it took so long that the permit was too old, the next
    attempt has nothing left to weigh. Thread-safe.
    """

    def __init__(self, most: int = FORMS_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, ...], Form] = OrderedDict()

    def of(self, upload: Upload) -> Form:
        """Read a file, if it isn't known. Raises `FileProblem`, as `contents` does."""
        with opened(upload) as stream:
            key = stamp(stream)
            with self._lock:
                known = self._known.get(key) if key else None
            if known is not None and key is not None and key[2] == upload.size_bytes:
                return known
            form = weigh(pieces(upload, stream, CHUNK_BYTES), upload.size_bytes)
        if key is not None:
            with self._lock:
                self._known[key] = form
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return form


class Body:
    """The body of one submission, read from disk as it is sent, one file open at a time.

    Making it reads each file once, to tell text from the rest and to count; iterating reads each once more, and may be
    repeated. `len()` is exact. Both raise `FileProblem`; iterating before a file's last byte is given away, also where
    a file is no longer what was counted, so a request that was cut short by it can't be complete.
    """

    def __init__(
        self,
        agent: str,
        name: str,
        inputs: Mapping[str, str],
        uploads: Sequence[Upload],
        forms: Forms,
        *,
        reference_url: str | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._chunk_bytes = chunk_bytes
        self._uploads = uploads
        self._url = reference_url
        self._head = head(agent, name, inputs)
        self._forms = [] if reference_url is not None else [forms.of(upload) for upload in uploads]
        self._length = len(self._head) + sum(map(len, self._frames())) + sum(form.size_bytes for form in self._forms)
        self._digests: list[bytes] = []

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        self._digests = []
        return gathered(self._pieces(), self._chunk_bytes)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 of each file's bytes, in order, as far as the last iteration got; none for references."""
        return tuple(self._digests)

    def _pieces(self) -> Iterator[bytes]:
        yield self._head
        for number, frame in enumerate(self._frames()):
            if number % 2 and self._forms:
                yield from self._contents(self._uploads[number // 2], self._forms[number // 2])
            yield frame

    def _frames(self) -> Iterator[bytes]:
        """Give what stands before and behind each file's contents, in turn; the end stands with the last."""
        last = len(self._uploads) - 1
        for number, upload in enumerate(self._uploads):
            if self._url is not None:
                before, behind = frame(upload.name, "url")
                before += twice(address(self._url, upload.path))
            else:
                before, behind = frame(upload.name, "content" if self._forms[number].text else "content_base64")
            yield before
            yield behind + (TAIL if number == last else b",")
        if not self._uploads:
            yield TAIL

    def _contents(self, upload: Upload, form: Form) -> Iterator[bytes]:
        """Give a file's contents in their form; the last piece only once they are known to be as long as counted."""
        digest = hashlib.sha256()

        def raw() -> Iterator[bytes]:
            for chunk in contents(upload, self._chunk_bytes):
                digest.update(chunk)
                yield chunk

        left = form.size_bytes
        kept = b""
        for piece in _as_text(upload, raw()) if form.text else _as_base64(raw()):
            if not piece:
                continue
            left -= len(piece)
            if left < 0:
                break
            if kept:
                yield kept
            kept = piece
        if left:
            raise _changed(upload)
        yield kept
        self._digests.append(digest.digest())


class Weighing:
    """What files weigh in a body, as `paceline.providers.base.Weights` says. A file's weight includes its comma."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._name = options.get("input") or INPUT
        self._url = options.get("reference_url", "") if options.get("send") == REFERENCE else None

    def empty(self, inputs: Mapping[str, str]) -> int:
        """Return the bytes of a body without files."""
        return len(head(_AGENT, self._name, inputs)) + len(TAIL)

    def at_most(self, name: str, path: str, size_bytes: int) -> int:
        """Return what a file can weigh at the most: each byte a quotation mark, or all of it Base64."""
        if self._url is not None:
            return _framed(name, "url") + _length(address(self._url, path))
        # The key of Base64 is longer, which only tells for the smallest files.
        return _framed(name, "content") + max(4 * size_bytes, _LONGER_KEY + _base64(size_bytes))

    def exactly(self, name: str, path: str, size_bytes: int, stream: IO[bytes]) -> int:
        """Return what a file weighs, reading it until that is known. Raises `OSError`."""
        if self._url is not None:
            return self.at_most(name, path, size_bytes)
        form = weigh(iter(lambda: stream.read(CHUNK_BYTES), b""), size_bytes)
        return _framed(name, "content" if form.text else "content_base64") + form.size_bytes


TAIL = b']"}]}'


def head(agent: str, name: str, inputs: Mapping[str, str]) -> bytes:
    """Return what stands before the first file: the agent, the further inputs, and the beginning of `name`'s value."""
    further = "".join(f'{{"name":{_json(key)},"value":{_json(value)}}},' for key, value in inputs.items())
    return f'{{"agentId":{_json(agent)},"inputs":[{further}{{"name":{_json(name)},"value":"['.encode()


def frame(name: str, key: str) -> tuple[bytes, bytes]:
    """Return what stands before and behind a file's contents, or its address."""
    before = rb"{\"name\":\"" + twice(name) + rb"\",\"" + key.encode() + rb"\":\""
    return before, rb"\"}"


def twice(text: str) -> bytes:
    """Write a text as it stands in a JSON string within a JSON string."""
    return _json(_json(text)[1:-1])[1:-1].encode()


def address(reference_url: str, path: str) -> str:
    """Return the address of a file: its path, percent-encoded, behind the account's `reference_url`."""
    return f"{reference_url.rstrip('/')}/{quote(path.encode('utf-8', 'surrogateescape'))}"


def weigh(chunks: Iterable[bytes], size_bytes: int) -> Form:
    """Tell text from the rest, and count. Reads no further than to the first byte that no text has."""
    text = _Text()
    length = 0
    for chunk in chunks:
        if not text.takes(chunk):
            return Form(False, _base64(size_bytes))
        length += len(chunk) + 3 * _count(chunk, _LONG) + 2 * _count(chunk, _LINES)
    return Form(True, length) if text.ends() else Form(False, _base64(size_bytes))


class _Text:
    """Looks at a file piece by piece, whether it is text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def takes(self, chunk: bytes) -> bool:
        """Tell whether it still can be text with this piece."""
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError:
            return False
        return len(chunk.translate(None, _CONTROLS)) == len(chunk)

    def ends(self) -> bool:
        """Tell whether it may end here: not within a character."""
        return not self._decoder.getstate()[0]


def _as_text(upload: Upload, chunks: Iterable[bytes]) -> Iterator[bytes]:
    text = _Text()
    for chunk in chunks:
        if not text.takes(chunk):
            raise _changed(upload)
        for byte, written in _TWICE.items():
            chunk = chunk.replace(byte, written)
        yield chunk
    if not text.ends():
        raise _changed(upload)


def _as_base64(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        chunk = rest + chunk
        whole = len(chunk) - len(chunk) % 3
        rest = chunk[whole:]
        yield b64encode(chunk[:whole])
    yield b64encode(rest)


def _changed(upload: Upload) -> FileChanged:
    return FileChanged(f"{upload.path!r} was written to while it was sent", path=upload.path)


def _framed(name: str, key: str) -> int:
    return _FRAME_BYTES + len(key) + _length(name)


def _length(text: str) -> int:
    """Return the length of `twice(text)`: planning asks for each of a million names."""
    return len(text) if _PLAIN(text) else len(twice(text))


def _base64(size_bytes: int) -> int:
    return (size_bytes + 2) // 3 * 4


def _count(chunk: bytes, few: bytes) -> int:
    return sum(map(chunk.count, few))


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
