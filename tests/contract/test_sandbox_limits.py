"""The sandbox's rate limits are strict sliding windows, and its own log can prove it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from array import array
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.limits import Limit, Limiter, busiest_window
from tests.support.sandbox import Sandbox

RUNS = "/api/v1/client/agents/1/runs"
FILES = {"files": ("a.txt", b"words")}


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    return started


@pytest.fixture(scope="module")
def http(started: Sandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {started.key}"}
    with httpx.Client(base_url=started.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


def limiter(spec: str, *, refused_count: bool = False) -> Limiter:
    return Limiter({"add": Limit.parse(spec)}, refused_count=refused_count)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("600/60s", Limit(600, 60)), ("40/2s", Limit(40, 2)), ("10/m", Limit(10, 60)), ("3/0.5s", Limit(3, 0.5))],
)
def test_a_limit_is_written_as_count_per_window(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "600", "600/", "/60s", "-1/60s", "1/0s", "ten/m", "1/60 days"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"limit|window"):
        Limit.parse(text)


@given(
    st.integers(1, 5),
    st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), max_size=60),
    st.booleans(),
)
def test_no_window_lets_more_through_than_the_limit(count: int, gaps_s: list[float], refused_count: bool) -> None:
    strict = Limiter({"add": Limit(count, 2.0)}, refused_count=refused_count)
    now_s, let_through = 0.0, array("d")
    for gap_s in gaps_s:
        now_s += gap_s
        wait_s = strict.admit("key", "add", now_s)
        if wait_s is None:
            let_through.append(now_s)
        else:
            assert 0 <= wait_s <= 2.0

    assert busiest_window(let_through, 2.0) <= count


@given(st.integers(1, 4), st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), max_size=40))
def test_no_window_lets_more_through_in_whatever_order_they_are_judged(count: int, times_s: list[float]) -> None:
    strict, let_through = Limiter({"add": Limit(count, 2.0)}, refused_count=False), list[float]()
    for begun_s in range(8):  # each round is mixed with those before, up to a window late
        for time_s in (begun_s + time_s for time_s in times_s if time_s < 2):
            let_through += [time_s] if strict.admit("key", "add", time_s) is None else []
    assert busiest_window(array("d", sorted(let_through)), 2.0) <= count


def test_what_is_judged_late_finds_its_place() -> None:
    strict = limiter("1/1s")
    assert [strict.admit("key", "add", t) for t in (2.2, 1.1, 1.3, 3.2)] == [None, None, pytest.approx(1.9), None]


def test_the_place_is_free_again_exactly_one_window_later() -> None:
    strict = limiter("1/2s")

    assert strict.admit("key", "add", 10.0) is None
    assert strict.admit("key", "add", 11.75) == 0.25
    assert strict.admit("key", "add", 12.0) is None


def test_a_refused_request_uses_no_place_unless_told_to() -> None:
    mild, harsh = limiter("1/2s"), limiter("1/2s", refused_count=True)

    assert [mild.admit("key", "add", t) is None for t in (0.0, 1.0, 2.0)] == [True, False, True]
    assert [harsh.admit("key", "add", t) is None for t in (0.0, 1.0, 2.0, 4.0)] == [True, False, False, True]


def test_the_busiest_window_is_half_open() -> None:
    assert busiest_window(array("d", [0.0, 1.0, 2.0, 3.9]), 2.0) == 2
    assert busiest_window(array("d", [0.0, 1.0, 1.9]), 2.0) == 3
    assert busiest_window(array("d"), 2.0) == 0


def test_classes_and_keys_have_windows_of_their_own(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(list="1/60s", get="1/60s")

    assert [http.get(RUNS).status_code for _ in range(2)] == [200, 429]
    assert http.get(f"{RUNS}/1").status_code == 404
    assert http.get(RUNS, headers={"Authorization": "Bearer other"}).status_code == 200


def test_a_refusal_tells_when_the_next_place_is_free(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(list="1/50s")
    http.get(RUNS)

    refusal = http.get(RUNS)

    assert refusal.status_code == 429
    assert refusal.json() == {"detail": "Too Many Requests"}
    assert 40 <= int(refusal.headers["retry-after"]) <= 50


def test_retry_after_can_be_a_date_or_nothing_or_nonsense(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(list="0/50s")
    values = []
    for kind in ("date", "none", "-1", "1000000000", "soon, maybe"):
        sandbox.limits(retry_after=kind)
        values.append(http.get(RUNS).headers.get("retry-after"))

    assert 30 < parsedate_to_datetime(values[0]).timestamp() - time.time() <= 51
    assert values[1:] == [None, "-1", "1000000000", "soon, maybe"]


def test_the_log_and_the_busiest_window_count_refused_requests_too(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(add="2/60s")
    statuses = [http.post(RUNS, files=FILES).status_code for _ in range(5)]

    add = sandbox.stats()["classes"]["add"]

    assert statuses == [200, 200, 429, 429, 429]
    assert (add["requests"], add["accepted"], add["refused_429"], add["max_in_window"]) == (5, 2, 3, 5)
    assert [entry["refused"] for entry in sandbox.log(request_class="add")] == [False, False, True, True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel when data came")
def test_a_request_that_lay_while_the_sandbox_slept_is_counted_when_it_came(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    sandbox.limits(list="1/1s")
    assert http.get(RUNS).status_code == 200
    host, port = sandbox.url.removeprefix("http://").split(":")
    request = f"GET {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.key}\r\nConnection: close\r\n\r\n"
    os.kill(sandbox.pid, signal.SIGSTOP)
    try:
        with socket.create_connection((host, int(port))) as early, socket.create_connection((host, int(port))) as late:
            time.sleep(1.1)
            sent = []
            for connection in (early, late):
                before = time.monotonic()
                connection.sendall(request.encode())
                sent.append((before, time.monotonic()))
                time.sleep(1.1)
            os.kill(sandbox.pid, signal.SIGCONT)
            assert [connection.recv(12) for connection in (early, late)] == [b"HTTP/1.1 200"] * 2
    finally:
        os.kill(sandbox.pid, signal.SIGCONT)
    logged = sorted(entry["t"] for entry in sandbox.log(request_class="list"))[1:]
    assert all(first - 0.05 < came < last + 0.05 for came, (first, last) in zip(logged, sent, strict=True))
    assert sandbox.stats()["classes"]["list"]["max_in_window"] == 1


def test_a_request_is_counted_when_its_headers_arrive(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(add="1/60s")
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(f"POST {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.key}\r\n".encode())
        slow.sendall(b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 1000\r\n\r\n")
        sandbox.wait("arrived", class_="add")
        seen_s = time.monotonic()

        overtaken = http.post(RUNS, files=FILES)

    first, second = sandbox.log(request_class="add")
    assert overtaken.status_code == 429
    assert first["t"] <= seen_s <= second["t"]
    assert (first["status"], second["status"]) == (None, 429)


def test_a_refused_upload_is_answered_before_its_body_is_sent(sandbox: Sandbox) -> None:
    sandbox.limits(add="0/60s", retry_after="7")
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as upload:
        upload.sendall(f"POST {RUNS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.key}\r\n".encode())
        upload.sendall(b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 6000000000\r\n\r\n")
        upload.sendall(b"x" * 100_000)
        sandbox.wait("answered")
        for _ in range(3):
            upload.sendall(b"x" * 100_000)  # a connection closed too early would break here
        answer = b""
        while piece := upload.recv(65_536):  # ends with FIN, not with a reset
            answer += piece

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nretry-after: 7\r\n" in answer
    assert b"\r\nconnection: close\r\n" in answer
    assert sandbox.stats()["received_bytes"] == 0


def test_a_client_that_sends_its_whole_body_first_still_reads_the_refusal(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.limits(add="0/60s")

    refusal = http.post(RUNS, files={"files": ("big.bin", bytes(40_000_000))})

    assert refusal.status_code == 429
