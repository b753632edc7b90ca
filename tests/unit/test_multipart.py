"""The upload's body: the same bytes as the vendor's own client, and never a complete one of files that changed."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kolena_agents._utils.upload import (  # type: ignore[import-untyped]  # it has no py.typed
    StreamingMultipartEncoder,
    normalize_files,
)

from paceline.errors import FileChanged, FileMissing, FileProblem, SourceUnreachable
from paceline.providers.base import Upload
from paceline.providers.contents import CHUNK_BYTES
from paceline.providers.http import Http
from paceline.providers.multipart import Multipart
from tests.support.raw_server import Peer, RawServer, answer

END = b"\r\n--edge--\r\n"


def held(name: str, data: bytes, size_bytes: int | None = None) -> Upload:
    """Make an upload of bytes in memory, whose planned size may be wrong."""
    return Upload(name, name, len(data) if size_bytes is None else size_bytes, lambda: io.BytesIO(data))


def near(name: str, data: bytes) -> Upload:
    """Make an upload of bytes in memory that can be read at once, as a file of a folder can."""
    return replace(held(name, data), read=lambda: data)


def on_disk(path: Path, size_bytes: int | None = None) -> Upload:
    """Make an upload of a file, planned as it is now unless a size is given."""
    size = path.stat().st_size if size_bytes is None else size_bytes
    return Upload(path.name, path.name, size, lambda: open(path, "rb", buffering=0))


def vendors(uploads: list[tuple[str, bytes]], fields: list[tuple[str, str]]) -> tuple[bytes, str]:
    encoder = StreamingMultipartEncoder(normalize_files(list(uploads)), fields, boundary="edge")
    return encoder.read(), encoder.content_type


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00/"), min_size=1, max_size=30)


@settings(deadline=None)  # other tests run beside it
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=5),
    st.lists(
        st.tuples(st.sampled_from(["user_defined_id", "due_date"]), st.text(st.characters(codec="utf-8"))), max_size=2
    ),
    st.integers(1, 60),
    st.booleans(),
)
def test_every_byte_is_what_the_vendors_client_would_send(
    files: list[tuple[str, bytes]], fields: list[tuple[str, str]], chunk_bytes: int, at_once: bool
) -> None:
    uploads = [near(*file) if at_once else held(*file) for file in files]
    ours = Multipart(fields, uploads, boundary="edge", chunk_bytes=chunk_bytes)
    body, content_type = vendors(files, fields)
    assert b"".join(ours) == body
    assert len(ours) == len(body)
    assert ours.content_type == content_type
    assert ours.digests == tuple(hashlib.sha256(data).digest() for _, data in files)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Ünï – 文書.pdf", 'filename="Ünï – 文書.pdf"'),
        ('say "hi".txt', 'filename="say %22hi%22.txt"'),
        ("two\r\nlines", 'filename="two%0D%0Alines"'),
        (os.fsdecode(b"caf\xe9.txt"), 'filename="caf%E9.txt"'),
        ("100%22", 'filename="100%22"'),
    ],
)
def test_a_name_can_neither_break_the_frame_nor_the_encoding(name: str, written: str) -> None:
    body = b"".join(Multipart([], [held(name, b"")]))
    assert written.encode() in body


ODD_KINDS = [
    "a.pdf",
    "A.PDF",
    "x.tar.gz",
    "x.tgz",
    ".txt",
    "txt",
    "a.",
    "a.nothing",
    "data:a.csv",
    "data:,x.txt",
    "é.png",
]


@pytest.mark.parametrize(
    "name", [*ODD_KINDS, "a.b.html", "a.svgz", "1_.Z", "my file-1.docx", "a.txt\n", 'q".json', "http://x.txt"]
)
def test_every_kind_of_file_is_what_the_vendors_client_would_say(name: str) -> None:
    ours = Multipart([], [held(name, b"x")], boundary="edge")
    assert b"".join(ours) == vendors([(name, b"x")], [])[0]


def test_fields_come_before_files() -> None:
    body = b"".join(Multipart([("user_defined_id", "b.b-1")], [held("a.txt", b"data")]))
    assert body.index(b'name="user_defined_id"\r\n\r\nb.b-1\r\n') < body.index(b'name="files"; filename="a.txt"')


def test_boundaries_differ_unless_given() -> None:
    assert Multipart([], []).content_type != Multipart([], []).content_type


def test_a_body_can_be_sent_again() -> None:
    body = Multipart([], [held("a", b"1" * 100), held("b", b"2")])
    assert b"".join(body) == b"".join(body)
    assert len(body.digests) == 2


@pytest.mark.parametrize("size_bytes", [0, 1, 9, 10, 11, 20, 25])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_file_of_another_size_gives_away_not_even_its_planned_end(size_bytes: int, off: int) -> None:
    planned = size_bytes + off
    if planned < 0:
        return
    body = Multipart([], [held("a", b"x" * size_bytes, planned), held("b", b"y")], boundary="edge", chunk_bytes=10)
    chunks: list[bytes] = []
    with pytest.raises(FileChanged) as caught:
        chunks.extend(body)
    given_away = b"".join(chunks)
    assert caught.value.path == "a"
    assert given_away.count(b"x") < max(planned, 1)
    assert len(given_away) < len(body)
    assert END not in given_away
    assert body.digests == ()


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    upload = Upload("a", "a", 10, lambda: Trickle(b"0123456789"))
    assert b"0123456789" in b"".join(Multipart([], [upload]))


def rewrite(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.write(b"CHANGED")
    os.utime(path, ns=(1, 1))


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 150)


@pytest.mark.parametrize("change", [rewrite, grow, shrink])
def test_a_file_that_changes_while_it_is_sent_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300)
    chunks = iter(Multipart([], [on_disk(path)], chunk_bytes=100))
    sent = [next(chunks), next(chunks)]  # the head, and a third of the file
    change(path)
    with pytest.raises(FileChanged):
        sent.extend(chunks)
    assert b"".join(sent).count(b"x") < 300


def test_a_file_replaced_while_it_is_sent_is_sent_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300)
    (tmp_path / "b").write_bytes(b"y" * 300)
    body = Multipart([], [on_disk(path)], chunk_bytes=100)
    chunks = iter(body)
    sent = next(chunks) + next(chunks)
    (tmp_path / "b").replace(path)
    sent += b"".join(chunks)
    assert b"yy" not in sent
    assert body.digests == (hashlib.sha256(b"x" * 300).digest(),)


def test_a_file_that_is_gone_is_missing_and_one_that_fails_to_be_read_says_nothing_about_it(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("I/O error")

    cases = ((on_disk(tmp_path / "gone", 5), FileMissing), (Upload("a", "sub/a", 5, Broken), SourceUnreachable))
    for upload, kind in cases:
        with pytest.raises(kind) as caught:
            list(Multipart([], [upload]))
        assert caught.value.path == upload.path


def never() -> IO[bytes]:
    raise AssertionError("nobody has to open this")


def test_a_small_file_that_can_be_read_at_once_is_not_opened() -> None:
    body = Multipart([], [Upload("a", "a", 4, never, lambda: b"data")])
    assert b"\r\n\r\ndata\r\n" in b"".join(body)
    assert body.digests == (hashlib.sha256(b"data").digest(),)


def test_a_large_file_is_never_read_at_once() -> None:
    def too_much() -> bytes:
        raise AssertionError("all of it in memory")

    upload = Upload("a", "a", 300_000, lambda: io.BytesIO(bytes(300_000)), too_much)
    body = Multipart([], [upload])
    assert sum(map(len, body)) == len(body)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (b"short", FileChanged),
        (b"too long for it", FileChanged),
        (FileNotFoundError(), FileMissing),
        (OSError("I/O error"), SourceUnreachable),
    ],
)
def test_what_is_read_at_once_is_the_file_as_planned(given: bytes | OSError, kind: type[FileProblem]) -> None:
    def read() -> bytes:
        if isinstance(given, OSError):
            raise given
        return given

    body = Multipart([], [Upload("a", "sub/a", 9, never, read)])
    with pytest.raises(kind) as caught:
        list(body)
    assert caught.value.path == "sub/a"
    assert body.digests == ()


def test_what_open_raises_comes_out_as_it_is() -> None:
    problem = FileChanged("not what was planned", path="a")

    def refuse() -> IO[bytes]:
        raise problem

    with pytest.raises(FileProblem) as caught:
        list(Multipart([], [Upload("a", "a", 5, refuse)]))
    assert caught.value is problem


def test_small_files_travel_together() -> None:
    body = Multipart([], [held(f"{number}.txt", b"x" * 100) for number in range(300)])
    assert len(list(body)) == 1


class Census:
    """Counts how many of its files are open."""

    def __init__(self) -> None:
        self.open = self.most = 0

    def upload(self, path: Path, name: str) -> Upload:
        return Upload(name, name, path.stat().st_size, lambda: self._open(path))

    def _open(self, path: Path) -> IO[bytes]:
        census = self

        class Counted(io.FileIO):
            def close(self) -> None:
                if not self.closed:
                    census.open -= 1
                super().close()

        self.open += 1
        self.most = max(self.most, self.open)
        return Counted(path)


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Let this process open only so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def sink(sizes: list[int]) -> Callable[[Peer], None]:
    """Return a script that answers when the body announced has arrived, and notes how much that was."""

    def script(peer: Peer) -> None:
        head = peer.read_head()
        announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        buffer = bytearray(1 << 18)
        left = announced
        while left and (got := peer.connection.recv_into(buffer)):
            left -= got
        sizes.append(announced - left)
        peer.send(answer(200, {}))

    return script


def send(url: str, body: Multipart) -> None:
    http = Http(url, "key")
    http.post("/", body=body, content_type=body.content_type, deadline_s=20, gate=lambda: None)


def test_three_hundred_files_need_few_descriptors_and_one_file_at_a_time(tmp_path: Path) -> None:
    census = Census()
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    sizes: list[int] = []
    body = Multipart([], [census.upload(path, f"{number}.txt") for number in range(300)])
    with RawServer(sink(sizes)) as server, few_descriptors(24):
        send(server.url, body)
    assert sizes == [len(body)]
    assert (census.most, census.open) == (1, 0)
    assert len(body.digests) == 300


def test_an_upload_that_is_cut_off_leaves_no_file_open(tmp_path: Path) -> None:
    census = Census()
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 10_000_000)
    body = Multipart([], [census.upload(path, "a")])
    with RawServer(Peer.reset) as server, pytest.raises(Exception, match=r"request was begun|no connection"):
        send(server.url, body)
    assert census.open == 0


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_a_large_upload_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    uploads = []
    for name in "abc":
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 50_000_000)
        uploads.append(on_disk(tmp_path / name))
    sizes: list[int] = []
    with RawServer(sink(sizes)) as server:
        send(server.url, Multipart([], uploads[:1]))
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        send(server.url, Multipart([], uploads))
        after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sizes[1] > 150_000_000
    assert after_kb - before_kb < 20 * CHUNK_BYTES // 1024
