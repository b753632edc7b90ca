"""Flower's pages about batches in a real browser: they keep up to date, do what is clicked, and read well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from config.embedded import EmbeddedServer
from paceline import redis_keys as keys
from paceline.model import EndpointClass
from paceline.schedules.beats import note_beat
from paceline.schedules.due import at_ms, written
from paceline.schedules.night import NightState
from paceline.schedules.nights import Nights
from paceline.scripts import Scripts
from paceline.views import Views
from tests.browser.conftest import NARROW, WIDE, Look
from tests.support import world as worlds
from tests.support.pages import LOGIN, Ledger, Served, served

LATER_MS = 30_000
"""Far more than the two seconds between two looks of a page."""

FLOWERS_OWN = ("region",)
"""A rule that Flower's frame breaks: its skip link and its toasts are in no landmark."""


@dataclass
class Scene:
    """A ledger and Flower on it."""

    ledger: Ledger
    client: Any
    flower: Served
    server: EmbeddedServer

    def url(self, which: str = "", more: str = "") -> str:
        path = f"/batch/{self.ledger.ids[which]}" if which else "/batches"
        return f"{self.flower.url}{path}{more}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("flower")
    with EmbeddedServer(folder / "redis") as server:
        client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
        ledger = Ledger(client, folder).fill()
        with served(f"unix://{server.socket_path}", folder) as flower:
            yield Scene(ledger, client, flower, server)
        client.close()


def live(shown: Look) -> None:
    """Wait until the page has looked for itself."""
    shown.page.wait_for_selector("#pl-status:not([hidden])", timeout=LATER_MS)


def test_a_page_keeps_itself_up_to_date_and_focus_where_it_is(look: Callable[..., Look], scene: Scene) -> None:
    shown = look(scene.url())
    live(shown)
    link = shown.page.locator(f'#batches a[href="/batch/{scene.ledger.ids["paused"]}"]')
    link.focus()
    scene.client.hset(f"pl:b:{scene.ledger.ids['complete']}", "name", "renamed <i>meanwhile</i>")
    shown.page.wait_for_selector("text=renamed <i>meanwhile</i>", timeout=LATER_MS)
    assert link.evaluate("e => e === document.activeElement")
    scene.client.hset(f"pl:b:{scene.ledger.ids['complete']}", "name", "invoices 2026-10")


def test_a_batch_is_paused_and_resumed_by_keyboard(look: Callable[..., Look], scene: Scene) -> None:
    batch, views = scene.ledger.ids["running"], Views(scene.client)
    shown = look(scene.url("running"))
    live(shown)
    shown.page.click("summary")
    shown.page.fill("#pl-why", "the invoices first")
    shown.page.focus("#pause")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector("text=is paused: nothing more is sent", timeout=LATER_MS)
    assert (views.batch(batch).paused_message or "").startswith("the invoices first")
    shown.page.wait_for_selector("#waits >> text=the invoices first", timeout=LATER_MS)
    shown.page.focus("#resume")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector("text=goes on.", timeout=LATER_MS)
    assert views.batch(batch).paused is None


def test_cancelling_says_first_what_it_ends(look: Callable[..., Look], scene: Scene) -> None:
    batch = scene.ledger.plan("for nothing", 4)
    shown = look(f"{scene.flower.url}/batch/{batch}")
    shown.page.click("text=Cancel…")
    shown.page.wait_for_selector("text=4 submissions will not be sent", timeout=LATER_MS)
    shown.page.click("text=Leave it as it is")
    shown.page.wait_for_selector("#pause", timeout=LATER_MS)
    shown.page.click("text=Cancel…")
    shown.page.click("button:has-text('Cancel the batch')")
    shown.page.wait_for_selector("text=is being cancelled", timeout=LATER_MS)
    assert Views(scene.client).batch(batch).state == "cancelling"
    scene.client.zrem("pl:batches", batch)


def test_everything_that_can_be_done_is_reached_by_tab(look: Callable[..., Look], scene: Scene) -> None:
    shown = look(scene.url("running"))
    reached = " | ".join(shown.tabs())
    for text in ("a Batches", "summary Give a reason", "button Pause |", "a Cancel…", "a All submissions"):
        assert text in reached, reached
    assert "button Pause account fake" in reached
    shown = look(scene.url())
    reached = " | ".join(shown.tabs())
    for text in ("button Filter", "a letters", "button Pause account fake"):
        assert text in reached, reached


def test_a_page_says_that_redis_is_away_and_goes_on_by_itself(look: Callable[..., Look], tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "redis") as server, served(f"unix://{server.socket_path}", tmp_path) as flower:
        shown = look(f"{flower.url}/batches")
        shown.expect("503")
        live(shown)
        server.stop()
        shown.page.wait_for_selector("#pl-status >> text=Redis doesn't answer", timeout=LATER_MS)
        shown.page.reload()
        shown.page.wait_for_selector(".alert >> text=Redis doesn't answer", timeout=LATER_MS)
        server.start()
        shown.page.wait_for_selector("text=No batches yet", timeout=LATER_MS)
        assert shown.page.inner_text("#pl-said") == "Live"
        shown.page.close()  # it would ask a Flower that has ended


@pytest.mark.parametrize(("width", "dark"), [(WIDE, True), (NARROW, False)])
def test_every_page_fits_and_reads_well(look: Callable[..., Look], scene: Scene, width: int, dark: bool) -> None:
    item = f"{scene.flower.url}/submission/{scene.ledger.submission('held', 2)}"
    pages = [scene.url(), scene.url("held"), scene.url("complete"), item, scene.url("complete", "/retry")]
    shown = look(pages[0], width=width, dark=dark)
    for url in pages:
        shown.page.goto(url)
        assert shown.page.locator("html").get_attribute("data-bs-theme") == ("dark" if dark else "light")
        assert shown.overflow_px() == 0, url
        assert shown.inaccessible(within="#main-content", leave_out=FLOWERS_OWN) == [], url


def test_pages_behind_a_login_update_themselves(look: Callable[..., Look], scene: Scene, tmp_path: Path) -> None:
    with served(f"unix://{scene.server.socket_path}", tmp_path, login=LOGIN) as flower:
        shown = look(f"{flower.url}/batches", login=LOGIN)
        shown.page.wait_for_selector("#pl-said >> text=Live", timeout=LATER_MS)
        shown.page.wait_for_selector("text=letters", timeout=LATER_MS)
        shown.page.close()


def test_without_scripts_all_is_there(browser: Any, scene: Scene) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(scene.url("running"))
        assert page.locator("#pause").is_visible()
        assert not page.locator("#pl-status").is_visible()
        page.click("#pause")
        assert "is paused" in page.inner_text(".alert-success")
        page.click("#resume")
        assert "goes on" in page.inner_text(".alert-success")
    finally:
        context.close()


def test_pictures_for_the_docs(look: Callable[..., Look], tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "redis") as server:
        client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
        ledger = Ledger(client, tmp_path).fill()
        dress_up(client, ledger)
        schedule(client, tmp_path, ledger)
        with served(f"unix://{server.socket_path}", tmp_path) as flower:
            shown = look(f"{flower.url}/batches", height=1100)
            live(shown)
            assert "nightly" in shown.page.inner_text("#pl-live")
            shown.picture("flower-batches", whole=True)
            shown.page.close()  # before its server ends: it would ask in vain, and say so
            shown = look(f"{flower.url}/batch/{ledger.ids['complete']}", height=900, dark=True)
            live(shown)
            shown.picture("flower-batch")
            shown.page.close()
        client.close()
    worlds.MADE.clear()  # its server has ended before it would be looked at


def schedule(client: Any, folder: Path, ledger: Ledger) -> None:
    """Give the settings a schedule, whose last night is the batch that is complete, and a beat."""
    (folder / "paceline.toml").write_text(
        '[schedules.nightly]\ncron = "0 2 * * *"\nzone = "Europe/Berlin"\nsource = "invoices"\nagent = "fake:7"\n'
        'to = "results/{date}"\n'
    )
    now_ms = int(client.time()[0]) * 1000
    nights, due = Nights(client, Scripts(client)), now_ms - 3_600_000
    nights.claim(
        "nightly", due, NightState.STARTING, {"due": written(at_ms(due))}, holder="w", lease_s=60, decided_ms=None
    )
    nights.keep("nightly", due, "w", 60, ledger.ids["complete"])
    nights.end("nightly", due, "w", NightState.STARTED, begun=True)
    note_beat(client, "host-1:4519@90f3ad1c", now_ms, 600)


def dress_up(client: Any, ledger: Ledger) -> None:
    """Give a ledger names as people choose them, two workers, and an hour of work."""
    now_ms = int(client.time()[0]) * 1000
    client.hset(keys.batch(ledger.ids["paused"]), mapping={"name": "receipts", "paused_message": "over budget"})
    client.hset(keys.batch(ledger.ids["held"]), "name", "contracts")
    client.hset(keys.batch(ledger.ids["complete"]), mapping={"source": "/data/invoices", "to": '["/data/results"]'})
    for number in (1, 2):
        name, queues = f"host-{number}:4520@90f3ad1c", ["submit.fake", "control", "export"][: 4 - number]
        sign = {"worker": name, "queues": queues, "addresses": {"fake": ""}}
        client.set(keys.worker(name), json.dumps(sign), ex=600)
        client.zadd(keys.WORKERS, {name: now_ms + 600_000})
    minutes = {f"m:{now_ms // 60_000 - back}": 36 + back * 5 % 4 for back in range(60)}
    client.hset(keys.pace_state("fake", EndpointClass.ADD), mapping=minutes)
