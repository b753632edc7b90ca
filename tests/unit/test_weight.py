"""What an answer weighs when parsed is known before, and never less than it is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.providers.answers import Gatherer, TooLarge
from paceline.providers.weight import heavier_than

CAP = 1_000_000

FILLED = {
    "empty lists": (b"[", b"[],", b"0]"),
    "empty objects": (b"[", b"{},", b"0]"),
    "small objects": (b"[", b'{"a":1},', b"0]"),
    "short strings": (b"[", b'"ab",', b"0]"),
    "numbers": (b"[", b"1.5,", b"0]"),
    "a text with one emoji": (b'["', b"lorem ipsum, ", '\U0001f600"]'.encode()),
    "a text with one dash": (b'["', b"lorem ipsum, ", '\u2014"]'.encode()),
    "a text with an escaped emoji": (b'["', b"lorem ipsum, ", b'\\ud83d\\ude00"]'),
    "a plain text with commas": (b'["', b"a,b:c[d{", b'"]'),
    "a plain text with quotes": (b'["', b'\\",\\",', b'"]'),
    "Chinese": (b'["', "\u4e2d".encode(), b'"]'),
}
PLAIN = ("a plain text with commas", "a plain text with quotes", "Chinese")


def body(name: str, size_bytes: int) -> bytes:
    start, middle, end = FILLED[name]
    return start + middle * (size_bytes // len(middle)) + end


def gathered(data: bytes) -> Gatherer:
    gatherer = Gatherer(CAP)
    gatherer.feed(data)
    return gatherer


@pytest.mark.parametrize("name", FILLED)
def test_what_explodes_when_parsed_is_refused_and_what_does_not_is_taken(name: str) -> None:
    data = body(name, 3_000_000)

    assert heavier_than(2 * len(data) + 1000, data) is (name not in PLAIN)
    assert heavier_than(60 * len(data), data) is False


def test_an_answer_within_the_cap_may_still_hold_too_many_values() -> None:
    with pytest.raises(TooLarge, match="values"):
        gathered(body("empty lists", CAP - 10)).json()
    assert len(gathered(body("a plain text with commas", CAP - 100)).json()[0]) > 900_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=6),
        max_leaves=40,
    ),
    st.booleans(),
)
def test_the_estimate_is_never_below_the_strings_and_containers_there_are(value: object, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode()
    least = sum(len(text) for text in texts(value)) + 56 * containers(value)

    assert heavier_than(least - 1, data)


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def containers(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + sum(map(containers, inner))


MEASURE = """
import sys
from paceline.providers.answers import Gatherer, TooLarge
start, middle, end = map(bytes.fromhex, sys.argv[1:])
gatherer = Gatherer(100_000_000)
gatherer.feed(start)
for _ in range(98):
    gatherer.feed(middle * (1_000_000 // len(middle)))
gatherer.feed(end)
try:
    gatherer.json()
except TooLarge:
    pass
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its peak from /proc")
@pytest.mark.parametrize("name", ["empty objects", "a text with one emoji", "a plain text with quotes"])
def test_a_hundred_megabytes_of_anything_are_parsed_or_refused_within_300_mb(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *(piece.hex() for piece in FILLED[name])],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) * 1024 < 300_000_000
