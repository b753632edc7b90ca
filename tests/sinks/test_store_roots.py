"""Files in object stores and on web servers: found as planned, read as planned, and what is said when that fails."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from paceline.errors import FileChanged, FileMissing, PacelineError, SourceUnreachable, UsageError
from paceline.model import PlannedFile, SourceFile
from paceline.providers.base import Upload
from paceline.providers.contents import contents
from paceline.roots import URLS, open_root
from paceline.stores import clients
from producers.filters import Rules
from producers.sources import resolve_sources
from tests.support.doorway import Doorway
from tests.support.raw_server import RawServer, answer, answering
from tests.support.s3 import Bucket, S3Server


def planned(text: str) -> list[PlannedFile]:
    """List a source as a plan does."""
    listing = resolve_sources([text], Rules(), Path("/nowhere")).listing
    return [
        PlannedFile(one.path, one.size_bytes, one.mtime_ns, one.path)
        for one in listing.entries()
        if isinstance(one, SourceFile)
    ]


def sent(location: str, file: PlannedFile) -> bytes:
    """Read a file as an upload does."""
    root = open_root(location)
    return b"".join(contents(Upload(file.upload_name, file.path, file.size_bytes, lambda: root.open(file)), 1 << 16))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give what sends this process to another server."""

    def point(url: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        clients._open.cache_clear()

    yield point
    clients._open.cache_clear()


def test_a_prefix_is_checked_and_read(bucket: Bucket) -> None:
    for number in range(40):
        bucket.put(f"docs/{number:02d} ü.txt", b"%d" % number * (number + 1))
    location = f"s3://{bucket.name}/docs/"

    files = planned(location)

    assert len(files) == 40
    open_root(location).check_all(files)
    for number, file in enumerate(files):
        assert sent(location, file) == b"%d" % number * (number + 1)


def test_what_was_changed_or_deleted_since_the_plan_is_told_apart(bucket: Bucket) -> None:
    for key in ("docs/a", "docs/b", "docs/c"):
        bucket.put(key)
    location = f"s3://{bucket.name}/docs/"
    a, b, c = planned(location)
    root = open_root(location)

    bucket.put("docs/a", b"longer content")
    bucket.delete("docs/b")
    earlier = replace(c, mtime_ns=c.mtime_ns - 10**9)

    for act in (root.check, root.open, lambda file: root.check_all([file, file])):
        with pytest.raises(FileChanged, match="14 bytes, 7 were planned"):
            act(a)
        with pytest.raises(FileMissing, match=f"s3://{bucket.name}/docs/b' is not there"):
            act(b)
        with pytest.raises(FileChanged, match="modified after it was planned"):
            act(earlier)
    root.check(c)
    with pytest.raises(FileMissing):
        root.check_all([c, b, a])
    with pytest.raises(FileChanged):
        root.check_all([c, a, b])


def test_an_empty_prefix_or_a_bucket_that_is_gone_blames_no_file(bucket: Bucket, s3: S3Server) -> None:
    bucket.put("docs/a")
    bucket.put("other")
    location = f"s3://{bucket.name}/docs/"
    (file,) = planned(location)

    bucket.delete("docs/a")
    with pytest.raises(SourceUnreachable, match="is empty"):
        open_root(location).check(file)
    bucket.delete("other")
    s3.client.delete_bucket(Bucket=bucket.name)
    for act in (open_root(location).check, open_root(location).open):
        with pytest.raises(SourceUnreachable, match="no such bucket"):
            act(file)


def test_one_object_is_read_by_its_name(bucket: Bucket) -> None:
    bucket.put("deep/er/report #1.pdf", b"12345")
    location = f"s3://{bucket.name}/deep/er/report #1.pdf"
    (file,) = planned(location)

    assert (file.path, sent(location, file)) == ("report #1.pdf", b"12345")
    with pytest.raises(FileMissing, match="another object"):
        open_root(location).check(replace(file, path="other.pdf"))
    bucket.delete("deep/er/report #1.pdf")
    with pytest.raises(FileMissing):
        open_root(location).check(file)


def test_a_list_of_addresses_is_read_from_each_of_its_stores(bucket: Bucket, s3: S3Server, web: str) -> None:
    other = s3.bucket()
    bucket.put("a/x", b"one")
    other.put("b/x", b"two!")
    root = open_root(URLS)
    addresses = [f"s3://{bucket.name}/a/x", f"s3://{other.name}/b/x", f"{web}/a%20b.pdf"]
    files = [replace(planned(text)[0], path=text, upload_name=f"{n}") for n, text in enumerate(addresses)]

    root.check_all(files)

    assert [sent(URLS, file) for file in files] == [b"one", b"two!", b"%PDF over http"]
    with pytest.raises(FileMissing):
        root.check(replace(files[0], path=f"s3://{bucket.name}/a/nothing"))
    with pytest.raises(FileMissing, match="leave it out"):
        root.check(replace(files[0], path="https://me:pw@host/x"))
    with pytest.raises(SourceUnreachable, match="no such bucket"):
        root.check(replace(files[0], path="s3://nobody-has-this/x"))


@pytest.fixture
def web() -> Iterator[str]:
    """Start a small web server; return its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.reply(b"%PDF over http", body=False)

        def do_GET(self) -> None:
            self.reply(b"%PDF over http", body=True)

        def reply(self, content: bytes, *, body: bool) -> None:
            there = self.path == "/a%20b.pdf"
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", str(len(content) if there else 0))
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 10:00:00 GMT")
            self.end_headers()
            if body and there:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_of_a_web_server_is_a_source(web: str) -> None:
    (file,) = planned(f"{web}/a%20b.pdf")

    assert (file.path, file.size_bytes) == ("a b.pdf", 14)
    assert sent(f"{web}/a%20b.pdf", file) == b"%PDF over http"
    with pytest.raises(UsageError, match="no such source"):
        planned(f"{web}/nothing.pdf")
    with pytest.raises(FileMissing):
        open_root(f"{web}/nothing.pdf").check(replace(file, path="nothing.pdf"))


def test_a_file_is_let_go_of_in_the_middle(bucket: Bucket) -> None:
    bucket.put("big", b"x" * 20_000_000)
    (file,) = planned(f"s3://{bucket.name}/big")

    for size in (0, 1, 5_000_000):
        with open_root(f"s3://{bucket.name}/big").open(file) as stream:
            assert len(stream.read(size)) == size
        with pytest.raises(ValueError, match="closed"):
            stream.read(1)


def test_a_store_that_ends_in_the_middle_of_a_file_is_unreachable(
    bucket: Bucket, s3: S3Server, endpoint: Callable[[str], None]
) -> None:
    bucket.put("big", b"0123456789" * 2_000_000)
    location = f"s3://{bucket.name}/big"
    with Doorway(urlsplit(s3.url).port or 0) as door:
        endpoint(door.url)
        (file,) = planned(location)
        door.shut(after_bytes=3_000_000)
        with pytest.raises(SourceUnreachable, match="can't be reached"):
            sent(location, file)
        with pytest.raises(SourceUnreachable, match="can't be reached"):
            open_root(location).check(file)
        door.reopen()
        assert sent(location, file) == b"0123456789" * 2_000_000


def test_a_connection_lost_in_the_middle_is_taken_up_where_it_was(
    bucket: Bucket, s3: S3Server, endpoint: Callable[[str], None]
) -> None:
    content = b"".join(b"%09d\n" % number for number in range(1_000_000))
    bucket.put("big", content)
    location = f"s3://{bucket.name}/big"
    with Doorway(urlsplit(s3.url).port or 0) as door:
        endpoint(door.url)
        (file,) = planned(location)
        with open_root(location).open(file) as stream:
            first = stream.read(1_000_000)
            door.shut()
            door.reopen()
            rest = stream.read()

    assert hashlib.sha256(first + rest).digest() == hashlib.sha256(content).digest()


def test_an_object_replaced_while_it_is_read_never_mixes_versions(
    bucket: Bucket, s3: S3Server, endpoint: Callable[[str], None]
) -> None:
    bucket.put("big", b"a" * 20_000_000)
    location = f"s3://{bucket.name}/big"
    with Doorway(urlsplit(s3.url).port or 0) as door:
        endpoint(door.url)
        (file,) = planned(location)
        with open_root(location).open(file) as stream:
            first = stream.read(1_000_000)
            bucket.put("big", b"b" * 20_000_000)
            door.shut()
            door.reopen()
            try:
                rest = stream.read()
            except OSError:
                rest = b""

    assert set(first + rest) == set(b"a")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>", "denies access"),
        (403, b"<Error><Code>InvalidAccessKeyId</Code></Error>", "refuses the credentials: export AWS_ACCESS_KEY_ID"),
        (400, b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>", "export AWS_REGION"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", "export AWS_REGION"),
        (404, b"<Error><Code>NoSuchBucket</Code></Error>", "no such bucket: s3://bucket-x"),
        (503, b"<Error><Code>SlowDown</Code></Error>", "fails (503): try again later"),
        (418, b"", "doesn't answer as a store does (418)"),
    ],
)
def test_refusals_are_said_in_words(
    s3: S3Server, endpoint: Callable[[str], None], status: int, body: bytes, words: str
) -> None:
    with RawServer(answering(answer(status, body))) as server:
        endpoint(server.url)

        with pytest.raises(UsageError) as caught:
            planned("s3://bucket-x/docs/")

    assert words in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refusal_to_read_pauses_and_blames_no_file(s3: S3Server, endpoint: Callable[[str], None]) -> None:
    file = PlannedFile("a", 1, 0, "a")
    for status in (401, 403, 500, 400):
        with RawServer(answering(answer(status, b""))) as server:
            endpoint(server.url)
            root = open_root("s3://bucket-x/docs/")
            for act in (root.check, root.open):
                with pytest.raises(SourceUnreachable):
                    act(file)


def test_a_silent_store_is_given_up(
    s3: S3Server, endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "READ_S", 1)
    monkeypatch.setattr(clients, "RETRY_S", 1)
    with RawServer(lambda peer: peer.hang()) as server:
        endpoint(server.url)
        with pytest.raises(SourceUnreachable, match="can't be reached"):
            open_root("s3://bucket-x/docs/").check(PlannedFile("a", 1, 0, "a"))


@pytest.mark.parametrize(
    ("text", "prefix", "words"),
    [
        ("s3://bucket-x/a/", "AWS_", "AWS_ACCESS_KEY_ID"),
        ("gs://bucket-x/a/", "GOOGLE_", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container-x/a/", "AZURE_", "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_missing_credentials_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, prefix: str, words: str
) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(prefix):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with RawServer(answering(answer(404))) as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        monkeypatch.setenv("GOOGLE_METADATA", metadata.url)
        clients._open.cache_clear()
        with pytest.raises(PacelineError) as caught:
            planned(text)
    clients._open.cache_clear()

    assert f"no credentials for {text[:-3]}: export {words}" in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    clients._open.cache_clear()

    with pytest.raises(UsageError, match=r"pip install 'paceline\[objectstore\]'"):
        planned("s3://bucket-x/a/")
    with pytest.raises(SourceUnreachable, match=r"pip install 'paceline\[objectstore\]'"):
        open_root("s3://bucket-x/a/").check(PlannedFile("a", 1, 0, "a"))


_READ = """
import resource, sys
from paceline.model import PlannedFile
from paceline.providers.base import Upload
from paceline.providers.contents import contents
from paceline.roots import open_root
location, size, mtime = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
root, file = open_root(location), PlannedFile("big", size, mtime, "big")
root.check(file)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = sum(map(len, contents(Upload("big", "big", size, lambda: root.open(file)), 1 << 18)))
print(read, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_an_object_of_any_size_is_read_in_constant_memory(bucket: Bucket) -> None:
    bucket.put("big", b"x" * 200_000_000)
    (file,) = planned(f"s3://{bucket.name}/big")

    done = subprocess.run(
        [sys.executable, "-c", _READ, f"s3://{bucket.name}/big", str(file.size_bytes), str(file.mtime_ns)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    read, grown = map(int, done.stdout.split())
    assert read == 200_000_000
    assert grown < 60_000_000
