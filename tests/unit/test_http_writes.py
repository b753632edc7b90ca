"""A write: what arrives, what may be repeated, what stays open."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from paceline.errors import (
    AccessDenied,
    Ambiguous,
    Blocked,
    FileChanged,
    NotSent,
    PermitExpired,
    ProviderError,
    Refused,
    Throttled,
)
from paceline.providers.answers import Answer
from paceline.providers.http import Http, HttpPolicy
from paceline.providers.policy import Body
from tests.support.httpx_errors import MARK, Scripted, every_error, every_name
from tests.support.raw_server import Peer, RawServer, Script, answer, answering, refused_url

KEY = "sk-canary-5e1f"
COOKIE = {"Set-Cookie": "session=crumb"}
BIG = 8_000_000
"""More than the socket buffers of both sides hold."""


def allow() -> None:
    """Stand for a gate that lets everything pass."""


def post(
    url: str,
    body: bytes | Body = b"payload",
    *,
    deadline_s: float = 1.0,
    gate: Callable[[], None] = allow,
    policy: HttpPolicy | None = None,
) -> Answer:
    http = Http(url, KEY, policy)
    return http.post("/runs", body=body, content_type="text/plain", deadline_s=deadline_s, gate=gate)


class Pieces:
    """A body that announces a length and gives what it likes."""

    def __init__(self, announced: int, *pieces: bytes | Exception) -> None:
        self._announced = announced
        self._pieces = pieces

    def __len__(self) -> int:
        return self._announced

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def test_the_request_arrives_as_announced() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request())
        peer.send(answer(200, {"ok": True}))
        peer.read_to_end()

    with RawServer(script) as server:
        result = post(server.url, b"x" * BIG, deadline_s=5)
    head, body = seen[0]
    assert result == Answer(200, {"ok": True})
    assert body == b"x" * BIG
    assert head.startswith(b"POST /runs HTTP/1.1\r\n")
    fields = {line.split(b": ")[0].lower(): line.split(b": ")[1] for line in head.split(b"\r\n")[1:-2]}
    assert fields.pop(b"host") == server.url.removeprefix("http://").encode()
    assert fields == {
        b"authorization": f"Bearer {KEY}".encode(),
        b"accept": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"paceline",
        b"content-type": b"text/plain",
        b"content-length": str(BIG).encode(),
        b"connection": b"close",
    }


def test_every_write_has_a_connection_of_its_own() -> None:
    with RawServer(answering(answer(200, {}))) as server:
        http = Http(server.url, KEY)
        for _ in range(3):
            http.post("/", body=b"x", content_type="text/plain", deadline_s=1, gate=allow)
        assert len(server.peers) == 3


def test_the_gate_is_asked_on_a_standing_connection_before_the_first_byte() -> None:
    asked: list[tuple[int, bytes]] = []
    with RawServer(answering(answer(200, {}))) as server:

        def gate() -> None:
            deadline = time.monotonic() + 1
            while not server.peers and time.monotonic() < deadline:
                time.sleep(0.001)
            asked.append((len(server.peers), server.received))

        post(server.url, gate=gate)
    assert asked == [(1, b"")]


def test_a_refusing_gate_lets_no_byte_out() -> None:
    def gate() -> None:
        raise PermitExpired("too old")

    with RawServer(Peer.read_to_end) as server:
        with pytest.raises(PermitExpired):
            post(server.url, gate=gate)
        server.settle()
        assert len(server.peers) == 1
        assert server.received == b""


def test_where_nothing_listens_nothing_was_sent_and_the_gate_was_not_asked() -> None:
    asked: list[int] = []
    with pytest.raises(NotSent):
        post(refused_url(), gate=lambda: asked.append(1))
    assert asked == []


def test_a_name_that_does_not_exist_means_not_sent() -> None:
    with pytest.raises(NotSent):
        post("https://does-not-exist.invalid", deadline_s=5)


def read_a_byte_then_reset(peer: Peer) -> None:
    peer.read(1)
    peer.reset()


def read_some_then_reset(peer: Peer) -> None:
    peer.read_exactly(100_000)
    peer.reset()


def read_all_then_reset(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def read_some_then_hang(peer: Peer) -> None:
    peer.read_exactly(100_000)
    peer.hang()


def read_all_then_hang(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def after_request(reply: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(reply)

    return script


def drip_after_request(reply: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.drip(reply)

    return script


def endless_headers(peer: Peer) -> None:
    peer.read_request()
    peer.flood(b"HTTP/1.1 103 Early Hints\r\n\r\n", 10_000_000)


OK = {"run_id": 1, "status": "running", "padding": "x" * 500}
GZIP_BOMB = gzip.compress(b'{"a":"' + b" " * 20_000_000 + b'"}')

LOST: dict[str, tuple[Script, bool]] = {
    "reset at the first byte": (read_a_byte_then_reset, False),
    "reset in the middle": (read_some_then_reset, False),
    "stops reading": (read_some_then_hang, False),
    "reset after the request": (read_all_then_reset, True),
    "closed after the request": (Peer.read_request, True),
    "silence after the request": (read_all_then_hang, True),
    "head drips": (drip_after_request(answer(200, OK)), True),
    "body drips": (drip_after_request(answer(200, b" " * 4000 + b"{}")), True),
    "endless informational answers": (endless_headers, True),
    "no HTTP": (after_request(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), True),
    "cut in its body": (after_request(answer(200, OK)[:-100]), True),
    "half of the JSON": (after_request(answer(200, json.dumps(OK).encode()[:40])), True),
    "a page of HTML": (after_request(answer(200, b"<html>Welcome to the hotel</html>")), True),
    "not UTF-8": (after_request(answer(200, b'{"run_id": "\xff"}')), True),
    "nested without end": (after_request(answer(200, b"[" * 200_000)), True),
    "an unknown encoding": (after_request(answer(200, OK, {"Content-Encoding": "br"})), True),
    "no gzip at all": (after_request(answer(200, OK, {"Content-Encoding": "gzip"})), True),
    "half a gzip": (after_request(answer(200, GZIP_BOMB[:500], {"Content-Encoding": "gzip"})), True),
    "a gzip bomb": (after_request(answer(200, GZIP_BOMB, {"Content-Encoding": "gzip"})), True),
    "larger than the cap": (after_request(answer(200, b" " * 1_100_000 + b"{}")), True),
    "announced larger": (after_request(answer(200, b"", {"Content-Length": "999999999999"})), True),
    "500": (after_request(answer(500, {"detail": "boom"})), True),
    "502 as HTML": (after_request(answer(502, b"<html>Bad gateway</html>")), True),
    "408": (after_request(answer(408)), True),
    "409": (after_request(answer(409)), True),
    "302": (after_request(answer(302, b"", {"Location": "/done"})), True),
    "303": (after_request(answer(303, b"", {"Location": "/runs/7"})), True),
    "101": (after_request(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"), True),
}


@pytest.mark.parametrize("name", LOST)
def test_whatever_happens_after_the_first_byte_leaves_the_outcome_open(name: str) -> None:
    script, body_sent = LOST[name]
    body = b"x" * (100 if body_sent else BIG)
    policy = HttpPolicy(answer_bytes=1_000_000)
    started = time.monotonic()
    # A small buffer on the other side: what the kernel has taken counts as sent.
    with RawServer(script, receive_buffer=65_536) as server, pytest.raises(Ambiguous) as caught:
        post(server.url, body, deadline_s=0.6, policy=policy)
    assert time.monotonic() - started < 30, "the deadline ends it, not the peer"
    assert caught.value.body_sent is body_sent
    assert len(server.peers) == 1


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_success_with_json_is_an_answer(status: int) -> None:
    with RawServer(answering(answer(status, {"run_id": 7}))) as server:
        assert post(server.url) == Answer(status, {"run_id": 7})


def test_a_success_without_a_body_has_no_value() -> None:
    with RawServer(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert post(server.url) == Answer(204, None)


def test_a_small_compressed_answer_nobody_asked_for_is_read_all_the_same() -> None:
    packed = gzip.compress(b'{"run_id": 7, "score": NaN}')
    with RawServer(answering(answer(200, packed, {"Content-Encoding": "gzip"}))) as server:
        assert post(server.url).value == {"run_id": 7, "score": None}


def refuse_early(reply: bytes, then: Callable[[Peer], Any]) -> Script:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(reply)
        then(peer)

    return script


@pytest.mark.parametrize(
    "then", [Peer.discard_to_end, lambda peer: peer.connection.close()], ids=["reads on", "closes"]
)
def test_a_refusal_that_comes_while_the_body_is_sent_is_heard(then: Callable[[Peer], Any]) -> None:
    with RawServer(refuse_early(answer(413, {"detail": "too big"}), then)) as server, pytest.raises(Refused) as caught:
        post(server.url, b"x" * BIG, deadline_s=5)
    assert caught.value.http_status == 413
    assert "too big" in str(caught.value)


def test_a_429_that_comes_while_the_body_is_sent_is_heard_with_its_wish() -> None:
    reply = answer(429, {"detail": "slow down"}, {"Retry-After": "7"})
    with RawServer(refuse_early(reply, lambda peer: None)) as server, pytest.raises(Throttled) as caught:
        post(server.url, b"x" * BIG, deadline_s=5)
    assert caught.value.retry_after_s == 7.0


def test_a_success_that_comes_before_the_body_is_complete_leaves_the_outcome_open() -> None:
    early = refuse_early(answer(200, {"run_id": 7}), lambda peer: None)
    with RawServer(early) as server, pytest.raises(Ambiguous, match="everything") as caught:
        post(server.url, b"x" * BIG, deadline_s=5)
    assert caught.value.body_sent is False


@pytest.mark.parametrize(
    "reply",
    [
        answer(422, b'{"detail": "cut off'),
        answer(422, {"detail": "x" * 10}, {"Content-Length": "500"}),
        answer(422, b"[" * 60_000),
        answer(422, b" " * 100_000),
        answer(422, b"\xff\xfe"),
        answer(422, b"abc", {"Content-Encoding": "gzip"}),
        answer(422, b"abc", {"Content-Encoding": "zstd"}),
    ],
)
def test_a_refusal_is_one_whatever_its_body_is(reply: bytes) -> None:
    with RawServer(after_request(reply)) as server, pytest.raises(Refused) as caught:
        post(server.url)
    assert caught.value.http_status == 422


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_takes_the_key_nowhere_and_stops_the_account(status: int) -> None:
    with RawServer(answering(answer(200, {}))) as other:
        moved = answer(status, b"", {"Location": f"{other.url}/runs"})
        with RawServer(answering(moved)) as server, pytest.raises(Blocked, match="redirect"):
            post(server.url)
        assert other.peers == []


def test_a_file_that_changed_cuts_the_request_short() -> None:
    changed = FileChanged("grown", path="a.txt")
    with RawServer(Peer.read_to_end) as server:
        with pytest.raises(FileChanged) as caught:
            post(server.url, Pieces(10, b"12345", changed))
        server.settle()
        assert caught.value is changed
        assert server.received.endswith(b"\r\n\r\n12345")


def test_a_file_that_changed_after_everything_was_given_leaves_the_outcome_open() -> None:
    class Late(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield b"1234567890"
            raise FileChanged("grown", path="a.txt")

    with RawServer(Peer.read_to_end) as server, pytest.raises(Ambiguous) as caught:
        post(server.url, Late(10))
    assert caught.value.body_sent is True


@pytest.mark.parametrize("pieces", [(b"12345",), (b"1234567890", b"1")])
def test_a_body_that_breaks_its_word_leaves_the_outcome_open(pieces: tuple[bytes, ...]) -> None:
    with RawServer(Peer.read_to_end) as server:
        with pytest.raises(Ambiguous):
            post(server.url, Pieces(10, *pieces))
        server.settle()
        assert len(server.received.split(b"\r\n\r\n", 1)[1]) <= 10


def test_a_clock_that_jumps_while_the_body_is_sent_ends_the_upload() -> None:
    now = [100.0]

    class Sleepy(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield b"12345"
            now[0] += 3600  # the laptop was asleep
            yield b"67890"

    with RawServer(Peer.read_to_end) as server:
        http = Http(server.url, KEY, clock=lambda: now[0])
        with pytest.raises(Ambiguous) as caught:
            http.post("/", body=Sleepy(10), content_type="text/plain", deadline_s=30, gate=allow)
        server.settle()
        assert caught.value.body_sent is False
        assert server.received.endswith(b"\r\n\r\n12345")


def test_a_deadline_that_passes_before_the_first_byte_means_not_sent() -> None:
    now = [100.0]

    class Slow(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            now[0] += 3600  # the laptop was asleep
            return super().handle_request(request)

    asked: list[int] = []
    with RawServer(Peer.read_to_end) as server:
        http = Http(server.url, KEY, clock=lambda: now[0], transport=lambda: Slow(trust_env=False))
        with pytest.raises(NotSent):
            http.post("/", body=b"x", content_type="text/plain", deadline_s=30, gate=lambda: asked.append(1))
        server.settle()
        assert server.received == b""
    assert asked == []


EARLY = {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL"}


def test_the_walk_meets_every_error_that_httpx_names() -> None:
    assert {type(error).__name__ for error in every_error()} >= every_name()


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("begins", [False, True], ids=["before", "after"])
def test_each_of_httpx_errors_is_mapped(error: Exception, begins: bool) -> None:
    http = Http("http://localhost", KEY, transport=lambda: Scripted(error, begins=begins))
    with pytest.raises(ProviderError) as caught:
        http.post("/", body=b"x", content_type="text/plain", deadline_s=1, gate=allow)
    surely_not = not begins and type(error).__name__ in EARLY
    assert type(caught.value) is (NotSent if surely_not else Ambiguous)
    assert caught.value.__cause__ is error
    assert MARK not in str(caught.value)


def test_an_answer_to_a_request_the_gate_never_saw_leaves_the_outcome_open() -> None:
    http = Http("http://localhost", KEY, transport=lambda: Scripted(None, begins=False))
    with pytest.raises(Ambiguous, match="without asking"):
        http.post("/", body=b"x", content_type="text/plain", deadline_s=1, gate=allow)


def test_proxies_of_the_environment_never_see_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(answer(200, {}))) as proxy, RawServer(answering(answer(200, {}))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        post(server.url)
        assert proxy.peers == []
        assert len(server.peers) == 1


def test_the_key_is_in_no_repr_error_or_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = answer(401, {"detail": f"Invalid key {KEY} at https://x.example/login?token={KEY}\x1b[31m!"}, COOKIE)
    with RawServer(answering(echo)) as server, pytest.raises(AccessDenied) as caught:
        post(server.url)
    http = Http("https://x.example", KEY)
    assert "Invalid key" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    shown = [str(caught.value), repr(caught.value), repr(http), str(vars(http)), caplog.text]
    assert not any(KEY in text for text in shown)
    assert "/runs" not in caplog.text
    assert "crumb" not in caplog.text


def test_a_key_is_asked_for_at_every_request() -> None:
    keys = iter(["first", " second\n"])
    with RawServer(answering(answer(200, {}))) as server:
        http = Http(server.url, lambda: next(keys))
        http.get("/")
        http.post("/", body=b"", content_type="text/plain", deadline_s=1, gate=allow)
        assert b"Authorization: Bearer first\r\n" in server.received
        assert b"Authorization: Bearer second\r\n" in server.received
