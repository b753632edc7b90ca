"""A real browser without a window, and pages that must not complain.

`look` opens pages; whatever a page logs as an error, fails to load or asks of another host makes the test fail.
`make screenshots` runs the same tests and keeps the pictures that they take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.browser import chromium

WIDE, NARROW = 1280, 390
"""Widths in CSS pixels: a laptop, a telephone."""

HERE = {"127.0.0.1", "localhost", "", None}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make screenshots` say where pictures go."""
    parser.addoption("--screenshots", help="keep the pictures in this folder")


@dataclass
class Look:
    """One open page, and what went wrong in it. `page` is Playwright's; `problems` must stay empty."""

    page: Any
    problems: list[str] = field(default_factory=list)
    pictures: Path | None = None
    expected: tuple[str, ...] = ()

    def expect(self, *texts: str) -> None:
        """Take problems for wanted whose text contains one of these."""
        self.expected += texts

    def note(self, problem: str) -> None:
        """Remember a problem."""
        self.problems.append(problem)

    def overflow_px(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def inaccessible(self, *, within: str = "", leave_out: tuple[str, ...] = ()) -> list[str]:
        """Return axe's findings, each as `rule: element`; `within` is a selector, `leave_out` are rules."""
        options = {"rules": {rule: {"enabled": False} for rule in leave_out}}
        context = {"include": [[within]]} if within else None
        found = Axe().run(self.page, context=context, options=options).response["violations"]
        return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]

    def tabs(self, most: int = 60) -> list[str]:
        """Press Tab until the focus leaves the page or comes back; return what had it, as `tag text`."""
        which = (
            "(e => e === document.body ? '' : e.tagName.toLowerCase() + ' ' + (e.innerText || e.value || '').trim())"
        )
        reached: list[str] = []
        first = None
        for _ in range(most):
            self.page.keyboard.press("Tab")
            element = self.page.evaluate_handle("document.activeElement")
            if first is not None and element.evaluate("(e, other) => e === other", first):
                break
            first = first or element
            text = str(self.page.evaluate(f"{which}(document.activeElement)"))
            if not text:
                break
            reached.append(text)
        return reached

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Take a picture, which is kept as `name`.png by `make screenshots`; always taken, so that it can be."""
        raw = self.page.screenshot(full_page=whole, animations="disabled")
        if self.pictures is not None:
            (self.pictures / f"{name}.png").write_bytes(raw)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Run one Chromium for all tests of this process."""
    path = chromium.find()
    assert path is not None, "no Chromium: make .venv/.browser installs one"
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = playwright.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()


@pytest.fixture
def look(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Look]]:
    """Open pages: `look(url, width=WIDE, dark=False, login=(user, password))`; they are checked when the test ends."""
    opened: list[tuple[Any, Look]] = []
    kept = request.config.getoption("--screenshots")

    def open_page(
        url: str, *, width: int = WIDE, height: int = 800, dark: bool = False, login: tuple[str, str] | None = None
    ) -> Look:
        more = {"http_credentials": {"username": login[0], "password": login[1]}} if login else {}
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        shown = Look(context.new_page(), pictures=Path(kept).absolute() if kept else None)
        if shown.pictures:
            shown.pictures.mkdir(parents=True, exist_ok=True)
        shown.page.on("console", lambda line: shown.note(f"console: {line.text}") if line.type == "error" else None)
        shown.page.on("pageerror", lambda error: shown.note(f"script: {error}"))
        shown.page.on("request", lambda asked: _only_here(shown, asked.url))
        opened.append((context, shown))
        shown.page.goto(url)
        return shown

    yield open_page
    for context, _ in opened:
        context.close()
    left = [one for _, shown in opened for one in shown.problems if not any(text in one for text in shown.expected)]
    assert left == []


def _only_here(shown: Look, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in HERE:
        shown.note(f"asks another host: {parts.hostname}")
