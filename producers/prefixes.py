"""List an object store lazily, in the order of its keys, reading no contents.

The order: by key, as S3 and Google list them (the order of UTF-8 bytes), so a listing can be taken up behind any path.
Azure's isn't promised, nor that of an S3 directory bucket: those listings are unordered.

What is part of the set:

- Objects beneath the prefix, by their keys behind it. Empty ones are rows `empty`.
- Keys that end with `/` and hold nothing stand for folders in consoles; they are not part of the set. One that holds
  something, and has others beneath it, is a row `not_regular`.
- Hidden ones (a component behind the prefix begins with a dot) are not part of the set, as with folders. A prefix or an
  object that is hidden and named as the source itself is.

Times are whole seconds: some listings know milliseconds, and no answer to a single request does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from paceline.errors import UsageError
from paceline.model import SkippedFile, SkipReason, SourceFile
from paceline.roots import path_order
from paceline.stores.addresses import Address, parse_address
from paceline.stores.clients import NoObject, StoreFailed, asking, client_of, driver
from paceline.stores.objects import Found, found, look
from paceline.stores.roots import AT_ONCE
from producers.filters import Filter, Rules
from producers.sources import Source, SourceKind, no_files

Meta = Mapping[str, Any]
"""What the driver says of an object."""

PAGE = 1000
"""Objects that a store lists in one answer."""

_DIRECTORY_BUCKET = "--x-s3"


def resolve_address(text: str, rules: Rules) -> Source:
    """Understand an address as a SOURCE: an object if there is one of that key, else what is beneath it.

    Its location ends with `/` if it is a prefix. Asks the store where there is no `/` at the end. Raises `UsageError`.
    """
    address = parse_address(text)
    driver()
    if not address.is_prefix:
        single = f"{address.origin}/{text.partition('://')[2].partition('/')[2]}"
        try:
            if address.is_web or look(address, single).size_bytes:
                one = Object(single, rules.filter())
                return Source(single, SourceKind.FILE, one, rules.options(), nothing=no_files(repr(single), rules))
        except NoObject:
            pass
        except StoreFailed as error:
            if not error.denied:  # who may list `docs/` is often refused `docs`
                raise UsageError(f"source {text!r}: {error}") from error
        if "*" in address.key:
            raise UsageError(
                f"source {text!r} is not there, and patterns aren't understood in addresses: name the prefix, and give"
                f" the pattern with --include, like --include {address.name!r}"
            )
    location = f"{address.origin}/{address.key.rstrip('/')}/" if address.key else f"{address.origin}/"
    listing = Prefix(location, rules.filter(), rules.hidden)
    return Source(location, SourceKind.FOLDER, listing, rules.options(), nothing=no_files(repr(location), rules))


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is wanted of the objects beneath an address that ends with a slash."""

    location: str
    choose: Filter | None = None
    hidden: bool = False

    @property
    def ordered(self) -> bool:
        """Tell whether this store lists in the order of the keys."""
        address = parse_address(self.location)
        return address.scheme != "az" and not address.host.endswith(_DIRECTORY_BUCKET)

    def key(self, path: str) -> Any:
        """Return the key's bytes."""
        return path_order(self.location)(path)

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List it, a page in memory at a time."""
        outputs = _within(self.location, exclude)
        return (entry for entry in self._entries(after) if self._takes(entry.path, outputs))

    def _takes(self, path: str, outputs: tuple[str, ...]) -> bool:
        if path.startswith(outputs) or (is_hidden(path) and not self.hidden):
            return False
        return self.choose is None or self.choose.takes_named(path)

    def _entries(self, after: str | None) -> Iterator[SourceFile | SkippedFile]:
        address = parse_address(self.location)
        last, ordered, order = b"", self.ordered, path_order(self.location)
        behind = order(after or "")
        pages = _pages(address, self.location, after)
        for meta, there, following in _with_next(pages, lambda page: _there(address, page)):
            path = meta["path"][len(address.key) :]
            one = found(meta)
            key = order(path)
            if following.startswith(f"{meta['path']}/") and there is None:
                there = _is_there(address, meta)
            if there is False or (not one.size_bytes and key <= last):
                # The driver shows `a/` as `a`. Without content it stands for a folder; with some it can't be read.
                if not one.size_bytes:
                    continue
                path, key = f"{path}/", order(f"{path}/")
            if ordered and key <= behind:
                continue  # the driver asks for what is behind `a` where that is behind `a/`
            if ordered and key <= last:
                raise UsageError(
                    f"{self.location} isn't listed in the order of its keys ({path!r} came late): copy it to a"
                    " folder, or to a store that keeps the order"
                )
            last = key
            yield SkippedFile(path, SkipReason.NOT_REGULAR) if path.endswith("/") else _entry(path, one)


@dataclass(frozen=True, slots=True)
class Object:
    """One object, or one file of a web server, if it is wanted. Its path is its name."""

    location: str
    choose: Filter | None = None

    @property
    def ordered(self) -> bool:
        """Always."""
        return True

    def key(self, path: str) -> str:
        """Return the path."""
        return path

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """Give the one."""
        address = parse_address(self.location)
        _within(self.location, exclude)
        if after is not None and after >= address.name:
            return
        if self.choose is not None and not self.choose.takes(address.name):
            return
        try:
            yield _entry(address.name, look(address, self.location))
        except NoObject as error:
            raise UsageError(f"no such source: {self.location!r}; check the spelling") from error
        except StoreFailed as error:
            raise UsageError(f"source {self.location!r}: {error}") from error


def look_up(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], SourceFile | SkippedFile]]:
    """Ask after the addresses in `path` of rows, some at once, and give each row with what is there, in their order.

    What isn't there is a row `missing`, what this key may not read `unreadable`, a prefix `not_regular`. Raises
    `UsageError` for an address that can't be one, and for a store that doesn't answer.
    """
    waiting: deque[tuple[dict[str, Any], Future[SourceFile | SkippedFile]]] = deque()
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for row in rows:
            waiting.append((row, pool.submit(_look_up, row["path"])))
            if len(waiting) > 4 * AT_ONCE:
                first, entry = waiting.popleft()
                yield first, entry.result()
        yield from ((row, entry.result()) for row, entry in waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _look_up(path: str) -> SourceFile | SkippedFile:
    address = parse_address(path)
    if address.is_prefix:
        return SkippedFile(path, SkipReason.NOT_REGULAR)
    try:
        return _entry(path, look(address, path))
    except NoObject:
        return SkippedFile(path, SkipReason.MISSING)
    except StoreFailed as error:
        if error.denied:
            return SkippedFile(path, SkipReason.UNREADABLE)
        raise UsageError(f"the list's {path!r}: {error}") from error


def is_hidden(path: str) -> bool:
    """Tell whether a component begins with a dot."""
    return path.startswith(".") or "/." in path


def _entry(path: str, one: Found) -> SourceFile | SkippedFile:
    if one.size_bytes:
        return SourceFile(path, one.size_bytes, one.mtime_ns)
    return SkippedFile(path, SkipReason.EMPTY, 0, one.mtime_ns)


def _within(location: str, places: Collection[str]) -> tuple[str, ...]:
    """Return the paths, relative to the source, of outputs in it. Raises `UsageError` for the source itself."""
    whole = location.rstrip("/") + "/"
    prefixes = [place.rstrip("/") + "/" for place in places if "://" in place]
    if whole in prefixes:
        raise UsageError(f"{location!r} can't be source and output at once: choose another place for the output")
    return tuple(prefix.removeprefix(whole) for prefix in prefixes if prefix.startswith(whole))


def _pages(address: Address, location: str, after: str | None) -> Iterator[Sequence[Meta]]:
    behind = None if after is None else address.key + after
    try:
        client = client_of(address)
        pages = iter(driver().list(client, address.key or None, offset=behind, chunk_size=PAGE))
        while True:
            with asking(location):
                page = next(pages, None)
            if page is None:
                return
            yield page
    except (StoreFailed, NoObject) as error:
        raise UsageError(f"source {location!r} can't be listed: {error}") from error


def _with_next(
    pages: Iterable[Sequence[Meta]], there: Callable[[Sequence[Meta]], Mapping[str, bool]]
) -> Iterator[tuple[Meta, bool | None, str]]:
    """Give each object, whether it is there under its name (None: nobody asked), and the name of the next one."""
    held: tuple[Meta, bool | None] | None = None
    for page in pages:
        known = there(page)
        for meta in page:
            if held is not None:
                yield *held, meta["path"]
            held = meta, None if meta["size"] else known.get(meta["path"])
    if held is not None:
        yield *held, ""


def _there(address: Address, page: Sequence[Meta]) -> Mapping[str, bool]:
    """Tell which of a page's objects without bytes are there under their names."""
    empty = [meta for meta in page if not meta["size"]]
    if not empty:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(empty))) as pool:
        there = pool.map(lambda meta: _is_there(address, meta), empty)
        return dict(zip((meta["path"] for meta in empty), there, strict=True))


def _is_there(address: Address, meta: Meta) -> bool:
    """Tell whether an object of this size has the name that the driver shows."""
    shown = f"{address.origin}/{meta['path']}"
    try:
        return look(Address(address.scheme, address.host, meta["path"]), shown).size_bytes == int(meta["size"])
    except NoObject:
        return False
    except StoreFailed as error:
        raise UsageError(f"source {address.origin}/{address.key} can't be listed: {error}") from error
