"""The four tables: what each answer of the providers becomes, and that no answer breaks them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.model import Outcome, PlannedFile
from paceline.sinks.base import Part
from paceline.sinks.csv_file import guard, unanswered, unguard
from paceline.sinks.parts import decode_part, encode_part
from paceline.tables import ANSWERS, CITATIONS, FILES, RUNS, TABLES, Kind, Row, Table, rows_of, table_for
from tests.support.sink_batch import BATCH, LISTED, part, parts

FILE = PlannedFile("a", 1, 10**18, "a")


def rows(data: Any, table: Table = ANSWERS, **changes: Any) -> list[dict[str, Any]]:
    """Return the rows of a run that returned `data`, as dicts."""
    one = part(1, [FILE], data=data)
    found = rows_of(Part(one.submission, {**one.record, **changes}, one.files))
    return [dict(zip(table.names, row, strict=True)) for row in found[table.name]]


def shown(row: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


# -- Kolena ----------------------------------------------------------------------------------------------------------


def test_an_answer_has_its_value_as_text_and_as_json() -> None:
    values = {"text": "naïve", "number": 12, "real": 0.5, "yes": True, "list": [1, "ü"], "object": {"a": None}}
    answers = rows({name: {"status": "success", "value": value} for name, value in values.items()})
    assert [shown(row, "prompt", "position", "value", "value_json") for row in answers] == [
        ("text", 1, "naïve", '"naïve"'),
        ("number", 2, "12", "12"),
        ("real", 3, "0.5", "0.5"),
        ("yes", 4, "true", "true"),
        ("list", 5, '[1,"ü"]', '[1,"ü"]'),
        ("object", 6, '{"a":null}', '{"a":null}'),
    ]


def test_an_answer_names_its_group_or_its_only_file() -> None:
    data = {"P": {"status": "success", "value": 1}, "text": "plain"}
    assert [row["about"] for row in rows(data)] == ["a", "a"]
    assert [row["about"] for row in rows(data, group="claim-7")] == ["claim-7", "claim-7"]
    assert [row["about"] for row in rows(data, files=["a", "b"])] == [None, None]
    assert [row["about"] for row in rows(data, files=["a", "b"], group="claim-7")] == ["claim-7", "claim-7"]
    assert [row["about"] for row in rows(data, files=["\udcff"])] == ["\\udcff"] * 2


def test_an_answer_has_what_the_provider_says_of_it() -> None:
    (row,) = rows(
        {
            "Total": {
                "status": "success",
                "value": 7,
                "error": None,
                "metadata": {"reasoning": "seen", "confidence": 1, "citations": [], "url_citations": None},
                "user_input": None,
                "usage": {"credits_used": 3},
            }
        },
        usage={"credits": 3, "by": {"Total": 3}},
    )
    assert shown(row, "status", "value", "error", "confidence", "reasoning", "credits") == (
        ("success", "7", None, 1.0, "seen", 3.0)
    )
    assert isinstance(row["confidence"], float)


def test_a_prompt_that_failed_says_why_and_has_no_value() -> None:
    (row,) = rows({"Total": {"status": "failed", "value": None, "error": "no table", "metadata": None}})
    assert shown(row, "status", "value", "value_json", "error") == ("failed", None, None, "no table")


def test_a_prompt_still_running_is_a_row() -> None:
    (row,) = rows({"Total": {"status": "running", "value": None}})
    assert shown(row, "status", "value") == ("running", None)


REGION = {"page": 2, "point": [0.25, 0.5], "text": "12 €"}


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        (None, []),
        ({"citations": None}, []),
        ({"citations": [{"file": "a.pdf", "pages": None, "regions": None}]}, [("a.pdf", None, None, None, None)]),
        ({"citations": [{"file": "a.pdf", "pages": [], "regions": []}]}, [("a.pdf", None, None, None, None)]),
        (
            {"citations": [{"file": "a.pdf", "pages": [1, 3], "regions": None}]},
            [("a.pdf", 1, None, None, None), ("a.pdf", 3, None, None, None)],
        ),
        (
            {"citations": [{"file": "a.pdf", "pages": [1, 2], "regions": [REGION]}]},
            [("a.pdf", 2, 0.25, 0.5, "12 €"), ("a.pdf", 1, None, None, None)],
        ),
        (
            {"citations": [{"file": "a", "pages": [2], "regions": [REGION, REGION]}, {"file": "b"}]},
            [("a", 2, 0.25, 0.5, "12 €")] * 2 + [("b", None, None, None, None)],
        ),
    ],
)
def test_each_place_that_is_cited_is_a_row(metadata: Any, wanted: list[Any]) -> None:
    found = rows({"Total": {"status": "success", "value": 1, "metadata": metadata}}, CITATIONS)
    assert [shown(row, "file", "page", "x", "y", "text") for row in found] == wanted
    assert [row["number"] for row in found] == list(range(1, len(wanted) + 1))


def test_a_cited_address_is_a_row_after_the_files() -> None:
    web = {"url": "https://example.org", "title": "Example", "cited_text": "so"}
    metadata = {"citations": [{"file": "a"}], "url_citations": [web]}
    _, row = rows({"P": {"status": "success", "value": 1, "metadata": metadata}}, CITATIONS)
    assert shown(row, "number", "file", "url", "title", "text") == (2, None, "https://example.org", "Example", "so")


# -- Kindo -----------------------------------------------------------------------------------------------------------


def test_a_text_that_is_no_json_is_two_answers() -> None:
    answers = rows({"text": "Hello", "json": None, "result": '{"role":"assistant"}'}, raw_status="success")
    assert [shown(row, "prompt", "position", "status", "value") for row in answers] == [
        ("text", 1, "success", "Hello"),
        ("result", 3, "success", '{"role":"assistant"}'),
    ]


def test_a_json_payload_is_an_answer_of_its_own() -> None:
    payload = {"total": 12, "lines": [1, 2]}
    answers = rows({"text": "…", "json": payload, "result": "raw"})
    assert [row["prompt"] for row in answers] == ["text", "json", "result"]
    assert answers[1]["value_json"] == '{"total":12,"lines":[1,2]}'


@pytest.mark.parametrize("data", [{}, {"text": None, "json": None, "result": None}])
def test_a_run_without_a_payload_has_no_answer(data: Any) -> None:
    assert rows(data) == []


# -- runs, files -----------------------------------------------------------------------------------------------------


def test_a_run_has_one_row_whatever_became_of_it() -> None:
    found = [dict(zip(RUNS.names, row, strict=True)) for one in parts() for row in rows_of(one)["runs"]]
    assert [shown(row, "outcome", "reason", "files", "http_status") for row in found] == [
        ("succeeded", "completed", 7, None),
        ("failed", "rejected", 1, 422),
        ("failed", "split", 2, 422),
        ("succeeded", "completed", 1, None),
        ("failed", "run_failed", 1, 422),
    ]
    assert found[1]["grouped"] == "Größe: 1"
    assert found[0]["credits"] == 12.25


def test_what_a_list_said_of_a_file_is_beside_it() -> None:
    (row,) = rows_of(part(2, [LISTED]))["files"]
    found = dict(zip(FILES.names, row, strict=True))
    assert shown(found, "path", "grouped", "metadata") == (
        ("listed.pdf", "Größe: 1", '{"client":"Müller","year":2026,"vip":true}')
    )


def test_names_that_no_file_can_hold_are_escaped_and_stay_apart() -> None:
    names = ["\udcff", "\\udcff", "a\x00b", "naïve"]
    found = rows_of(part(1, [PlannedFile(name, 1, 0, "x") for name in names]))["files"]
    assert [row[1] for row in found] == ["\\udcff", "\\udcff", "a\\x00b", "naïve"]


# -- hostile ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, -(2**63)])
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "a\x00b", "=1", "\u2028"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ENTRY = JSON | st.fixed_dictionaries(
    {},
    optional={
        "status": JSON,
        "value": JSON,
        "error": JSON,
        "metadata": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "reasoning": JSON,
                "confidence": JSON,
                "citations": JSON
                | st.lists(
                    st.fixed_dictionaries(
                        {},
                        optional={
                            "file": JSON,
                            "pages": JSON,
                            "regions": JSON
                            | st.lists(st.fixed_dictionaries({}, optional={"page": JSON, "point": JSON, "text": JSON})),
                        },
                    ),
                    max_size=3,
                ),
                "url_citations": JSON
                | st.lists(st.fixed_dictionaries({}, optional={"url": JSON, "title": JSON, "cited_text": JSON})),
            },
        ),
    },
)
TYPES: Mapping[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,),
    Kind.JSON: (str,),
    Kind.TIME: (str,),
    Kind.INTEGER: (int,),
    Kind.REAL: (float,),
}


def wrong(found: Mapping[str, Sequence[Row]]) -> list[Any]:
    """Return what a database wouldn't take: a wrong type, a text that isn't UTF-8, NUL, a number out of range."""
    bad = []
    for table in TABLES:
        for row in found[table.name]:
            for column, value in zip(table.columns, row, strict=True):
                if value is None and column.name not in table.key:
                    continue
                fine = type(value) in TYPES[column.kind]
                if fine and isinstance(value, str):
                    fine = "\x00" not in value and value.encode("utf-8", "ignore").decode() == value
                elif fine:
                    fine = math.isfinite(value) and (isinstance(value, float) or -(2**63) <= value < 2**63)
                bad += [] if fine else [(table.name, column.name, value)]
    return bad


@given(st.dictionaries(st.text(), ENTRY, max_size=4))
@settings(max_examples=120, deadline=None)
def test_no_answer_breaks_the_tables(data: dict[str, Any]) -> None:
    one = part(1, [FILE], data=data)

    found = rows_of(one)

    assert wrong(found) == []
    for table in TABLES:
        keys = [tuple(row[table.names.index(name)] for name in table.key) for row in found[table.name]]
        assert len(keys) == len(set(keys)) or _escaped_twins(data)


def _escaped_twins(data: Mapping[str, Any]) -> bool:
    """Tell whether two prompts are the same once what no database takes is escaped."""
    names = [name.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00") for name in data]
    return len(set(names)) < len(names)


@given(st.dictionaries(st.text(), ENTRY, max_size=4))
@settings(max_examples=80, deadline=None)
def test_a_part_read_back_has_the_same_rows(data: dict[str, Any]) -> None:
    one = part(1, [FILE], data=data)

    again = decode_part(b"".join(encode_part(one)))

    assert rows_of(again) == rows_of(one)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_no_word_for_is_no_answer(value: float) -> None:
    (row,) = rows({"P": {"status": "success", "value": value, "metadata": {"confidence": value}}})
    assert shown(row, "value", "value_json", "confidence") == (None, None, None)
    assert rows({"P": value}) == []


# -- names of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("x.csv", ANSWERS),
        ("/a/files.csv", FILES),
        ("x.files.parquet", FILES),
        ("x.RUNS.csv", RUNS),
        ("my.citations.csv", CITATIONS),
        ("files/x.csv", ANSWERS),
        ("x.answers.csv", ANSWERS),
        ("profiles.csv", ANSWERS),
    ],
)
def test_a_files_name_says_which_table_it_holds(path: str, table: Table) -> None:
    assert table_for(path) is table


def test_every_table_tells_its_rows_apart_by_columns_it_has() -> None:
    for table in TABLES:
        assert set(table.key) <= set(table.names)
        assert table.names[0] == "batch"
        assert "submission" in table.names
        assert len(set(table.names)) == len(table.names)


# -- formulas in CSV -------------------------------------------------------------------------------------------------

SAFE = ["", "a", "a=1", "-1", "-12.5e-3", "12", "'", "'quoted'", "’=", "naïve", "~1", " x", "()"]
DANGEROUS = [
    "=1",
    "+1",
    "-1+2",
    "@x",
    "\t1",
    "\r=1",
    "\n",
    "＝1",
    "＋1",
    "－1",
    "＠x",
    "  =1",
    "\xa0=1",
    "\ufeff=1",
    "-x",
]


@pytest.mark.parametrize("text", SAFE)
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert guard(text) == unguard(text) == text


@pytest.mark.parametrize("text", [*DANGEROUS, *(f"'{text}" for text in DANGEROUS), "''=1", "'-1"])
def test_what_could_be_a_formula_gets_an_apostrophe(text: str) -> None:
    assert guard(text) == f"'{text}"
    assert unguard(guard(text)) == text


@given(st.text() | st.text(alphabet="'=-+@ \t\r\n1x＝\xa0"))
def test_every_text_can_be_had_back(text: str) -> None:
    assert unguard(guard(text)) == text
    assert guard(text)[:1] not in "=+@\t\r\n＝＋－＠" or not guard(text)


def test_no_text_of_a_record_keeps_a_run_from_being_written() -> None:
    odd = "a\x00\ud800"
    error = {"category": odd, "phase": odd, "message": odd, "http_status": 10**20}
    texts = ("reason", "run_id", "run_url", "external_id", "account", "agent", "raw_status")
    changes: dict[str, Any] = dict.fromkeys(texts, odd) | {"error": error}

    (run,) = rows({"text": "x"}, RUNS, **changes)
    (answer,) = rows({"text": "x"}, **changes)

    shown_texts = [run[name] for name in (*texts, "error_category", "error_phase", "error_message")]
    assert {*shown_texts, answer["run_id"], answer["status"]} == {"a\\x00\\ud800"}
    assert run["http_status"] is None
    one = part(1, [FILE], outcome=Outcome.FAILED)
    row = unanswered(Part(one.submission, {**one.record, **changes}, one.files))
    assert not any("\x00" in value for value in row if isinstance(value, str))


def test_the_batch_of_the_contract_has_something_in_every_column() -> None:
    found: dict[str, list[Row]] = {table.name: [] for table in TABLES}
    for one in parts(BATCH):
        for name, these in rows_of(one).items():
            found[name] += these
    for table in TABLES:
        for column, values in zip(table.columns, zip(*found[table.name], strict=True), strict=True):
            assert any(value is not None for value in values), f"{table.name}.{column.name}"
