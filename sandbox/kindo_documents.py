"""What arrives at a Kindo agent: the documents in one of its inputs, counted one by one and then forgotten."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.agent import to_json
from sandbox.facts import FileReader

_PIECE_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it was read.

    One that is only referred to has a ``url``, kind ``reference`` and no counts; one that can't be read has a
    ``problem``, kind ``unreadable`` and no counts. Else the fields are those of ``sandbox.facts.FileFacts``.
    """

    name: str
    kind: str
    size_bytes: int | None = None
    sha256: str | None = None
    words: int | None = None
    lines: int | None = None
    url: str | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the inventory's ``{"name", "size_bytes", "sha256", "words", "lines", "kind", "url"?, "problem"?}``."""
        form: dict[str, Any] = {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "words": self.words,
            "lines": self.lines,
            "kind": self.kind,
        }
        if self.url is not None:
            form["url"] = self.url
        if self.problem is not None:
            form["problem"] = self.problem
        return form


def read_documents(values: dict[str, str], label: str) -> tuple[Document, ...]:
    """Take the input ``label`` out of ``values`` and read it.

    It is a JSON array of ``{"name", "content"}`` (text), ``{"name", "content_base64"}`` and ``{"name", "url"}``. Any
    other text is one document by the name of the input. Contents are let go one after the other: 50 MB of them are in
    memory twice at most.
    """
    entries = _entries(values.pop(label), label)
    return tuple(_document(entry) for entry in _drained(entries))


def content_fingerprint(agent_id: str, documents: Sequence[Document]) -> str:
    """Name what was submitted: the same for the same agent and the same names and contents, in any order."""
    parts = sorted([document.name, document.sha256 or document.url or ""] for document in documents)
    return hashlib.sha256(to_json([agent_id, parts])).hexdigest()[:16]


def _entries(value: str, label: str) -> list[Any]:
    try:
        entries = json.loads(value)
    except (ValueError, RecursionError):
        entries = None
    return entries if isinstance(entries, list) else [{"name": label, "content": value}]


def _drained(entries: list[Any]) -> Iterator[Any]:
    entries.reverse()
    while entries:
        yield entries.pop()


def _document(entry: Any) -> Document:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return Document("", "unreadable", problem="it has no name")
    name: str = entry["name"]
    if isinstance(entry.get("content"), str):
        return _counted(name, _encoded(entry.pop("content")))
    if isinstance(entry.get("content_base64"), str):
        try:
            content = base64.b64decode(entry.pop("content_base64"), validate=True)
        except (binascii.Error, ValueError):
            return Document(name, "unreadable", problem="its content_base64 is no base64")
        return _counted(name, iter([content] if content else []))
    if isinstance(entry.get("url"), str):
        return Document(name, "reference", url=entry["url"])
    return Document(name, "unreadable", problem="it has no content, content_base64 or url")


def _encoded(content: str) -> Iterator[bytes]:
    for start in range(0, len(content), _PIECE_CHARACTERS):
        yield content[start : start + _PIECE_CHARACTERS].encode("utf-8", "surrogatepass")


def _counted(name: str, pieces: Iterator[bytes]) -> Document:
    reader = FileReader(name)
    for piece in pieces:
        reader.feed(piece)
    facts = reader.facts()
    return Document(name, facts.kind, facts.size_bytes, facts.sha256, facts.words, facts.lines)
