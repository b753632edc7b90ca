"""What reaches `paceline hooks` by HTTP: each kind of wrong request is refused for its own reason."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from cli.hooks import _receiving as receiving_at
from config.services import Services
from paceline import receiver as receiving
from paceline.deliveries import Deliveries
from paceline.errors import ConfigError
from paceline.hints import Hinted, Hints, RunHint
from paceline.model import Follow, Step
from paceline.providers.kolena_webhook import sign
from paceline.receiver import BODY_BYTES, CLIENTS, HEAD_BYTES, Receiver

SECRET = b"hook-canary-8d21"
NOW = 1_800_000_000
BODY = b'{"run_id": 5}'
FOLLOW = Follow(Step.POLL, "kolena:7")


class NotedHints:
    """Hints that only write down what they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.error: Exception | None = None

    def agents(self, account: str) -> list[str]:
        return ["7", "8"]

    def ended(self, account: str, hints: Sequence[RunHint]) -> Hinted:
        return self._note([hint.run_id for hint in hints])

    def something(self, account: str, agent: str) -> Hinted:
        return self._note(f"any of {agent}")

    def _note(self, what: Any) -> Hinted:
        if self.error:
            raise self.error
        self.told.append(what)
        return Hinted(1, 1, (FOLLOW,))


class Scene:
    """A receiver that listens, and what came of it."""

    def __init__(self, client: Any, *, whole_s: float = 9.0) -> None:
        self.hints = NotedHints()
        self.sent: list[Follow] = []
        self.redis = client
        self.desk = Deliveries("kolena", client, cast("Hints", self.hints), self.send, lambda: SECRET, lambda: NOW)
        self.receiver = Receiver("127.0.0.1", 0, self.desk, whole_s=whole_s)
        self.port: int = self.receiver.server_address[1]

    def send(self, follows: Iterable[Follow]) -> None:
        self.sent += follows

    def request(
        self,
        method: str = "POST",
        path: str = "/webhook",
        body: bytes = BODY,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or signed(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b'{"result": ""}')["result"]
        finally:
            connection.close()

    def raw(self, *parts: bytes) -> bytes:
        """Send bytes as they are; return all of the answer."""
        with self.connected() as connection:
            for part in parts:
                connection.sendall(part)
            return connection.makefile("rb").read()

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def signed(body: bytes, delivery_id: str = "d-1", stamp: int = NOW, secret: bytes = SECRET) -> dict[str, str]:
    return {
        "X-Kolena-Signature": sign(secret, str(stamp), delivery_id, body),
        "X-Kolena-Timestamp": str(stamp),
        "X-Kolena-Delivery-ID": delivery_id,
    }


def head(*lines: str) -> bytes:
    named = [f"{name}: {value}" for name, value in signed(BODY).items()]
    return "\r\n".join(["POST /webhook HTTP/1.1", "Host: here", *named, *lines, "", ""]).encode()


@contextmanager
def serving(scene: Scene) -> Iterator[Scene]:
    thread = threading.Thread(target=scene.receiver.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield scene
    finally:
        scene.receiver.shutdown()
        scene.receiver.server_close()
        thread.join()


@pytest.fixture
def scene(real_redis: Any) -> Iterator[Scene]:
    with serving(Scene(real_redis)) as made:
        yield made


def test_a_delivery_is_passed_on_and_its_wake_up_sent(scene: Scene) -> None:
    assert scene.request() == (200, "hint")
    assert (scene.hints.told, scene.sent) == ([["5"]], [FOLLOW])


def test_a_replay_is_answered_well_and_does_nothing(scene: Scene) -> None:
    assert [scene.request()[1] for _ in range(3)] == ["hint", "replay", "replay"]
    assert scene.hints.told == [["5"]]
    (mark,) = scene.redis.keys("pl:hook:*")
    assert 0 < scene.redis.ttl(mark) <= 600


def test_two_deliveries_about_one_run_are_two(scene: Scene) -> None:
    assert scene.request()[1] == "hint"
    assert scene.request(headers=signed(BODY, "d-2"))[1] == "hint"


def test_an_id_is_remembered_only_once_its_signature_was_right(scene: Scene) -> None:
    assert scene.request(headers=signed(BODY, secret=b"another")) == (401, "wrong_signature")
    assert scene.redis.keys("pl:hook:*") == []
    assert scene.request() == (200, "hint")


@pytest.mark.parametrize(("stamp", "reason"), [(NOW - 301, "too_old"), (NOW + 61, "from_the_future")])
def test_a_stamp_out_of_time_is_refused(scene: Scene, stamp: int, reason: str) -> None:
    assert scene.request(headers=signed(BODY, stamp=stamp)) == (401, reason)
    assert scene.hints.told == []


def test_a_missing_header_is_refused_as_such(scene: Scene) -> None:
    bare = b"POST /webhook HTTP/1.1\r\nContent-Length: 13\r\n\r\n" + BODY
    assert b"400 Bad Request" in scene.raw(bare)
    assert b"no_id" in scene.raw(bare)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/webhook", (405, "wrong_method")),
        ("PUT", "/webhook", (405, "wrong_method")),
        ("DELETE", "/webhook", (405, "wrong_method")),
        ("POST", "/healthz", (405, "wrong_method")),
        ("GET", "/healthz", (200, "ok")),
        ("HEAD", "/healthz", (200, "")),
        ("POST", "/", (404, "no_such_path")),
        ("POST", "/webhook/", (404, "no_such_path")),
        ("GET", "/../webhook", (404, "no_such_path")),
        ("BREW", "/webhook", (501, "no_http")),
    ],
)
def test_other_methods_and_paths_are_refused(scene: Scene, method: str, path: str, expected: tuple[int, str]) -> None:
    assert scene.request(method, path) == expected
    assert scene.hints.told == []


def test_a_body_of_the_most_passes_and_one_byte_more_does_not(scene: Scene) -> None:
    body = BODY + b" " * (BODY_BYTES - len(BODY))
    assert scene.request(body=body) == (200, "hint")
    assert scene.request(body=body + b" ") == (413, "too_large")


def test_a_body_that_says_it_is_large_is_refused_before_it_is_sent(scene: Scene) -> None:
    assert b"413" in scene.raw(head("Content-Length: 99999999999999999999999"))[:12]


@pytest.mark.parametrize(
    ("lines", "status", "reason"),
    [
        (["Transfer-Encoding: chunked"], b"411", b"no_length"),
        (["Transfer-Encoding: chunked", "Content-Length: 13"], b"411", b"no_length"),
        ([], b"411", b"no_length"),
        (["Content-Length: -1"], b"400", b"bad_length"),
        (["Content-Length: 13", "Content-Length: 13"], b"400", b"bad_length"),
        (["Content-Length: 13", "X-Kolena-Timestamp: 5"], b"400", b"bad_timestamp"),
    ],
)
def test_a_length_that_is_not_plain_is_refused(scene: Scene, lines: list[str], status: bytes, reason: bytes) -> None:
    answer = scene.raw(head(*lines), BODY)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert reason in answer
    assert scene.hints.told == []


def test_what_comes_after_the_body_is_no_part_of_it(scene: Scene) -> None:
    assert b"200 OK" in scene.raw(head("Content-Length: 13") + BODY + b"POST /webhook HTTP/1.1\r\n\r\n")
    assert scene.hints.told == [["5"]]


def test_a_head_without_end_is_refused(scene: Scene) -> None:
    answer = scene.raw(
        b"POST /webhook HTTP/1.1\r\n", *[b"X-Filler: " + b"x" * 1000 + b"\r\n"] * (HEAD_BYTES // 1000 + 1)
    )
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n", b"\r\n\r\n", b"POST\n", b"POST / HTTP/9\r\n\r\n"]
)
def test_what_is_not_http_is_refused_without_being_quoted(
    scene: Scene, noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = scene.raw(noise)
    assert answer == b"" or b"no_http" in answer
    assert all(record.getMessage() == "hook.refused" for record in caplog.records)
    assert scene.request() == (200, "hint")


@pytest.mark.parametrize(
    "begun", [b"", b"POST /webhook HT", head("Content-Length: 13"), head("Content-Length: 13") + b"{"]
)
def test_a_client_that_does_not_go_on_is_cut_off(real_redis: Any, begun: bytes) -> None:
    with serving(Scene(real_redis, whole_s=0.3)) as scene:
        scene.raw(begun)  # returns because the other end closes
        assert scene.hints.told == []


def test_a_client_that_drips_is_cut_off_too(real_redis: Any) -> None:
    with serving(Scene(real_redis, whole_s=0.5)) as scene, scene.connected() as connection:
        connection.settimeout(0.05)
        connection.sendall(b"POST /webhook HTTP/1.1\r\nX: ")
        for _ in range(2000):
            try:
                connection.sendall(b"x")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("it was never cut off")


def test_one_client_too_many_is_told_to_come_later(scene: Scene) -> None:
    idle = [scene.connected() for _ in range(CLIENTS)]
    try:
        answers = {scene.raw()[:12] for _ in range(3)}
        assert answers == {b"HTTP/1.1 503"}
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b"{", (400, "no_json")),
        (b"[5]", (400, "no_object")),
        (b"[" * 100_000, (400, "no_json")),
        (b"\xff", (400, "no_json")),
    ],
)
def test_a_signed_body_that_is_no_object_is_refused(scene: Scene, body: bytes, result: tuple[int, str]) -> None:
    assert scene.request(body=body) == result


def test_a_body_without_a_run_hints_at_every_agent(scene: Scene) -> None:
    assert scene.request(body=b'{"event": "ping"}') == (200, "unreadable")
    assert scene.hints.told == ["any of 7", "any of 8"]


def test_a_run_that_is_running_is_no_news(scene: Scene) -> None:
    assert scene.request(body=b'{"run_id": 5, "status": "running"}') == (200, "running")
    assert scene.sent == []


def test_a_delivery_that_redis_could_not_take_is_taken_when_it_comes_again(scene: Scene) -> None:
    scene.hints.error = redis.ConnectionError("gone")
    assert scene.request() == (503, "no_ledger")
    scene.hints.error = None
    assert scene.request() == (200, "hint")


def test_a_defect_is_answered_and_the_delivery_not_lost(scene: Scene) -> None:
    scene.hints.error = ZeroDivisionError()
    assert scene.request() == (500, "defect")
    scene.hints.error = None
    assert scene.request() == (200, "hint")


def test_a_wake_up_that_cannot_be_sent_is_left_to_rescue(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_follows: object) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr(scene.desk, "_send", fail)
    assert scene.request() == (200, "hint")


def test_each_delivery_leaves_one_line_without_its_contents(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    body = b'{"run_id": 5, "canary": "hook-body-canary"}'
    with caplog.at_level(logging.DEBUG):
        scene.request(body=body)
        scene.request(body=body)
        scene.request(body=body, headers=signed(body, secret=b"another"))
    assert [record.getMessage() for record in caplog.records] == ["hook.delivery", "hook.delivery", "hook.refused"]
    text = "".join(str(vars(record)) for record in caplog.records)
    assert "hook-body-canary" not in text
    assert SECRET.decode() not in text


def test_a_port_in_use_is_an_error_at_once(scene: Scene) -> None:
    with pytest.raises(OSError, match="in use"):
        Receiver("127.0.0.1", scene.port, scene.desk)


def test_the_command_says_so_in_one_line(scene: Scene) -> None:
    services = cast("Services", SimpleNamespace(redis=scene.redis))
    taken = receiving_at("127.0.0.1", scene.port, "kolena", services, cast("Hints", scene.hints), scene.send, "SECRET")
    with pytest.raises(ConfigError, match=r"can't listen on 127\.0\.0\.1:\d+ \(Address already in use\)"), taken:
        pass


def test_the_watch_over_clients_ends_with_them(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "LEFTOVER_S", 0.1)
    for number in range(CLIENTS * 2):
        assert scene.request(headers=signed(BODY, f"d-{number}")) == (200, "hint")
