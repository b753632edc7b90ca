"""The report in a browser: read by eye, by keyboard and by a screen reader, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from paceline.report.numbers import Report, Slow, Twice
from paceline.report.page import page
from tests.browser.conftest import NARROW, WIDE, Look
from tests.support.told import EVIL, Told

Opener = Callable[..., Look]

TALL = 1330
"""A window that shows the totals and the pace: what is kept as a picture."""


def written(report: Report, folder: Path) -> str:
    """Write a page and return its address."""
    file = folder / "report.html"
    file.write_text(page(report, UTC), "utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, quick_worlds: None) -> Report:
    """Make the report of a complete batch, with links to its runs."""
    told = Told(tmp_path_factory.mktemp("told"), 400)
    told.fail_every(23)
    told.world.run()
    made = told.report()
    slowest = [replace(one, run_url=f"https://app.example/runs/{one.run_id}") for one in made.slowest]
    return replace(made, slowest=slowest)


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (WIDE, True), (NARROW, False), (NARROW, True)])
def test_it_can_be_read_in_every_light_and_at_every_width(
    look: Opener, report: Report, tmp_path: Path, width: int, dark: bool
) -> None:
    shown = look(written(report, tmp_path), width=width, height=TALL if width == WIDE else 1200, dark=dark)

    assert shown.page.title() == "Supplier documents, third quarter – report"
    assert shown.overflow_px() == 0
    if (width, dark) != (NARROW, True):
        shown.picture("report-narrow" if width == NARROW else "report-dark" if dark else "report-light")
    for fold in shown.page.locator("summary").all():
        fold.click()
    assert shown.page.locator("table:visible").count() == 7
    assert shown.overflow_px() == 0
    assert shown.inaccessible() == []


def test_what_is_seen_is_what_there_is(look: Opener, report: Report, tmp_path: Path) -> None:
    shown = look(written(report, tmp_path))

    headings = shown.page.locator("h2").all_inner_texts()
    assert headings == [
        "In numbers", "Pace and outcomes over time", "How long runs took", "What didn’t succeed", "What was left out",
        "Slowest runs", "How it was run", "Checked",
    ]  # fmt: skip
    assert shown.page.locator(".result").inner_text().startswith("3,064 of 3,200 files succeeded, 136 failed")
    pictures = shown.page.get_by_role("img")
    assert pictures.count() == 4  # each is drawn for two widths, and one of them is shown
    assert pictures.first.bounding_box()["width"] > 600
    shown.page.set_viewport_size({"width": NARROW, "height": 900})
    assert pictures.count() == 4
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 247)"


def test_the_keyboard_reaches_everything_in_order(look: Opener, report: Report, tmp_path: Path) -> None:
    shown = look(written(report, tmp_path))

    reached = shown.tabs()
    folds = "summary The values as a table"
    assert reached[:3] == ["a Skip to the results", folds, folds]
    assert reached[3:] == [f"a {one.run_id}" for one in report.slowest]
    shown.page.locator(".skip").focus()
    assert shown.page.locator(".skip").bounding_box()["x"] >= 0
    shown.page.keyboard.press("Enter")
    assert shown.page.evaluate("document.activeElement.id") == "results"
    shown.page.locator("summary").first.focus()
    shown.page.keyboard.press("Enter")
    assert shown.page.locator("details[open] table").is_visible()


def test_names_that_would_do_something_do_nothing(look: Opener, tmp_path: Path) -> None:
    told = Told(tmp_path, 12, name=EVIL.replace("\udcff", ""), source=f"/{EVIL * 8}", folder_of=lambda _: EVIL * 8)
    told.fail_every(3)
    told.world.run()
    bad = Slow(EVIL * 8, 3.0, "succeeded", EVIL, "javascript:alert(1)")
    asked = replace(told.report(waits=EVIL), slowest=[bad], duplicates=[Twice(EVIL, EVIL, 1.0)], held=[EVIL])
    shown = look(written(asked, tmp_path), width=NARROW)

    assert shown.page.locator("script").count() == 0
    assert shown.overflow_px() == 0
    assert shown.inaccessible() == []
    assert shown.page.locator("#slowest a").count() == 0


def test_a_batch_under_way_and_an_empty_one_are_pages_too(look: Opener, tmp_path: Path) -> None:
    told = Told(tmp_path, 120)
    told.world.run(90)
    shown = look(written(told.report(waits="the provider asked to slow down"), tmp_path), width=NARROW)
    assert "Still running." in shown.page.locator(".result").inner_text()
    assert shown.page.get_by_role("note").inner_text().startswith("It waits")
    assert (shown.overflow_px(), shown.inaccessible()) == (0, [])

    (tmp_path / "none").mkdir()
    nothing = Told(tmp_path / "none", 0, name="")
    nothing.world.run()
    shown = look(written(nothing.report(), tmp_path))
    assert shown.page.locator("h1").inner_text() == nothing.id
    assert (shown.overflow_px(), shown.inaccessible()) == (0, [])


def test_on_paper_everything_is_there_and_nothing_is_cut(look: Opener, report: Report, tmp_path: Path) -> None:
    shown = look(written(report, tmp_path), dark=True)
    shown.page.emulate_media(media="print", color_scheme="dark")
    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.page.pdf(format="A4").startswith(b"%PDF")
