"""A delivery is taken if it is signed and fresh, and refused for one reason at a time."""

from __future__ import annotations

from typing import Any

import pytest
from kolena_agents._utils.webhook import _generate_signature  # type: ignore[import-untyped]  # the vendor ships no types

from paceline.hints import RunHint
from paceline.providers.kolena_stream import EventReader, read_event
from paceline.providers.kolena_webhook import (
    FUTURE_S,
    OLDEST_S,
    Delivery,
    Refused,
    check,
    read_headers,
    runs_in,
    sign,
)

SECRET = b"hook-canary-1f3a"
NOW = 1_800_000_000
BODY = '{"run_id": 5, "name": "ü"}'.encode()


def headers(**changes: list[str]) -> dict[str, list[str]]:
    found = {
        "x-kolena-signature": [sign(SECRET, str(NOW), "d-1", BODY)],
        "x-kolena-timestamp": [str(NOW)],
        "x-kolena-delivery-id": ["d-1"],
    }
    return found | {f"x-kolena-{name.replace('_', '-')}": value for name, value in changes.items()}


def refusal(**changes: list[str]) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        check(read_headers(headers(**changes), NOW), BODY, SECRET)
    return caught.value.status, caught.value.reason


def test_a_signed_fresh_delivery_passes() -> None:
    delivery = read_headers(headers(), NOW)
    check(delivery, BODY, SECRET)
    assert delivery.id == "d-1"


def test_the_signature_is_the_one_the_vendor_makes() -> None:
    theirs = _generate_signature(SECRET.decode(), str(NOW), "d-1", BODY.decode())
    assert sign(SECRET, str(NOW), "d-1", BODY) == theirs


@pytest.mark.parametrize("name", ["signature", "timestamp", "delivery_id"])
def test_each_header_is_needed(name: str) -> None:
    assert refusal(**{name: []}) == (400, f"no_{name.rpartition('_')[2]}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signature", "0" * 63),
        ("signature", "A" * 64),
        ("signature", "é" * 64),
        ("timestamp", ""),
        ("timestamp", "-5"),
        ("timestamp", "1e9"),
        ("timestamp", "١٢٣"),
        ("timestamp", "9" * 13),
        ("delivery_id", ""),
        ("delivery_id", "a b"),
        ("delivery_id", "a" * 201),
    ],
)
def test_an_odd_header_is_refused_as_such(name: str, value: str) -> None:
    assert refusal(**{name: [value]}) == (400, f"bad_{name.rpartition('_')[2]}")


def test_a_header_that_comes_twice_is_refused() -> None:
    assert refusal(timestamp=[str(NOW), str(NOW)]) == (400, "bad_timestamp")


@pytest.mark.parametrize(
    ("age_s", "reason"), [(OLDEST_S + 1, "too_old"), (-FUTURE_S - 1, "from_the_future"), (10**9, "too_old")]
)
def test_a_clock_too_far_off_is_refused_in_both_directions(age_s: float, reason: str) -> None:
    stamp = str(int(NOW - age_s))
    signed = sign(SECRET, stamp, "d-1", BODY)
    assert refusal(timestamp=[stamp], signature=[signed]) == (401, reason)


@pytest.mark.parametrize("age_s", [OLDEST_S, -FUTURE_S])
def test_at_the_bounds_it_still_passes(age_s: float) -> None:
    stamp = str(int(NOW - age_s))
    given = headers(timestamp=[stamp], signature=[sign(SECRET, stamp, "d-1", BODY)])
    check(read_headers(given, NOW), BODY, SECRET)


@pytest.mark.parametrize(
    "signed",
    [
        sign(b"another", str(NOW), "d-1", BODY),
        sign(SECRET, str(NOW - 1), "d-1", BODY),
        sign(SECRET, str(NOW), "d-2", BODY),
        sign(SECRET, str(NOW), "d-1", BODY + b" "),
    ],
    ids=["secret", "timestamp", "delivery id", "body"],
)
def test_whatever_is_signed_must_be_what_came(signed: str) -> None:
    assert refusal(signature=[signed]) == (401, "wrong_signature")


def test_an_id_of_any_form_has_a_short_digest() -> None:
    one, other = Delivery("a:*", "", ""), Delivery("a:?", "", "")
    assert len(one.digest) == 32
    assert one.digest != other.digest


RUN = {"run_id": 5, "agent_id": 7, "user_defined_id": "b.x", "status": "success"}
HINT = RunHint("5", "7", "b.x")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (RUN, [HINT]),
        ({"run": RUN}, [HINT]),
        ({"data": RUN}, [HINT]),
        ({"agent_run": RUN}, [HINT]),
        ({"payload": RUN}, [HINT]),
        ({"event": "run.completed", "data": {"run": RUN}}, [HINT]),
        ({"run_id": "5"}, [RunHint("5")]),
        ({"run_id": 5, "agent_id": "seven", "user_defined_id": 3, "status": 9}, [RunHint("5")]),
        ({"run": RUN, "data": {"run_id": 6}}, [HINT, RunHint("6")]),
        ({**RUN, "status": "running"}, []),
        ({}, None),
        ({"run_id": True}, None),
        ({"run_id": -5}, None),
        ({"run_id": 5.0}, None),
        ({"run_id": 10**30}, None),
        ({"data": [RUN]}, None),
        ({"data": {"data": {"data": RUN}}}, None),
        ([RUN], None),
        ("run", None),
        (None, None),
    ],
)
def test_runs_are_found_where_they_may_be(body: Any, found: list[RunHint] | None) -> None:
    assert runs_in(body) == found


STREAM = b': hello\r\nevent: run\r\ndata: {"run_id": 5}\r\n\r\n\r\ndata:a\ndata: b\n\nid: 3\n\ndata\r\rdata: cut'
EVENTS = [b'{"run_id": 5}', b"a\nb", b""]


@pytest.mark.parametrize("size", [*range(1, 12), len(STREAM)])
def test_a_stream_comes_apart_the_same_however_it_is_cut(size: int) -> None:
    reader = EventReader()
    found = [event for at in range(0, len(STREAM), size) for event in reader.feed(STREAM[at : at + size])]
    assert found == EVENTS


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("long", [b"data: " + b"x" * 500, b"data: x\n" * 100, b"x" * 500], ids=["line", "lines", "odd"])
def test_an_event_too_long_is_dropped_and_the_next_one_read(long: bytes, size: int) -> None:
    reader = EventReader(most_bytes=100)
    stream = long + b"\n\ndata: next\n\n"
    found = []
    for at in range(0, len(stream), size):
        found += reader.feed(stream[at : at + size])
        assert len(reader._line) + len(reader._data) <= 100
    assert found == [None, b"next"]


@pytest.mark.parametrize("event", [None, b"", b"\xff", b"[" * 100_000, b'"run_id"', b"{}"])
def test_an_event_that_cannot_be_read_says_nothing_about_a_run(event: bytes | None) -> None:
    assert read_event(event) is None


def test_an_event_names_its_run() -> None:
    assert read_event(b'{"run_id": 5, "status": "failed"}') == [RunHint("5")]
    assert read_event(b'{"run_id": 5, "status": "running"}') == []
