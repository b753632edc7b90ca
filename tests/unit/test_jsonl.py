"""JSON lines that survive every name and every odd value."""

from __future__ import annotations

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline import jsonl

texts = st.text() | st.binary().map(os.fsdecode)
values = st.dictionaries(
    texts, st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3))
)


@given(values)
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert jsonl.decode(jsonl.encode(value)) == value


@given(st.lists(values))
def test_a_line_is_one_line_of_valid_utf_8(rows: list[dict[str, object]]) -> None:
    content = b"".join(jsonl.encode(row) + b"\n" for row in rows)

    content.decode()
    assert content.count(b"\n") == len(rows)
    assert list(jsonl.read(io.BytesIO(content))) == rows


@given(texts)
def test_a_quoted_name_is_the_json_of_that_name(text: str) -> None:
    quoted = jsonl.quote(text)

    assert json.loads(quoted.encode()) == text


def test_only_a_line_that_needs_it_is_escaped() -> None:
    assert jsonl.encode({"path": "é"}) == '{"path":"é"}'.encode()
    assert jsonl.encode({"path": os.fsdecode(b"\xe9")}) == b'{"path":"\\udce9"}'


@pytest.mark.parametrize("odd", ["\x7f", "\x85", "\x9b31m", "\u2028", "\u2029", "\u202e", "\u2066"])
def test_what_ends_lines_or_commands_terminals_elsewhere_is_escaped(odd: str) -> None:
    line = jsonl.encode({"path": f"é{odd}"})

    assert line.isascii()
    assert jsonl.quote(f"é{odd}").isascii()
    assert jsonl.decode(line) == {"path": f"é{odd}"}


def test_numbers_json_has_no_word_for_become_null() -> None:
    assert jsonl.encode({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}}) == (
        b'{"a":null,"b":[null,1.5],"c":{"d":null}}'
    )


def test_the_form_for_people_is_indented_and_survives_the_same_names() -> None:
    value = {"name": os.fsdecode(b"\xe9"), "files": {"total": 1}}

    assert json.loads(jsonl.encode_pretty(value)) == value
    assert jsonl.encode_pretty({"name": "é"}) == '{\n  "name": "é"\n}\n'.encode()


@pytest.mark.parametrize("line", [b"[1]\n", b"3\n", b"{\n", b"\xff\n"])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        jsonl.decode(line)
