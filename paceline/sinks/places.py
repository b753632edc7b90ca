"""Tell what a `--to` means, and write it in one way, so that the same destination is the same text everywhere.

    results/                       a folder
    x.jsonl  x.csv  x.parquet      a single file; `x.files.csv` has a row per file, see `paceline.tables.table_for`
    sqlite:///x.db                 a SQLite file, relative; sqlite:////srv/x.db absolute
    postgresql://host/db           a PostgreSQL database; the password never stands in it
    s3://… gs://… az://…           a prefix of an object store
    https://…                      a webhook: each record is posted there

Nothing here touches a destination or needs a driver.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from paceline.errors import UsageError

FORMS = (
    "a folder, x.jsonl, x.csv, x.parquet, sqlite:///x.db, postgresql://host/db, s3://bucket/prefix or https://host/hook"
)


class PlaceKind(StrEnum):
    """What a destination is."""

    FOLDER = "folder"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    SQLITE = "sqlite"
    POSTGRES = "postgres"
    STORE = "store"
    WEBHOOK = "webhook"


_SUFFIXES = {".jsonl": PlaceKind.JSONL, ".csv": PlaceKind.CSV, ".parquet": PlaceKind.PARQUET}
_SCHEMES = {
    "sqlite": PlaceKind.SQLITE,
    "postgresql": PlaceKind.POSTGRES,
    "postgres": PlaceKind.POSTGRES,
    "s3": PlaceKind.STORE,
    "gs": PlaceKind.STORE,
    "az": PlaceKind.STORE,
    "https": PlaceKind.WEBHOOK,
    "http": PlaceKind.WEBHOOK,
}
SECRET_ENV = "PACELINE_WEBHOOK_SECRET"  # noqa: S105  # its name
"""The variable that holds the secret which deliveries to webhooks are signed with."""

_MEANT = {
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "for SQLite write sqlite:///{name}"),
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".tsv"), "for a spreadsheet write {stem}.csv"),
    **dict.fromkeys((".json", ".ndjson"), "for lines of JSON write {stem}.jsonl"),
    ".gz": "nothing is packed here; leave .gz out",
}
"""Endings that nobody gives to a folder, and what is meant."""

_PASSWORDS = ("password", "sslpassword")
_FILES = frozenset(_SUFFIXES.values())


def kind_of(to: str) -> PlaceKind:
    """Return what a destination is. Raises `UsageError` for an unknown form."""
    scheme, sign, _ = to.partition("://")
    if sign:
        if scheme.lower() not in _SCHEMES:
            raise UsageError(f"output {_without_password(to)!r}: unknown kind of address; name {FORMS}")
        return _SCHEMES[scheme.lower()]
    return _SUFFIXES.get(Path(to).suffix.lower(), PlaceKind.FOLDER)


def canonical(text: str) -> str:
    """Write a destination as batches know it: paths absolute, addresses without a slash at the end.

    Raises `UsageError` for an unknown form, and for a password, which would end up in Redis, logs and `ps`.
    """
    if not text:
        raise UsageError("--to is empty: name a folder")
    if text == "-":
        raise UsageError(f"output {text!r}: results aren't written to the terminal; name {FORMS}")
    kind = kind_of(text)
    if "://" not in text:
        if kind is PlaceKind.FOLDER:
            _no_slip(text)
        return _absolute(text)
    scheme, _, rest = text.partition("://")
    scheme = "postgresql" if kind is PlaceKind.POSTGRES else scheme.lower()
    if kind is PlaceKind.SQLITE:
        return _sqlite(text, rest)
    if any(ord(letter) < ord(" ") for letter in text):  # `urlsplit` would drop some of them
        raise UsageError(f"output {_without_password(text)!r}: an address can't hold control characters")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
    except ValueError as error:
        raise UsageError(f"output {_without_password(text)!r}: no address; check the brackets") from error
    if parts.password is not None or any(name in _PASSWORDS for name, _ in parse_qsl(parts.query)):
        remedy = "export PGPASSWORD or use ~/.pgpass" if kind is PlaceKind.POSTGRES else "leave it out"
        raise UsageError(f"output {_without_password(text)!r}: a password there would be seen by everyone; {remedy}")
    if kind is not PlaceKind.POSTGRES and not parts.netloc:
        raise UsageError(f"output {text!r} names no {'host' if kind is PlaceKind.WEBHOOK else 'bucket'}")
    if kind is PlaceKind.STORE and (parts.query or parts.fragment):
        raise UsageError(f"output {text!r}: a '?' or '#' in the name of a place in an object store is not supported")
    path = parts.path if kind is PlaceKind.WEBHOOK else parts.path.rstrip("/")
    return f"{scheme}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")


def sqlite_path(to: str) -> str:
    """Return the file of a canonical `sqlite:` destination, an absolute path."""
    return "/" + unquote(urlsplit(to).path).lstrip("/")


def folders(to: Iterable[str]) -> list[str]:
    """Return those destinations that are folders of files."""
    return [place for place in to if kind_of(place) is PlaceKind.FOLDER]


def written_in_turn(to: Iterable[str]) -> list[str]:
    """Return destinations in the order to write them: webhooks last.

    Where one fails, those before it are written again with it, and only receivers notice that.
    """
    return sorted(to, key=lambda place: kind_of(place) is PlaceKind.WEBHOOK)


def local_path(to: str) -> str | None:
    """Return the folder or file that a destination is on this machine, None for one that is elsewhere."""
    kind = kind_of(to)
    if kind is PlaceKind.SQLITE:
        return sqlite_path(to)
    return to if kind is PlaceKind.FOLDER or kind in _FILES else None


def parts_folder(to: str) -> str | None:
    """Return the folder where a destination keeps its parts, None for one that keeps none on disk."""
    kind = kind_of(to)
    if kind is PlaceKind.FOLDER:
        return str(Path(to) / "parts")
    return f"{to}.parts" if kind in _FILES else None


def private_paths(to: str) -> list[str]:
    """Return every file and folder beneath which a destination writes on this machine: never part of a file set."""
    path, parts = local_path(to), parts_folder(to)
    if path is None:
        return []
    beside = [f"{path}-wal", f"{path}-shm", f"{path}-journal"] if kind_of(to) is PlaceKind.SQLITE else []
    return [path, *([parts] if parts else []), *beside]


def written_places(to: str) -> list[str]:
    """Return everything beneath which a destination writes: `private_paths`, or its address in an object store."""
    return [to] if kind_of(to) is PlaceKind.STORE else private_paths(to)


def _sqlite(text: str, rest: str) -> str:
    if not rest.startswith("/") or rest in ("/", "//"):
        raise UsageError(f"output {text!r}: write sqlite:///x.db, or sqlite:////srv/x.db for an absolute path")
    return f"sqlite:///{quote(_absolute(unquote(rest[1:])), safe='/')}"


def _no_slip(text: str) -> None:
    """Refuse a folder that isn't there, and whose name says that something else is meant: a batch would be paid first.

    Raises `UsageError`.
    """
    if os.path.isdir(_absolute(text)):  # noqa: PTH112  # a Path raises for a name that is too long to be one
        return
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in _SCHEMES:
        raise UsageError(f"output {text!r}: begins like an address, but is none; name {FORMS}")
    path = Path(text)
    meant = _MEANT.get(path.suffix.lower())
    if meant:
        said = meant.format(name=text, stem=path.with_suffix(""))
        raise UsageError(f"output {text!r}: taken as it is, this would be a folder; {said}")


def _absolute(text: str) -> str:
    path = Path(text)
    with suppress(RuntimeError):  # `~name` where nobody has that name is a file's name like any other
        path = path.expanduser()
    whole = Path("/")
    for part in path.absolute().parts[1:]:  # a symlink stays: it may be led elsewhere, but where a `..` leads out of it
        whole = whole.resolve().parent if part == ".." else whole / part
    return str(whole)


def _without_password(text: str) -> str:
    scheme, _, rest = text.partition("://")
    netloc, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    user, _, host = netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{scheme}://{name + ':…@' if name else ''}{host}{slash}{path}"
