"""The report's page is one safe file that says what there is to say; the browser's tests see what it looks like."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from paceline.markup import visible
from paceline.report.numbers import Report, Slow, Twice, Way
from paceline.report.page import page
from paceline.report.timeline import empty_timeline
from tests.support.told import EVIL, Told


class Reading(HTMLParser):
    """Collects tags, attributes, texts and ids, and whether every element is closed in turn."""

    VOID = frozenset({"meta", "link"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data + " "


def empty_summary(**more: object) -> dict[str, object]:
    states = dict.fromkeys(("planned", "submitting", "uncertain", "running", "finished", "exported", "held"), 0)
    return {
        "batch": "b0000000aa",
        "name": "",
        "state": "running",
        "files": {"total": 10, "succeeded": 4, "failed": 1, "cancelled": 0, "skipped": 0, "pending": 5},
        "left_out": {},
        "submissions": {"total": 5, **states, "exported": 2, "running": 3},
        "outcomes": {},
        "runs_accepted": 5,
        "duplicate_runs": 0,
        "requests": {"add": 5, "rejected_429": 0},
        "credits": None,
        "started_at": "2026-11-22T04:13:07.000Z",
        "finished_at": None,
        "seconds": 61.0,
        "eta_seconds": 90.0,
        **more,
    }


def small(summary: dict[str, object] | None = None) -> Report:
    return Report(
        summary=summary or empty_summary(),
        way=Way("/files", "kolena", "kolena", "7", ("/out",)),
        timeline=None,
        durations=None,
        failures=(),
        skipped=(),
        slowest=(),
        duplicates=(),
        held=(),
        made_ms=1_800_000_000_000,
        version="0.1.0",
    )


@pytest.fixture
def told(tmp_path: Path) -> Report:
    made = Told(
        tmp_path,
        12,
        name=EVIL.replace("\udcff", ""),
        source=f"/{EVIL}",
        options={f"input:{EVIL}": EVIL},
        folder_of=lambda _: EVIL,
    )
    made.fail_every(5)
    made.world.run()
    return made.report(waits=EVIL)


def test_names_are_shown_and_never_obeyed(told: Report) -> None:
    slow = Slow(EVIL, 1.0, EVIL, EVIL, "javascript:alert(1)")
    odd = replace(told, slowest=[slow], duplicates=[Twice(EVIL, EVIL, None)], held=[EVIL], version=EVIL)
    text = page(odd)
    read = Reading(text)
    assert not {tag for tag, _ in read.tags} & {"script", "iframe", "object", "img", "form", "base"}
    assert not {name for _, attrs in read.tags for name in attrs if name.startswith("on") or name == "style"}
    assert read.text.count(visible(EVIL)) > 10
    assert text.encode("utf-8").decode("utf-8") == text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b\ud800-\udfff]", text)


def test_nothing_is_asked_of_anybody(told: Report) -> None:
    text = page(told)
    read = Reading(text)
    addresses = [value for _, attrs in read.tags for name in ("src", "href") if (value := attrs.get(name))]
    assert all(one.startswith(("#", "data:,")) for one in addresses)
    policy = next(attrs["content"] for tag, attrs in read.tags if tag == "meta" and "http-equiv" in attrs) or ""
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "url(" not in style[1]


def test_only_addresses_of_the_web_are_links() -> None:
    runs = [
        Slow("s1", 1.0, "succeeded", "1", "https://app.example/runs/1?a=1&b=2"),
        Slow("s2", 1.0, "succeeded", "2", "file:///etc/passwd"),
    ]
    read = Reading(page(replace(small(), slowest=runs)))
    links = [attrs for tag, attrs in read.tags if tag == "a" and attrs.get("class") != "skip"]
    assert [one["href"] for one in links] == ["https://app.example/runs/1?a=1&b=2"]
    assert links[0]["rel"] == "noopener noreferrer"


def test_headings_go_down_by_one_and_ids_are_there_once(told: Report) -> None:
    read = Reading(page(told))
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = [attrs["aria-labelledby"] or "" for _, attrs in read.tags if "aria-labelledby" in attrs]
    assert {word for one in named for word in one.split()} <= set(ids)


def test_a_batch_under_way_says_so_and_how_long_it_will_take() -> None:
    text = Reading(page(small())).text
    assert "Still running." in text
    assert "5 of 10 files are done; of these, 1 failed. About 1 min 30 s are left." in text
    assert "Complete 20" not in text


def test_what_must_not_be_overlooked_stands_at_the_top() -> None:
    summary = empty_summary(duplicate_runs=2)
    summary["submissions"] = {**small().summary["submissions"], "held": 3}
    report = replace(
        small(summary),
        duplicates=[Twice("77", "b0000000aa-000001", 1.5)],
        held=["b0000000aa-000002"],
        unaudited=4,
        waits="no live worker",
    )
    text = Reading(page(report)).text
    first = text.index("In numbers")
    for said in ("2 runs too many", "3 submissions held", "The closing audit is incomplete", "No live worker"):
        assert 0 < text.index(said) < first
    assert "And 1 more." in text


def test_a_long_batch_makes_no_long_page() -> None:
    line = empty_timeline(0, 10**12, None)
    assert len(page(replace(small(), timeline=line))) < 100_000
