"""The browser is a real one, and complaints of a page make its test fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.browser.conftest import NARROW, Look

PAGE = """<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"></head><body><main><h1>Here</h1><a href="#x">one</a> <button>two</button>{}
</main></body></html>"""


def page(folder: Path, more: str = "") -> str:
    file = folder / "page.html"
    file.write_text(PAGE.format(more), "utf-8")
    return file.as_uri()


def test_a_good_page_has_nothing_to_complain_of(look: Callable[..., Look], tmp_path: Path) -> None:
    shown = look(page(tmp_path), width=NARROW)
    assert shown.page.title() == "A page"
    assert shown.inaccessible() == []
    assert shown.overflow_px() == 0
    assert shown.tabs() == ["a one", "button two"]


def test_what_is_wrong_with_a_page_is_noticed(look: Callable[..., Look], tmp_path: Path) -> None:
    wrong = (
        "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='><p style='width:900px'>wide</p><script>oops()</script>"
    )
    shown = look(page(tmp_path, wrong), width=NARROW)
    assert [one.partition(":")[0] for one in shown.inaccessible()] == ["image-alt"]
    assert shown.overflow_px() > 0
    assert [one for one in shown.problems if "oops" in one]
    shown.expect("oops")


def test_a_page_that_asks_another_host_is_noticed(look: Callable[..., Look], tmp_path: Path) -> None:
    shown = look(page(tmp_path, "<img alt='' src='http://192.0.2.1/x.png'>"))
    assert shown.problems[0] == "asks another host: 192.0.2.1"
    shown.expect("192.0.2.1", "ERR_")
