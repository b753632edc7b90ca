"""A read: what is an answer, what is worth asking again, what is kept open."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import threading
import time
from pathlib import Path
from shutil import which

import httpx
import pytest

from paceline.errors import (
    AccessDenied,
    AnswerTooLarge,
    ConfigError,
    NoCredit,
    NotSent,
    ProviderError,
    Throttled,
    Unavailable,
    Unreachable,
)
from paceline.providers.answers import Answer
from paceline.providers.http import Http, HttpPolicy
from tests.support.httpx_errors import MARK, Scripted, every_error
from tests.support.raw_server import Peer, RawServer, Script, answer, answering, refused_url

KEY = "sk-canary-77aa"


def get(url: str, *, deadline_s: float = 0.6, answer_bytes: int = 1_000_000) -> Answer:
    return Http(url, KEY, HttpPolicy(answer_bytes=answer_bytes)).get("/things", deadline_s=deadline_s)


def test_parameters_are_repeated_and_encoded() -> None:
    with RawServer(answering(answer(200, []))) as server:
        Http(server.url + "/base/", KEY).get("/things", [("id", "1"), ("id", "2"), ("name", "a b&c")])
        assert server.received.startswith(b"GET /base/things?id=1&id=2&name=a+b%26c HTTP/1.1\r\n")


def test_reads_of_one_thread_share_a_connection() -> None:
    with RawServer(answering(answer(200, {"n": 1}))) as server:
        http = Http(server.url, KEY)
        for _ in range(3):
            assert http.get("/").value == {"n": 1}
        http.delete("/")
        assert len(server.peers) == 1


def test_no_two_threads_share_a_connection() -> None:
    with RawServer(answering(answer(200, {}))) as server:
        http = Http(server.url, KEY)
        http.get("/")
        thread = threading.Thread(target=http.get, args=("/",))
        thread.start()
        thread.join()
        assert len(server.peers) == 2


def test_a_closed_object_opens_a_new_connection() -> None:
    with RawServer(answering(answer(200, {}))) as server:
        http = Http(server.url, KEY)
        http.get("/")
        http.close()
        http.get("/")
        assert len(server.peers) == 2


def one_answer_then(last: Script) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(200, {"n": 1}))
        last(peer)

    return script


def read_then_close(peer: Peer) -> None:
    peer.read_head()


def read_then_reset(peer: Peer) -> None:
    peer.read_head()
    peer.reset()


@pytest.mark.parametrize("end", [lambda peer: None, read_then_close, read_then_reset], ids=["idle", "closed", "reset"])
def test_a_read_on_a_dead_kept_connection_is_asked_again(end: Script) -> None:
    with RawServer(one_answer_then(end), answering(answer(200, {"n": 2}))) as server:
        http = Http(server.url, KEY)
        http.get("/")
        assert http.get("/").value == {"n": 2}
        assert len(server.peers) == 2


def test_a_read_is_asked_again_only_once() -> None:
    with RawServer(one_answer_then(read_then_close), read_then_close) as server:
        http = Http(server.url, KEY)
        http.get("/")
        with pytest.raises(Unavailable):
            http.get("/")
        assert len(server.peers) == 2


def test_a_read_on_a_new_connection_is_not_asked_again() -> None:
    with RawServer(read_then_close) as server:
        with pytest.raises(Unavailable):
            get(server.url)
        assert len(server.peers) == 1


def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    def half(peer: Peer) -> None:
        peer.read_head()
        peer.send(answer(200, {"n": 2})[:-2])

    with RawServer(one_answer_then(half), answering(answer(200, {"n": 3}))) as server:
        http = Http(server.url, KEY)
        http.get("/")
        with pytest.raises(Unavailable):
            http.get("/")
        assert len(server.peers) == 1
        assert http.get("/").value == {"n": 3}


def hang(peer: Peer) -> None:
    peer.read_head()
    peer.hang()


def test_silence_on_a_kept_connection_ends_at_the_deadline_and_is_not_asked_again() -> None:
    with RawServer(one_answer_then(hang)) as server:
        http = Http(server.url, KEY)
        http.get("/")
        started = time.monotonic()
        with pytest.raises(Unavailable):
            http.get("/", deadline_s=0.3)
        assert time.monotonic() - started < 1
        assert len(server.peers) == 1


def drip(reply: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.drip(reply)

    return script


def say(reply: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(reply)

    return script


def endless(peer: Peer) -> None:
    peer.read_head()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    peer.flood(b"10000\r\n" + b" " * 65_536 + b"\r\n", 16_384)  # 1 GB


BOMB = answer(200, gzip.compress(b" " * 50_000_000 + b"{}"), {"Content-Encoding": "gzip"})

USELESS: dict[str, tuple[Script, type[Unavailable]]] = {
    "silence": (hang, Unreachable),
    "a dripping head": (drip(answer(200, {}, {"X": "y" * 200})), Unreachable),
    "a dripping body": (drip(answer(200, b" " * 500 + b"{}")), Unreachable),
    "reset": (read_then_reset, Unreachable),
    "closed": (read_then_close, Unreachable),
    "HTML": (say(answer(200, b"<html>")), Unavailable),
    "cut off": (say(answer(200, {"a": "b"})[:-3]), Unreachable),
    "half of the JSON": (say(answer(200, b'{"a": ')), Unavailable),
    "nested without end": (say(answer(200, b"[" * 300_000)), AnswerTooLarge),
    "a number without end": (say(answer(200, b"1" * 300_000)), Unavailable),
    "one gigabyte": (endless, AnswerTooLarge),
    "announced too large": (say(answer(200, b"", {"Content-Length": "1000001"})), AnswerTooLarge),
    "a gzip bomb": (say(BOMB), AnswerTooLarge),
    "500": (say(answer(500)), Unavailable),
    "503": (say(answer(503, b"<html>")), Unavailable),
    "302": (say(answer(302, b"", {"Location": "http://127.0.0.1:1/"})), Unavailable),
    "307": (say(answer(307, b"", {"Location": "http://127.0.0.1:1/"})), Unavailable),
    "304": (say(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Unavailable),
    "400": (say(answer(400)), Unavailable),
    "422": (say(answer(422, {"detail": [{"loc": ["query", "run_ids"], "msg": "no integer"}]})), Unavailable),
}


@pytest.mark.parametrize("name", USELESS)
def test_an_answer_without_use_is_asked_for_later(name: str) -> None:
    script, expected = USELESS[name]
    started = time.monotonic()
    with RawServer(script) as server, pytest.raises(Unavailable) as caught:
        get(server.url)
    assert type(caught.value) is expected
    assert time.monotonic() - started < 30, "the deadline ends it, not the peer"


def test_where_nothing_listens_a_read_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        get(refused_url())


@pytest.mark.parametrize(("status", "expected"), [(401, AccessDenied), (403, AccessDenied), (402, NoCredit)])
def test_a_refused_key_stops_reads_too(status: int, expected: type[ProviderError]) -> None:
    with RawServer(answering(answer(status))) as server, pytest.raises(expected) as caught:
        get(server.url)
    assert caught.value.http_status == status


def test_a_date_to_wait_for_is_taken_from_the_answers_own_clock() -> None:
    headers = {"Date": "Sat, 01 Jan 2000 00:00:00 GMT", "Retry-After": "Sat, 01 Jan 2000 00:00:30 GMT"}
    with RawServer(answering(answer(429, b"", headers))) as server, pytest.raises(Throttled) as caught:
        get(server.url)
    assert caught.value.retry_after_s == 30.0


def test_a_404_is_for_the_caller_to_judge() -> None:
    with RawServer(answering(answer(404, {"detail": "no"}), answer(404, b"<html>"))) as server:
        http = Http(server.url, KEY)
        assert http.get("/") == Answer(404, {"detail": "no"})
        assert http.delete("/") == Answer(404, None)


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_each_of_httpx_errors_means_unavailable(error: Exception) -> None:
    http = Http("http://localhost", KEY, transport=lambda: Scripted(error, begins=True))
    with pytest.raises(Unavailable) as caught:
        http.get("/")
    assert caught.value.__cause__ is error
    assert MARK not in str(caught.value)


def test_a_key_no_header_could_carry_is_refused_before_anything_is_sent() -> None:
    for key in ("", "  ", "two words", "line\r\nX-Evil: 1", "schlüssel", "\x7f"):
        with RawServer(Peer.read_to_end) as server:
            with pytest.raises(AccessDenied) as caught:
                Http(server.url, key).get("/")
            assert key.strip() == "" or key not in str(caught.value)
            assert server.peers == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1 that nobody trusts."""
    openssl = which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    name = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", f"{path}.crt"]
    subprocess.run([openssl, "req", "-x509", *new_key, *name], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def tls_server(certificate: Path, script: Script) -> RawServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return RawServer(script, tls=context)


def test_a_server_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    with tls_server(certificate, Peer.read_to_end) as server:
        with pytest.raises(Unavailable):
            get(server.url)
        with pytest.raises(NotSent):
            Http(server.url, KEY).post("/", body=b"x", content_type="text/plain", deadline_s=1, gate=lambda: None)
        assert server.received == b""


def test_a_named_authority_is_trusted(certificate: Path) -> None:
    with tls_server(certificate, answering(answer(200, {"n": 1}))) as server:
        http = Http(server.url, KEY, HttpPolicy(ca_file=f"{certificate}.crt"))
        assert http.get("/").value == {"n": 1}
        assert http.post("/", body=b"x", content_type="text/plain", deadline_s=1, gate=lambda: None).value == {"n": 1}


def test_a_large_body_arrives_whole_under_tls(certificate: Path) -> None:
    body = bytes(range(256)) * 8_000
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        while sum(map(len, received)) < len(body) and (got := peer.connection.recv(60_000)):
            received.append(got)
        peer.send(answer(200, {}))

    with tls_server(certificate, script) as server:
        http = Http(server.url, KEY, HttpPolicy(ca_file=f"{certificate}.crt"))
        http.post("/", body=body, content_type="text/plain", deadline_s=20, gate=lambda: None)
    assert b"".join(received) == body


def test_the_deadline_holds_under_tls(certificate: Path) -> None:
    def drip_forever(peer: Peer) -> None:
        peer.read_head()
        peer.drip(answer(200, b" " * 1000 + b"{}"))

    started = time.monotonic()
    with tls_server(certificate, drip_forever) as server, pytest.raises(Unavailable):
        Http(server.url, KEY, HttpPolicy(ca_file=f"{certificate}.crt")).get("/", deadline_s=0.4)
    assert time.monotonic() - started < 1.5


def test_a_missing_file_of_authorities_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        Http("https://x.example", KEY, HttpPolicy(ca_file="/nowhere/missing.pem"))


def test_a_transport_that_tells_of_no_connection_can_still_read() -> None:
    http = Http("http://localhost", KEY, transport=lambda: httpx.MockTransport(lambda _: httpx.Response(200, json=1)))
    assert http.get("/").value == 1
