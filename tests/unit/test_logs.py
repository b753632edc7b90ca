"""A log line is one line, whatever is in its facts, and shows no key."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.logs import JsonFormatter, TextFormatter, printable, setup_logging
from config.masking import Mask

Writer = Callable[..., io.StringIO]

CANARY = "sk-canary-5f2e9c"


@pytest.fixture
def logging_to() -> Iterator[Writer]:
    """Set logging up on a stream of the test's own, and put everything back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("httpx", "celery")}

    def start(level: str = "info", style: str = "text", **options: object) -> io.StringIO:
        stream = io.StringIO()
        setup_logging(level, style, stream=stream, **options)  # type: ignore[arg-type]  # any style, on purpose
        return stream

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def record(event: str, /, **facts: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "paceline.ledger", "levelno": 20, "levelname": "INFO", "msg": event})
    made.created = 1795316400.25
    vars(made).update(facts)
    return made


def test_a_line_for_people_has_the_event_and_its_facts() -> None:
    line = TextFormatter().format(record("submission.accepted", submission="b1-000001", run_id=7))

    assert line == "2026-11-22T03:00:00.250Z INFO submission.accepted submission=b1-000001 run_id=7"


def test_a_line_for_programs_is_one_json_object() -> None:
    line = JsonFormatter().format(record("submission.accepted", submission="b1-000001", run_id=7))

    assert json.loads(line) == {
        "time": "2026-11-22T03:00:00.250Z",
        "level": "info",
        "event": "submission.accepted",
        "logger": "paceline.ledger",
        "submission": "b1-000001",
        "run_id": 7,
    }


def test_a_fact_cannot_pass_for_the_event() -> None:
    assert json.loads(JsonFormatter().format(record("real", event="fake", level="fake")))["event"] == "real"


def test_facts_with_spaces_are_quoted() -> None:
    assert (
        TextFormatter().format(record("e", path="a b", word="x=1", none="")).endswith('path="a b" word="x=1" none=""')
    )


@given(st.text(st.characters(codec=None), max_size=40))
def test_no_text_makes_a_second_line_or_moves_the_cursor(text: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record("file.skipped", path=text))

        assert line.isprintable()


def test_escape_sequences_line_ends_direction_marks_and_surrogates_are_shown_as_such() -> None:
    assert printable("a\x1b[31m\r\n\u202e\udc80é") == "a\\x1b[31m\\r\\n\\u202e\\udc80é"


def failing(formatter: logging.Formatter, text: str) -> str:
    try:
        raise ValueError(text)
    except ValueError as error:
        return formatter.format(record("step.failed", exc_info=(type(error), error, error.__traceback__)))


def test_a_traceback_stays_beneath_its_line() -> None:
    first, *rest = failing(TextFormatter(), "two\nlines\x1b").split("\n")

    assert first.endswith("step.failed")
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)


def test_a_traceback_is_a_field_of_the_object() -> None:
    assert "ValueError: oops" in json.loads(failing(JsonFormatter(), "oops"))["traceback"]


@pytest.mark.parametrize("kind", [TextFormatter, JsonFormatter])
def test_a_key_is_masked_wherever_it_turns_up(
    monkeypatch: pytest.MonkeyPatch, kind: type[TextFormatter] | type[JsonFormatter]
) -> None:
    monkeypatch.setenv("SOME_KEY", CANARY)
    formatter = kind(Mask(["SOME_KEY"]))

    lines = [failing(formatter, f"Bearer {CANARY}"), formatter.format(record(CANARY, header=f"Bearer {CANARY}"))]

    assert all(CANARY not in line and "[SOME_KEY]" in line for line in lines)


def test_the_least_level_is_kept(logging_to: Writer) -> None:
    stream = logging_to("warning")

    logging.getLogger("paceline").info("quiet")
    logging.getLogger("paceline").warning("loud")

    assert "quiet" not in stream.getvalue()
    assert "WARNING loud" in stream.getvalue()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_that_log_addresses_and_results_are_heard_from_warnings_on(logging_to: Writer, level: str) -> None:
    stream = logging_to(level)

    for name in ("httpx", "httpcore.connection", "celery.app.trace", "kombu"):
        logging.getLogger(name).info("POST https://host/?key=1")
        logging.getLogger(name).warning("something")

    assert "POST" not in stream.getvalue()
    assert stream.getvalue().count("something") == 4


def test_setting_up_twice_logs_once(logging_to: Writer) -> None:
    logging_to()
    stream = logging_to(style="json")

    logging.getLogger("paceline").info("once")

    assert stream.getvalue().count("once") == 1


def test_a_secret_is_masked_in_every_way_that_a_line_may_write_it() -> None:
    secret = 'sk-"canary/5f2e9c\\+x'
    mask = Mask(passwords=[secret])

    lines = [
        formatter(mask).format(record(f"at {secret}", fact=f"at {secret}"))
        for formatter in (TextFormatter, JsonFormatter)
    ]
    lines.append(TextFormatter(mask).format(record("e", url=f"redis://:{quote(secret, safe='')}@host/0")))

    assert all("canary" not in line and "[password]" in line for line in lines)


def test_a_short_value_is_left_as_it_hides_half_of_every_line() -> None:
    assert Mask(passwords=["a"])("a line") == "a line"
