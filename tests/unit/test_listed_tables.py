"""Lists with columns: what is read from them, and where an error is said to be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import UsageError
from producers.lists import Named
from producers.piped import read_paths
from producers.tables import read_table
from tests.support.trees import put

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
CSV_PATHS = TEXT.filter(lambda path: bool(path.strip()))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT)


def write_csv(rows: list[tuple[Any, ...]], delimiter: str, *, mark: bool, end: str) -> bytes:
    """Write rows as spreadsheets do."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return (b"\xef\xbb\xbf" if mark else b"") + text.getvalue().encode()


@given(
    rows=st.lists(st.tuples(CSV_PATHS, TEXT, st.integers(-1000, 1000), TEXT), max_size=5),
    delimiter=st.sampled_from(",;\t"),
    mark=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_csv_comes_back_as_it_was_written(
    rows: list[tuple[str, str, int, str]],
    delimiter: str,
    mark: bool,
    end: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = write_csv([("path", "group", "priority", "metadata.Said"), *rows], delimiter, mark=mark, end=end)
    file = put(tmp_path_factory.getbasetemp() / "x.csv", content)

    found = [(one.path, one.group, one.priority, dict(one.metadata)["Said"]) for one in read_table(str(file))]

    assert found == rows


@given(rows=st.lists(st.tuples(CSV_PATHS, TEXT, st.integers(-1000, 1000), st.dictionaries(TEXT, SCALARS, max_size=3))))
def test_json_lines_come_back_as_they_were_written(
    rows: list[tuple[str, str, int, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [
        json.dumps({"path": path, "group": group, "priority": priority, "metadata": metadata})
        for path, group, priority, metadata in rows
    ]
    file = put(tmp_path_factory.getbasetemp() / "x.jsonl", "\n".join(lines).encode())

    found = list(read_table(str(file)))

    assert [(one.path, one.group, one.priority) for one in found] == [row[:3] for row in rows]
    assert [list(one.metadata) for one in found] == [list(row[3].items()) for row in rows]


@given(st.lists(st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name), min_size=1))
def test_names_between_nuls_survive_whatever_their_bytes(names: list[bytes]) -> None:
    found = list(read_paths(io.BytesIO(b"\0".join(names) + b"\0")))

    assert [one.path.encode("utf-8", "surrogateescape") for one in found] == names


def test_lines_may_end_as_on_windows_be_empty_or_lack_an_end() -> None:
    found = list(read_paths(io.BytesIO(b"\xef\xbb\xbfa b\r\n\n\r\nc\xff")))

    assert [(one.path, one.line) for one in found] == [("a b", 1), ("c\udcff", 4)]


def test_a_path_longer_than_a_block_is_one_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.piped._BLOCK", 4)

    assert [one.path for one in read_paths(io.BytesIO(b"abcdefghij\nkl\nm"))] == ["abcdefghij", "kl", "m"]
    assert [one.path for one in read_paths(io.BytesIO(b"ab\0defg\nij\0kl"))] == ["ab", "defg\nij", "kl"]


def test_a_nul_in_the_middle_of_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.piped._BLOCK", 4)

    with pytest.raises(UsageError, match="line 3: a NUL"):
        list(read_paths(io.BytesIO(b"ab\ncd\ne\0f\n")))


def test_columns_are_found_in_any_order_and_case(tmp_path: Path) -> None:
    file = put(tmp_path / "x.CSV", b"metadata.Id ; Priority;PATH;;\n".replace(b";;", b"") + b"7;2;a,b.pdf\n\n;;\n")

    assert list(read_table(str(file))) == [Named("a,b.pdf", 2, "", 2, (("Id", "7"),))]


def test_a_quoted_line_end_is_part_of_a_value_and_lines_are_counted_on(tmp_path: Path) -> None:
    file = put(tmp_path / "x.csv", b'path,metadata.a\n"one\ntwo",x\nthree,"y\n\nz"\nfour,""\n')

    assert [(one.path, one.line) for one in read_table(str(file))] == [("one\ntwo", 2), ("three", 4), ("four", 7)]


def test_a_group_of_json_may_be_a_number(tmp_path: Path) -> None:
    file = put(tmp_path / "x.jsonl", b'{"path":"a","group":7}\n\n{"path":"b","group":null,"priority":null}\n')

    assert list(read_table(str(file))) == [Named("a", 1, "7"), Named("b", 3)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"no column 'path'.*is none.*--include 'x.csv'"),
        (b"a.pdf\nb.pdf\n", r"first line has to name the columns, and is 'a.pdf'"),
        (b"path,customer,date\na,b,c\n", r"line 1: unknown columns .*: path,metadata.customer,metadata.date$"),
        (b"path;metadata.\na;b\n", r"line 1: unknown column 'metadata.'"),
        (b"path,group,Group\na,b,c\n", r"line 1: two columns are named 'group'"),
        (b"path\na,b\n", r"line 2: 2 values, the header names 1"),
        (b"path,group\na\n", r"line 2: 1 values, the header names 2"),
        (b'path,group\na,"b"\n"c\nd",e"f"\n"g\n', r"line 5: .*quotes"),
        (b'path,group\n"a"b,c\n', r"line 2: .*quotes"),
        (b"path,priority\na,\nb,high\n", r"line 3: priority 'high'"),
        (b"path,priority\na,1.5\n", r"line 2: priority '1.5'"),
        (b"path,priority\na,9999999999\n", r"line 2: priority 9999999999 is out of bounds"),
        (b"path,group\n ,x\n", r"line 2: the path is empty"),
        (b"path\na\0b\n", r"line 2: no file can have the path"),
        (b"path\na\nb\ncaf\xe9\n", r"line 4: not UTF-8"),
        ("path\na\n".encode("utf-16"), r"is UTF-16: save it as UTF-8"),
        (b"path,size_bytes,submission,outcome\na,1,b,c\n", r"was written by paceline.*paceline retry"),
    ],
)
def test_a_csv_that_is_wrong_says_where_and_what_would_do(tmp_path: Path, content: bytes, says: str) -> None:
    refuse(put(tmp_path / "x.csv", content), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"path\n", r"line 2: no JSON \("),
        (b"[1]", r"line 2: no JSON object"),
        (b"[" * 100_000, r"line 2: no JSON \("),
        (b'{"path":"a","path":"b"}', r"line 2: no JSON \(a key stands there twice"),
        (b'{"file":"a"}', r"line 2: no 'path', but 'file'.*--include 'x.jsonl'"),
        (b'{"path":1}', r"line 2: path is no string"),
        (b'{"path":""}', r"line 2: the path is empty"),
        (b'{"path":"\\ud800"}', r"line 2: no file can have the path"),
        (b'{"path":"\\u0000"}', r"line 2: no file can have the path"),
        (b'{"path":"a","customer":1}', r"line 2: unknown 'customer'.*\"metadata\""),
        (b'{"path":"a","group":1.5}', r"line 2: group is no string"),
        (b'{"path":"a","group":true}', r"line 2: group is no string"),
        (b'{"path":"a","priority":"7"}', r"line 2: priority '7'"),
        (b'{"path":"a","priority":true}', r"line 2: priority True"),
        (b'{"path":"a","metadata":[]}', r"line 2: metadata is no object"),
        (b'{"path":"a","metadata":{"x":[1]}}', r"line 2: metadata 'x' is nested"),
        (b'{"path":"a","metadata":{"x":NaN}}', r"line 2: metadata 'x' is nan"),
        (b'{"path":"caf\xe9"}', r"line 2: not UTF-8"),
        (b'{"path":"a","mtime_ns":1,"submission":null}', r"was written by paceline"),
    ],
)
def test_json_that_is_wrong_says_where_and_what_would_do(tmp_path: Path, line: bytes, says: str) -> None:
    refuse(put(tmp_path / "x.jsonl", b'{"path":"fine"}\n' + line), says)


def refuse(file: Path, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        list(read_table(str(file)))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_bytes_of_a_name_that_are_no_utf_8_can_stand_in_json(tmp_path: Path) -> None:
    file = put(tmp_path / "x.jsonl", json.dumps({"path": "caf\udce9"}).encode())

    assert [one.path for one in read_table(str(file))] == ["caf\udce9"]
