"""What statuses, headers and error bodies are taken for."""

from __future__ import annotations

import math
import tracemalloc
import zlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline import jsonl
from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    Ambiguous,
    Blocked,
    NoCredit,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from paceline.providers.answers import (
    EXCERPT_CHARACTERS,
    NESTED_MOST,
    Gatherer,
    TooLarge,
    Unreadable,
    clean,
    excerpt,
    is_finite,
    read_error,
    retry_after_s,
    write_error,
)

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
NOON = "Sun, 01 Nov 2026 12:00:00 GMT"

WRITES: dict[type[ProviderError], list[int]] = {
    AccessDenied: [401, 403],
    NoCredit: [402],
    AgentUnknown: [404],
    Throttled: [429],
    Refused: [400, 405, 406, 410, 411, 413, 414, 415, 421, 422, 425, 431, 451, 499],
    Blocked: [301, 307, 308],
    Ambiguous: [100, 101, 300, 302, 303, 304, 408, 409, 500, 501, 502, 503, 504, 507, 520, 522, 524, 599, 600, 999],
}
READS: dict[type[ProviderError], list[int]] = {
    AccessDenied: [401, 403],
    NoCredit: [402],
    Throttled: [429],
    Unavailable: [101, 300, 301, 302, 304, 307, 308, 400, 408, 409, 413, 414, 422, 500, 502, 503, 504, 524, 999],
}


@pytest.mark.parametrize(("expected", "status"), [(kind, code) for kind, codes in WRITES.items() for code in codes])
def test_a_status_means_this_for_a_write(expected: type[ProviderError], status: int) -> None:
    error = write_error(status, "", None, body_sent=True)
    assert type(error) is expected
    assert error.http_status == status


@pytest.mark.parametrize(("expected", "status"), [(kind, code) for kind, codes in READS.items() for code in codes])
def test_a_status_means_this_for_a_read(expected: type[ProviderError], status: int) -> None:
    error = read_error(status, "", None)
    assert type(error) is expected
    assert error.http_status == status


@settings(deadline=None)
@given(st.integers(100, 999).filter(lambda status: not 200 <= status < 300))
def test_no_server_error_is_ever_taken_for_a_refusal(status: int) -> None:
    error = write_error(status, "", None, body_sent=False)
    if status >= 500:
        assert isinstance(error, Ambiguous)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        ("Sun, 01 Nov 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Nov-26 12:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 13:00:30 +0100", 30.0),
        ("Sun, 01 Nov 2026 12:00:30", 30.0),
        ("Sun, 01 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("7, 7", None),
        ("inf", None),
        ("nan", None),
        ("1e3", None),
        ("٣", None),
        ("9" * 400, None),
        ("Mon, 99 Foo 99999 99:99:99 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_a_wish_to_wait_is_read(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, None, NOW) == expected
    assert retry_after_s(value, "garbage", NOW) == expected


def test_a_date_counts_from_the_answers_own_date() -> None:
    assert retry_after_s("Sun, 01 Nov 2026 12:00:30 GMT", "Sun, 01 Nov 2026 12:00:10 GMT", NOW) == 20.0


@settings(deadline=None)
@given(st.text() | st.sampled_from([NOON, "Sat, 01 Jan 0001 00:00:00 +2359"]), st.text() | st.just(NOON))
def test_no_header_makes_a_wish_that_is_negative_or_endless(value: str, date: str) -> None:
    seconds = retry_after_s(value, date, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"detail": "Agent not found"}, "Agent not found"),
        (
            {"detail": [{"loc": ["body", "files", 0], "msg": "Field required", "input": "x"}]},
            "body.files.0: Field required",
        ),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, "a; b"),
        ({"error": "NotFound", "message": "No such agent"}, "No such agent"),
        ({"error": {"message": "deep"}}, "deep"),
        ({"detail": None, "message": "m"}, "m"),
        ({"detail": {"other": 1}}, ""),
        ({"detail": 7}, ""),
        (["a", "b"], "a; b"),
        ("plain", "plain"),
        (None, ""),
        (7, ""),
    ],
)
def test_an_error_body_is_told_in_one_line(body: object, expected: str) -> None:
    assert excerpt(body) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\r\nb\tc\x00d", "a b cd"),
        ("left\u202eright\u200b", "leftright"),
        ("see https://x.example/a?token=1#frag, please", "see https://x.example/a please"),
        ("key sk-1 leaked", "key *** leaked"),
        ("lone \ud800 surrogate", "lone surrogate"),
    ],
)
def test_foreign_text_is_made_harmless(text: str, expected: str) -> None:
    assert " ".join(clean(text, "sk-1").split()) == expected


@settings(deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[]\x07\x9b?:/#h"), max_size=2000))
def test_no_text_stays_long_or_dangerous(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= EXCERPT_CHARACTERS
    assert cleaned.isprintable() or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in cleaned)


def gathered(body: bytes, cap_bytes: int = 1000, encoding: str = "", step: int = 7) -> object:
    gatherer = Gatherer(cap_bytes, encoding)
    for at in range(0, len(body), step):
        gatherer.feed(body[at : at + step])
    return gatherer.json()


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("x-gzip", 31), (" GZIP ", 31), ("deflate", 15)])
def test_compression_is_undone_however_it_is_cut(encoding: str, wbits: int, step: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(b'{"a": [1, 2]}') + packer.flush()
    assert gathered(packed, encoding=encoding, step=step) == {"a": [1, 2]}


def test_the_cap_counts_what_arrives_and_what_is_unpacked() -> None:
    assert gathered(b" " * 998 + b"{}") == {}
    with pytest.raises(TooLarge):
        gathered(b" " * 999 + b"{}")
    with pytest.raises(TooLarge):
        gathered(zlib.compress(b" " * 999 + b"{}"), encoding="deflate")
    assert gathered(zlib.compress(b" " * 998 + b"{}"), encoding="deflate") == {}


def test_a_bomb_is_never_unpacked_past_the_cap() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        Gatherer(100_000, "deflate").feed(bomb)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5000, b"{} {}", b"<html>"])
def test_what_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        gathered(body, cap_bytes=10_000)


def test_numbers_that_json_does_not_have_become_null() -> None:
    assert gathered(b"[NaN, Infinity, -Infinity, 1]") == [None, None, None, 1]


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"\xef\xbb\xbf"])
def test_an_empty_body_has_no_value(body: bytes) -> None:
    assert gathered(body) is None


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_an_answer_nested_deeper_than_can_be_written_down_is_too_large(opening: str, closing: str) -> None:
    times = NESTED_MOST // len(closing)
    for more, refused in ((0, False), (1, True), (993 // len(closing) - times, True), (50_000, True)):
        body = (opening * (times + more) + "1e400" + closing * (times + more)).encode()
        if refused:
            with pytest.raises(TooLarge, match=r"levels|values"):
                gathered(body, cap_bytes=1_000_000, step=100_000)
        else:
            assert jsonl.encode({"value": gathered(body, cap_bytes=1_000_000, step=100_000)})


@pytest.mark.parametrize("number", [10**400, -(10**400), math.inf, -math.inf, math.nan, True, "1", None], ids=range(8))
def test_what_no_float_can_hold_is_not_a_finite_number(number: object) -> None:
    assert not is_finite(number)
    assert is_finite(10**300)
