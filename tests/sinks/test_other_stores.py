"""Google's and Azure's stores, as far as a stand-in of a few lines goes: that requests are made, and answers read."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from paceline.errors import FileMissing, SourceUnreachable, UsageError
from paceline.model import SourceFile
from paceline.roots import open_root
from paceline.sinks.registry import open_sink
from paceline.sinks.store import StoreSink
from paceline.stores import clients
from producers.filters import Rules
from producers.sources import resolve_sources
from tests.support.sink_batch import BATCH, closing, parts

STAMP = "Sun, 22 Nov 2026 10:00:00 GMT"


@dataclass
class Objects:
    """What the stand-in holds, by bucket and key."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    status: int = 0
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def store() -> Iterator[Objects]:
    """Start a stand-in that speaks enough of both dialects."""
    held = Objects()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self, status: int, body: bytes = b"", length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Last-Modified", STAMP)
            self.send_header("ETag", '"1"')
            self.send_header("x-ms-blob-type", "BlockBlob")
            self.end_headers()
            self.wfile.write(body)

        def act(self) -> None:
            parts = urlsplit(self.path)
            query, name = parse_qs(parts.query), unquote(parts.path).lstrip("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            held.paths.append(f"{self.command} {name}")
            if held.status:
                self.reply(held.status)
            elif self.command == "GET" and ("list-type" in query or query.get("comp") == ["list"]):
                prefix = f"{name}/{query.get('prefix', [''])[0]}"
                found = [key for key in sorted(held.content) if key.startswith(prefix)]
                self.reply(200, _blobs(found, name) if "comp" in query else _contents(found, name))
            elif self.command == "PUT":
                held.content[name] = body
                self.reply(201)
            elif self.command == "DELETE":
                self.reply(202 if held.content.pop(name, None) is not None else 404)
            elif name not in held.content:
                self.reply(404)
            elif self.command == "HEAD":
                self.reply(200, length=len(held.content[name]))
            else:
                self.reply(200, held.content[name])

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = act

        def log_message(self, format: str, *args: object) -> None:
            pass

    def _contents(keys: list[str], bucket: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{key[len(bucket) + 1 :]}</Key><LastModified>2026-11-22T10:00:00.123Z</LastModified>"
            f"<ETag>1</ETag><Size>{len(held.content[key])}</Size></Contents>"
            for key in keys
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def _blobs(keys: list[str], container: str) -> bytes:
        rows = "".join(
            f"<Blob><Name>{key[len(container) + 1 :]}</Name><Properties><Last-Modified>{STAMP}</Last-Modified>"
            f"<Content-Length>{len(held.content[key])}</Content-Length><Content-Type>x</Content-Type><Etag>1</Etag>"
            "</Properties></Blob>"
            for key in keys
        )
        return f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker /></EnumerationResults>".encode()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        held.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield held
        server.shutdown()
        thread.join()


@pytest.fixture(params=["gs", "az"])
def scheme(
    request: pytest.FixtureRequest, store: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Point the environment to the stand-in, as one would to an emulator."""
    account = tmp_path / "account.json"
    unused = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
    account.write_text(json.dumps({**unused, "gcs_base_url": store.url}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(account))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"key").decode())
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", store.url)
    clients._open.cache_clear()
    yield request.param
    clients._open.cache_clear()


def test_a_prefix_is_listed_checked_and_read(scheme: str, store: Objects) -> None:
    store.content |= {"box/docs/a ü.txt": b"one", "box/docs/sub/b": b"two!", "box/docs2/c": b"x", "box/docs/.h": b"x"}

    source = resolve_sources([f"{scheme}://box/docs"], Rules(), Path("/nowhere"))
    found = [one for one in source.listing.entries() if isinstance(one, SourceFile)]

    assert source.listing.ordered == (scheme == "gs")
    assert [(one.path, one.size_bytes, one.mtime_ns % 10**9) for one in found] == [("a ü.txt", 3, 0), ("sub/b", 4, 0)]
    root = open_root(source.location)
    for one, content in zip(found, (b"one", b"two!"), strict=True):
        root.check(one)
        with root.open(one) as stream:
            assert stream.read() == content
    del store.content["box/docs/sub/b"]
    with pytest.raises(FileMissing):
        root.check(found[1])


def test_refusals_are_said_in_words(scheme: str, store: Objects) -> None:
    for status, words in ((403, "denies access"), (503, "fails"), (404, "no such bucket")):
        store.status = status
        with pytest.raises(UsageError, match=rf"{scheme}://box.*{words}|{words}.*{scheme}://box"):
            list(resolve_sources([f"{scheme}://box/docs/"], Rules(), Path("/nowhere")).listing.entries())
        with pytest.raises(SourceUnreachable):
            open_root(f"{scheme}://box/docs/").check(SourceFile("a", 1, 0))


@pytest.mark.parametrize("scheme", ["gs"], indirect=True)  # Azure deletes in a dialect of its own
def test_results_are_written(scheme: str, store: Objects, tmp_path: Path) -> None:
    place = f"{scheme}://box/out"
    sink = open_sink(place)
    sink.check(BATCH)
    for one in parts():
        sink.write(one)
    sink.commit(closing(tmp_path / "state"))

    assert store.content["box/out/_SUCCESS"] == f"{BATCH}\n".encode()
    assert StoreSink(place).find(parts()[0].submission) == parts()[0]
    with pytest.raises(UsageError, match=BATCH):
        sink.check("b000000000")
