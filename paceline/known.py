"""Know again what was answered: files, contents and groups whose runs succeeded, a few bytes each.

What is kept is a *mark*: a hash of 82 bits over what makes a file the same file (its whole name, size and time), a
content the same content (its SHA-256), or a group the same group (its files). 18 bits of it choose one of 262,144 sets,
64 are the member. Sets of integers are packed by Redis, eight bytes a member, up to 512 members each
(`set-max-intset-entries`): up to 134 million marks a scope; beyond that a mark takes 41 bytes, and all the
same works. `docs/incremental.md` has the figures.

A false hit would be a file that is never sent. Among n marks, the chance that any of m new files meets one is
m · n / 2^82: for ten million new files among 20 million marks, 4 in 10^11.

Marks are kept per scope: provider, address, agent, its inputs, files per run, grouping. Other options give other
answers. An account's name, the batch's name and its destinations don't matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.model import BatchSpec
from paceline.roots import URLS, is_address
from paceline.scripts import Arg, Scripts

BUCKET_BITS = 18
AT_ONCE = 1000
"""Marks in one script: a millisecond or two, and no worker waits longer."""

_BUCKETS = (1 << BUCKET_BITS) - 1
_MEMBER = (1 << 64) - 1
_SIGN = 1 << 63
_BYTES = 11
_FILE, _CONTENT, _GROUP, _GROUP_CONTENT = b"file", b"content", b"group", b"group content"

Mark = tuple[int, int]
"""The number of a set, and a member of it: a signed integer of 64 bits."""


def naming(location: str) -> Callable[[str], str]:
    """Return how a source's paths become whole names, which are the same whatever source they are listed from."""
    if location == URLS:
        return lambda path: path
    if not is_address(location) and Path(location).is_file():
        return lambda _path: location
    start = location.rstrip("/") + "/"
    return lambda path: start + path


class Scope:
    """Makes the marks of one agent with its options."""

    def __init__(self, spec: BatchSpec) -> None:
        self.facts: Mapping[str, Any] = {
            "provider": spec.provider,
            "address": spec.address,
            "agent": spec.agent,
            "files_per_run": spec.files_per_run,
            "group_by": spec.options.get("group_by", ""),
            "groups": spec.options.get("groups", ""),
            "inputs": dict(sorted(spec.inputs.items())),
        }
        text = json.dumps([FORMAT, self.facts], sort_keys=True)
        self._key = blake2b(text.encode(), digest_size=16).digest()
        self.name = self._key[:5].hex()  # the marks themselves are keyed by all of it

    def file(self, name: str, size_bytes: int, mtime_ns: int) -> Mark:
        """Mark a file by its whole name, size and modification time."""
        return _mark(self._hash(_FILE, _facts(name, size_bytes, mtime_ns)))

    def content(self, digest: bytes) -> Mark:
        """Mark a content by its SHA-256 digest."""
        return _mark(self._hash(_CONTENT, digest))

    def group(self, files: Iterable[tuple[str, int, int]]) -> Mark:
        """Mark a group by its files' whole names, sizes and times, in any order."""
        return _mark(self._hash(_GROUP, b"".join(sorted(self._hash(_GROUP, _facts(*file)) for file in files))))

    def group_content(self, digests: Iterable[bytes]) -> Mark:
        """Mark a group by its files' contents, in any order; a content that is there twice counts twice."""
        return _mark(self._hash(_GROUP_CONTENT, b"".join(sorted(digests))))

    def _hash(self, kind: bytes, data: bytes) -> bytes:
        return blake2b(data, digest_size=_BYTES, key=self._key, person=kind).digest()


FORMAT = 1
"""Of marks: with another one, nothing is known."""


@dataclass(frozen=True, slots=True)
class KnownScope:
    """A scope that has marks: what it is for, and the submission that was noted last, with its end (Redis ms)."""

    name: str
    facts: Mapping[str, Any]
    batch: str
    at_ms: int


class KnownFiles:
    """The marks in Redis. Thread-safe; noting the same again changes nothing."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts

    def note(self, scope: Scope, marks: Iterable[Mark], *, batch: str, at_ms: int) -> None:
        """Note what was answered, up to a thousand in one atomic step."""
        said = json.dumps({**scope.facts, "batch": batch, "at_ms": at_ms}, sort_keys=True)
        for some in _slices(marks):
            args: list[Arg] = [scope.name, said, *(member for _, member in some)]
            self._scripts.run("know", [keys.KNOWN_SCOPES, *_names(scope, some)], args)

    def find(self, scope: Scope, marks: Iterable[Mark]) -> list[bool]:
        """Tell which marks are there, in their order; a thousand in one round trip."""
        found: list[bool] = []
        for some in _slices(marks):
            flags = self._scripts.run("is_known", _names(scope, some), [member for _, member in some])
            found += [flag == ord("1") for flag in flags]
        return found

    def scope(self, scope: Scope) -> KnownScope | None:
        """Return what is known of a scope, None where nothing is."""
        raw = self._redis.hget(keys.KNOWN_SCOPES, scope.name)
        return None if raw is None else _known_scope(scope.name, raw)

    def scopes(self) -> list[KnownScope]:
        """Return every scope that has marks."""
        rows = self._redis.hgetall(keys.KNOWN_SCOPES)
        return [_known_scope(name.decode(), raw) for name, raw in sorted(rows.items())]

    def forget(self, scope: str) -> None:
        """Remove a scope's marks, a thousand sets at a time, and last of all its entry: a crash leaves that."""
        for start in range(0, _BUCKETS + 1, AT_ONCE):
            stop = min(start + AT_ONCE, _BUCKETS + 1)
            self._redis.unlink(*(keys.known_marks(scope, bucket) for bucket in range(start, stop)))
        self._redis.hdel(keys.KNOWN_SCOPES, scope)


def _known_scope(name: str, raw: bytes) -> KnownScope:
    row = json.loads(raw)
    batch, at_ms = row.pop("batch"), row.pop("at_ms")
    return KnownScope(name, row, batch, at_ms)


def _facts(name: str, size_bytes: int, mtime_ns: int) -> bytes:
    return f"{size_bytes} {mtime_ns} {name}".encode("utf-8", "surrogateescape")


def _mark(digest: bytes) -> Mark:
    value = int.from_bytes(digest, "big")
    return value & _BUCKETS, ((value >> BUCKET_BITS) & _MEMBER) - _SIGN


def _names(scope: Scope, marks: Sequence[Mark]) -> list[str]:
    return [keys.known_marks(scope.name, bucket) for bucket, _ in marks]


def _slices(marks: Iterable[Mark]) -> Iterator[list[Mark]]:
    every = iter(marks)
    while some := list(islice(every, AT_ONCE)):
        yield some
