"""Write a batch's records beneath a prefix of an object store: the same layout, and the same bytes, as a folder's.

    parts/<submission>.json    each there when its submission counts as exported
    manifest.jsonl, batch.json from the machine that listed the files, when the listing is complete
    results.jsonl, files.jsonl, failures.jsonl, summary.json
    _SUCCESS                   last of all, with the batch's id; without it the other files don't count

An object appears as a whole or not at all, and every name and content is determined by the batch, so whatever is
written twice, by whomever, is written once. Nothing needs a lock or a conditional write, which not every store keeps.

A commit needs no disk that machines share: manifest and parts are read from the store, the final files are sent in
pieces as they come into being. They are finished, and become visible, only when all of them have been made; a
`_SUCCESS` of an earlier commit is taken away before that. Two commits at once make the same bytes. A commit that finds
its batch closed or opened again in the meantime finishes nothing; one that is suspended at just that moment, and wakes
after a later commit, would put back the earlier state as a whole: `paceline verify` shows that.

A process that is killed leaves pieces of unfinished files where nobody sees them but the bill: give the bucket a rule
that ends multipart uploads which were never completed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from paceline import jsonl
from paceline.batch_file import BATCH_FILE
from paceline.errors import SinkError, UsageError
from paceline.manifest import parse_row
from paceline.model import batch_of, submission_id
from paceline.sinks.base import Closing, Part
from paceline.sinks.directory import MANIFEST, REPLACED, SUCCESS, SUMMARY, foreign
from paceline.sinks.merging import FAILURES, FILES, RESULTS, merge
from paceline.sinks.parts import OpenPart, begin_part, encode_part, missing_part, parse_part
from paceline.stores.addresses import Address, parse_address
from paceline.stores.clients import NoObject, StoreFailed, asking, client_of, driver
from paceline.stores.objects import look, open_object

PIECE_BYTES = 8 << 20
"""Of a large object; S3 takes 10,000 of them, so a final file may have 80 GB."""

AT_ONCE = 2
"""Pieces of one object that are under way: with three final files some 75 MB at most."""

AHEAD = 8
"""Parts that a commit asks for before their turn: one after the other, the answers' delays would add up."""

_TRIAL = ".paceline-trial"


class StoreSink:
    """A prefix of an object store. See `paceline.sinks.base.Sink`."""

    def __init__(self, url: str) -> None:
        driver()
        self.url = url
        self._place = parse_address(f"{url}/")

    def write(self, part: Part) -> None:
        """Put `parts/<submission>.json` in place; the same part gives the same bytes."""
        with _sinking():
            self._put(_part_name(part.submission), b"".join(encode_part(part)))

    def check(self, batch: str | None) -> None:
        """Write a little, take it away again, and look whose results are there. Raises `UsageError`."""
        try:
            with asking(self.url):
                self._put(_TRIAL, b"may this be written?")
                self._delete(_TRIAL)
            holder = self.holder()
            there = self._foreign(batch) if batch is not None and holder is None else []
        except NoObject as error:
            raise UsageError(f"output {self.url!r}: no such bucket: {self._place.origin}; make it") from error
        except (StoreFailed, SinkError) as error:
            raise UsageError(f"output {self.url!r}: {error}") from error
        if batch is not None and holder not in (None, batch):
            raise UsageError(
                f"output {self.url!r} holds the results of batch {holder}: choose another --to, or move them away"
            )
        if there:
            raise UsageError(foreign(self.url, there))

    def _foreign(self, batch: str) -> list[str]:
        """Name the objects that a commit would replace, and that nothing shows to be this batch's."""
        with suppress(NoObject, ValueError):
            if jsonl.decode(self._get(BATCH_FILE)).get("batch") == batch:
                return []
        return [name for name in (*REPLACED, MANIFEST, BATCH_FILE) if self._has(name)]

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Put the manifest, and `batch.json` from beside it, where a commit on any machine finds them."""
        described = Path(manifest).with_name(BATCH_FILE)
        with _sinking():
            if described.exists():
                self._put(BATCH_FILE, described.read_bytes())
            self._put(MANIFEST, Path(manifest))

    def holder(self) -> str | None:
        """Tell the batch that has left something here, complete or not. Raises `SinkError`."""
        with _sinking():
            with suppress(NoObject):
                return self._get(SUCCESS).decode("utf-8", "replace").strip()
            for key in self._keys("parts/"):
                if key.endswith(".json"):
                    return batch_of(Path(key).stem)
            with suppress(NoObject, ValueError, KeyError, TypeError), self._open(MANIFEST) as lines:
                return next((batch_of(name) for line in lines if (name := parse_row(line).submission)), None)
        return None

    def is_committed(self, batch: str) -> bool:
        """Tell whether the final output of this batch is here. Raises `SinkError`."""
        with _sinking(), suppress(NoObject):
            return self._get(SUCCESS).decode("utf-8", "replace").strip() == batch
        return False

    def find(self, submission: str) -> Part | None:
        """Return a submission's part; None where there is none, or a damaged one. Raises `SinkError`."""
        with _sinking(), suppress(NoObject, ValueError):
            return parse_part(self._get(_part_name(submission)), submission)
        return None

    def names(self, batch: str) -> Iterator[str]:
        """Give the submissions of a batch that have a part here. Raises `SinkError`."""
        with _sinking():
            for key in self._keys("parts/"):
                name = Path(key).name
                if name.startswith(f"{batch}-") and name.endswith(".json"):
                    yield name.removesuffix(".json")

    def commit(self, closing: Closing) -> None:
        """Make the final files from manifest and parts, and finish them together.

        Nothing is touched if the batch is no longer open. Raises `SinkError` naming the part that is missing, another
        batch's, or for other files than the manifest says; what was there before stays then.
        """
        if not closing.still_open():
            return
        with _sinking():
            finals = {name: self._writer(name) for name in (RESULTS, FILES, FAILURES)}
            with self._manifest(closing) as lines, _Ahead(self._part, self.url, closing) as parts:
                merge(closing, iter(lines), finals, parts)
            if not closing.still_open():
                return
            self._delete(SUCCESS)
            for name, final in finals.items():
                with asking(self._named(name)):
                    final.close()
            self._put(SUMMARY, jsonl.encode_pretty(closing.summary))
            self._put(SUCCESS, closing.batch.encode() + b"\n")

    def _manifest(self, closing: Closing) -> BinaryIO:
        """Open the manifest. If somebody has taken it away, and this machine has it, it is brought again."""
        try:
            return self._open(MANIFEST)
        except NoObject as error:
            if not Path(closing.manifest).is_file():
                raise SinkError(
                    f"{self._named(MANIFEST)} is missing: put {closing.manifest} there, from the machine that listed"
                    " the files"
                ) from error
        self.take_manifest(closing.batch, closing.manifest)
        return self._open(MANIFEST)

    def _part(self, submission: str) -> BinaryIO:
        try:
            return self._open(_part_name(submission))
        except NoObject as error:
            raise missing_part(self._named(_part_name(submission)), submission) from error

    # One call of the driver each; they raise `StoreFailed` and `NoObject`.

    def _named(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _key(self, name: str) -> str:
        return self._place.key + name

    def _put(self, name: str, content: bytes | Path) -> None:
        client = client_of(self._place, to_write=True)
        with asking(self._named(name)):
            driver().put(client, self._key(name), content, chunk_size=PIECE_BYTES, max_concurrency=AT_ONCE)

    def _delete(self, name: str) -> None:
        client = client_of(self._place, to_write=True)
        with suppress(NoObject), asking(self._named(name)):
            driver().delete(client, self._key(name))

    def _has(self, name: str) -> bool:
        with suppress(NoObject):
            look(Address(self._place.scheme, self._place.host, self._key(name)), self._named(name))
            return True
        return False

    def _get(self, name: str) -> bytes:
        with self._open(name) as stream:
            return stream.read()

    def _open(self, name: str) -> BinaryIO:
        address = Address(self._place.scheme, self._place.host, self._key(name))
        return open_object(address, self._named(name))[1]

    def _keys(self, folder: str) -> Iterator[str]:
        client = client_of(self._place, to_write=True)
        pages = iter(driver().list(client, self._key(folder), chunk_size=1000))
        while True:
            with asking(self._named(folder)):
                page = next(pages, None)
            if page is None:
                return
            yield from (meta["path"] for meta in page)

    def _writer(self, name: str) -> Any:
        client = client_of(self._place, to_write=True)
        with asking(self._named(name)):
            return driver().open_writer(client, self._key(name), buffer_size=PIECE_BYTES, max_concurrency=AT_ONCE)


class _Ahead:
    """Opens parts in the order of the manifest, some before their turn. Halves come when they are asked for."""

    def __init__(self, open_one: Callable[[str], BinaryIO], url: str, closing: Closing) -> None:
        self._open_one = open_one
        self._url = url
        self._coming = (submission_id(closing.batch, index) for index in range(1, closing.submissions + 1))
        self._waiting: deque[tuple[str, Future[BinaryIO]]] = deque()
        self._pool = ThreadPoolExecutor(AHEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for _, future in self._waiting:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close()

    @contextmanager
    def __call__(self, submission: str) -> Iterator[OpenPart]:
        while len(self._waiting) < AHEAD and (name := next(self._coming, None)) is not None:
            self._waiting.append((name, self._pool.submit(self._open_one, name)))
        if self._waiting and self._waiting[0][0] == submission:
            stream = self._waiting.popleft()[1].result()
        else:
            stream = self._open_one(submission)
        with stream:
            yield begin_part(stream, f"{self._url}/{_part_name(submission)}", submission)


def _part_name(submission: str) -> str:
    return f"parts/{submission}.json"


@contextmanager
def _sinking() -> Iterator[None]:
    """Turn what a store complains about within the block into a `SinkError` with the remedy."""
    try:
        yield
    except StoreFailed as error:
        raise SinkError(str(error)) from error
    except NoObject as error:
        raise SinkError(f"{error.strerror}: bring it back, or make the bucket") from error
