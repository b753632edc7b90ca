"""Flower's pages about batches: what they show, of what they are read, and what they do on a person's word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.connection import AbstractConnection

from config.embedded import EmbeddedServer
from config.settings import load_settings
from monitor.board import Board
from paceline import redis_keys as keys
from paceline.model import ErrorNote, State, submission_id
from paceline.operating import failed_ones
from paceline.pauses import find_pause
from paceline.views import Views
from tests.support.pages import LOGIN, NASTY, Ledger, Served, served


@dataclass
class Scene:
    """A ledger, a client of its server, and Flower on it."""

    ledger: Ledger
    client: Any
    flower: Served
    url: str

    @property
    def views(self) -> Views:
        return Views(self.client)

    def path(self, which: str, more: str = "") -> str:
        return f"/batch/{self.ledger.ids[which]}{more}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("flower")
    with EmbeddedServer(folder / "redis") as server:
        client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
        client.config_set("appendonly", "no")
        ledger = Ledger(client, folder).fill()
        url = f"unix://{server.socket_path}"
        with served(url, folder) as flower:
            yield Scene(ledger, client, flower, url)
        client.close()


def every_page(scene: Scene) -> list[str]:
    pages = ["/batches", "/batches?state=open&q=a&page=7"]
    for which in scene.ledger.ids:
        more = ("", "?part=1", "/submissions", "/submissions?reason=run_failed", "/cancel", "/retry", "/retry?part=1")
        pages += [scene.path(which, one) for one in more]
        pages += [f"/submission/{scene.ledger.submission(which, 2)}"]
    return pages


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_all_batches_are_listed_with_open_ones_first(scene: Scene) -> None:
    shown = scene.flower.ask("/batches").text
    order = [shown.index(f'href="/batch/{scene.ledger.ids[which]}"') for which in ("held", "running", "complete")]
    assert order == sorted(order)
    words = scene.flower.ask("/batches").words
    assert "1 running" not in words
    for text in ("72 of 72 files", "21 succeeded · 3 failed", "over budget", "Account fake", "No worker is alive"):
        assert text in words
    assert "of 40 in 60 s" in words


def test_batches_are_found_by_state_and_by_text(scene: Scene) -> None:
    def found(query: str) -> set[str]:
        ids = set(re.findall(r'href="/batch/(\w+)"', scene.flower.ask(f"/batches?{query}").text))
        return {which for which, batch in scene.ledger.ids.items() if batch in ids}

    assert found("state=complete") == {"complete"}
    assert found("state=paused") == {"paused"}
    assert found("state=open") == {"held", "running", "paused"}
    assert found("q=INVOICES") == {"complete"}
    assert found("q=%3Cb%3E") == {"held"}
    assert found("q=" + scene.ledger.ids["running"]) == {"running"}
    assert found("q=nothing+has+this+name") == set()


def test_a_page_shows_what_a_batch_came_to(scene: Scene) -> None:
    answer = scene.flower.ask(scene.path("complete"))
    for text in ("invoices 2026-10", "of 72", "run_failed 3", "24 runs took", "Credits 36", "exported finished"):
        assert text.replace("exported finished", "finished → exported") in answer.words
    failed = [scene.ledger.submission("complete", number) for number in (3, 7, 11)]
    assert [one for one in failed if f'href="/submission/{one}"' in answer.text] == failed
    held = scene.flower.ask(scene.path("held")).words
    assert "held: 1" in held
    assert "uncertain: 1" in held


def test_what_failed_for_a_reason_is_listed_in_pages(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.batch_page.PAGE", 2)
    found: list[str] = []
    query = "?reason=run_failed"
    for _ in range(2):
        text = scene.flower.ask(scene.path("complete", f"/submissions{query}")).text
        found += re.findall(r'href="/submission/([\w-]+)"', text)
        further = re.search(r'rel="next" href="([^"]+)"', text)
        query = further[1].replace("&amp;", "&") if further else ""
    assert found == [scene.ledger.submission("complete", number) for number in (3, 7, 11)]
    assert query == ""


def test_what_an_older_version_ended_is_said_to_be_missing_from_a_list(scene: Scene) -> None:
    key, page = keys.ended(scene.ledger.ids["complete"]), scene.path("complete", "/submissions?reason=run_failed")
    assert "earlier version" not in scene.flower.ask(page).words
    kept = scene.client.dump(key)
    try:
        scene.client.zrem(key, f"run_failed\n{scene.ledger.submission('complete', 3)}")
        assert "1 more ended with this under an earlier version" in scene.flower.ask(page).words
        scene.client.delete(key)
        words = scene.flower.ask(page).words
        assert "3 more ended with this under an earlier version" in words
        assert "None." not in words
    finally:
        scene.client.restore(key, 0, kept, replace=True)


def test_a_paused_account_is_named_however_many_accounts_there_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.board.MOST_ACCOUNTS", 1)
    scene.client.sadd(keys.ACCOUNTS, "another")  # before `fake` in the alphabet
    scene.flower.act("/account/fake/pause", page="/batches", why="no money left")
    try:
        words = scene.flower.ask("/batches?q=letters").words
        assert "no money left" in words
        assert "1 more account" in words
    finally:
        scene.flower.act("/account/fake/resume", page="/batches")
        scene.client.srem(keys.ACCOUNTS, "another")


def test_submissions_are_paged_by_number_with_halves_behind(scene: Scene) -> None:
    batch = scene.ledger.ids["running"]
    half = submission_id(batch, 10**9 + 1)
    scene.client.hset(keys.batch(batch), mapping={"extra": 1, "total": 61})
    scene.client.zadd(keys.halves(batch), {half: 10**9 + 1})
    try:
        board, view = Board(scene.client, scene_settings(scene)), scene.views.batch(batch)
        assert board.page(view, 0, 3) == [submission_id(batch, number) for number in (1, 2, 3)]
        assert board.page(view, 58, 10) == [submission_id(batch, 59), submission_id(batch, 60), half]
        assert board.page(view, 60, 10) == [half]
    finally:
        scene.client.hdel(keys.batch(batch), "extra")
        scene.client.hset(keys.batch(batch), "total", 60)
        scene.client.delete(keys.halves(batch))


def test_a_number_leads_to_the_page_that_has_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.batch_page.PAGE", 7)
    wanted = scene.ledger.submission("running", 30)
    assert wanted in scene.flower.ask(scene.path("running", "/submissions?number=30")).text
    assert wanted not in scene.flower.ask(scene.path("running", "/submissions")).text


def test_a_submission_shows_its_files_its_journal_and_what_to_type(scene: Scene) -> None:
    words = scene.flower.ask(f"/submission/{scene.ledger.submission('held', 2)}").words
    for text in ("held", "ambiguous_answer", "uncertain → held", "0002/a.txt", "--resubmit", "Flower has seen none"):
        assert text in words


def test_names_that_are_code_or_no_text_at_all_are_shown_as_they_are(scene: Scene) -> None:
    for path in every_page(scene):
        answer = scene.flower.ask(path)
        assert answer.code in (200, 404), path
        assert NASTY not in answer.text, path
        assert "<b>old" not in answer.text, path
    shown = scene.flower.ask(f"/submission/{scene.ledger.submission('paused', 1)}").words
    assert f"0001/{NASTY}" in shown
    assert "0001/\\udcff\\udcfe.txt" in shown


def test_a_reason_that_turns_the_line_round_is_shown_as_it_is(scene: Scene) -> None:
    batch = keys.batch(scene.ledger.ids["running"])
    scene.client.hset(batch, "why:\u202eno", 1)
    try:
        for more in ("", "/submissions", "/retry"):
            shown = scene.flower.ask(scene.path("running", more)).text
            assert "\u202e" not in shown, more
            assert "\\u202eno" in shown, more
    finally:
        scene.client.hdel(batch, "why:\u202eno")


def test_only_web_addresses_are_links(scene: Scene) -> None:
    item = scene.ledger.submission("complete", 1)
    former = scene.client.hget(keys.submission(item), "run_url")
    try:
        scene.client.hset(keys.submission(item), "run_url", "javascript:alert(1)")
        assert "javascript" not in scene.flower.ask(f"/submission/{item}").text
        assert "javascript" not in scene.flower.ask(scene.path("complete", "/submissions")).text
        scene.client.hset(keys.submission(item), "run_url", "https://runs.example/1?a=1&b=2")
        assert 'href="https://runs.example/1?a=1&amp;b=2"' in scene.flower.ask(f"/submission/{item}").text
    finally:
        if former is None:
            scene.client.hdel(keys.submission(item), "run_url")
        else:
            scene.client.hset(keys.submission(item), "run_url", former)


def test_every_page_of_flower_leads_to_the_batches(scene: Scene) -> None:
    for path in ("/workers", "/tasks", "/batches"):
        assert 'href="/batches"' in scene.flower.ask(path).text
    assert scene.flower.ask("/workers").text.count('aria-current="page"') == 1


def test_pages_forbid_what_they_dont_need(scene: Scene) -> None:
    for path in every_page(scene):
        answer = scene.flower.ask(path)
        policy = answer.headers["content-security-policy"]
        assert "'unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", answer.text), path
    assert scene.flower.ask("/batches/static/live.js").code == 200
    assert scene.flower.ask("/batches/static/../extension.py").code in (403, 404)


def test_schedules_are_shown_with_their_last_night_and_their_next(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").write_text(
        '[schedules.nightly]\ncron = "0 2 * * *"\nzone = "Europe/Berlin"\n'
        'source = "in"\nagent = "fake:7"\nto = "out/{date}"\n'
    )
    due_ms, batch = 1_795_300_000_000, scene.ledger.ids["complete"]
    with served(scene.url, tmp_path) as flower:
        assert "nightly 0 2 * * * in Europe/Berlin none yet" in flower.ask("/batches").words
        assert "No live beat" in flower.ask("/batches").words
        night = {"state": "started", "batch": batch, "asked": '{"due": "2026-11-22T02:00+01:00"}'}
        scene.client.hset(keys.night("nightly", due_ms), mapping=night)
        scene.client.zadd(keys.nights("nightly"), {str(due_ms): due_ms})
        scene.client.hset(
            keys.schedule("nightly"), mapping={"paused_ms": due_ms, "paused_by": "ana", "paused_why": NASTY}
        )
        try:
            shown = flower.ask("/batches")
            assert "2026-11-22T02:00+01:00 complete" in shown.words
            assert shown.text.count(f'href="/batch/{batch}"') == 2
            assert f"by ana {NASTY}" in shown.words
            assert NASTY not in shown.text
            assert re.search(r"complete \d{4}-\d\d-\d\dT02:00", shown.words)
        finally:
            scene.client.delete(keys.night("nightly", due_ms), keys.nights("nightly"), keys.schedule("nightly"))


def test_what_isnt_there_is_not_found(scene: Scene) -> None:
    for path in ("/batch/b000000000", "/batch/b000000000/submissions", "/submission/b000000000-000001", "/batch/nope"):
        assert scene.flower.ask(path).code == 404


# -- of what it is read ----------------------------------------------------------------------------------------------


def scene_settings(scene: Scene) -> Any:
    return load_settings({"PACELINE_REDIS_URL": scene.url}, scene.ledger.folder)


def test_the_number_of_round_trips_is_the_same_for_any_number_of_submissions(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [0]
    real: Any = AbstractConnection.send_packed_command

    def counting(self: Any, *args: Any, **options: Any) -> None:
        sent[0] += 1
        real(self, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)

    def trips(path: str) -> int:
        scene.flower.ask(path)  # connections and scripts are there by now
        sent[0] = 0
        assert scene.flower.ask(path).code == 200
        return sent[0]

    small, large = "held", "running"
    for more in ("?part=1", "/submissions", "/submissions?reason=x", "/cancel"):
        assert trips(scene.path(small, more)) == trips(scene.path(large, more)) <= 6
    assert trips("/batches?q=letters") == trips("/batches") <= 5
    assert trips(f"/submission/{scene.ledger.submission(large, 9)}") <= 8


def test_what_is_damaged_spoils_nothing_else(scene: Scene) -> None:
    batch, item = scene.ledger.ids["complete"], scene.ledger.submission("complete", 2)
    spoilt = {
        keys.batch(batch): ("total", "many"),
        keys.submission(item): ("generation", "?"),
        keys.account("fake"): ("t:credits", "a lot"),
        keys.files(scene.ledger.submission("complete", 5)): None,
    }
    kept = {key: scene.client.dump(key) for key in spoilt}
    try:
        for key, change in spoilt.items():
            if change is None:
                scene.client.set(key, b"no such thing")
            else:
                scene.client.hset(key, *change)
        shown = scene.flower.ask("/batches")
        assert (shown.code, shown.words.count("can't be read")) == (200, 2)  # the batch, the account
        assert scene.ledger.ids["running"] in shown.text
        assert scene.flower.ask(scene.path("complete")).code == 500
        assert scene.flower.ask(f"/submission/{item}").code == 500
        scene.client.restore(keys.batch(batch), 0, kept[keys.batch(batch)], replace=True)
        listed = scene.flower.ask(scene.path("complete", "/submissions"))
        assert (listed.code, listed.words.count("can't be read")) == (200, 1)
        files = scene.flower.ask(f"/submission/{scene.ledger.submission('complete', 5)}")
        assert (files.code, "files can't be read" in files.words) == (200, True)
    finally:
        for key, value in kept.items():
            scene.client.restore(key, 0, value, replace=True)


def test_pages_say_that_redis_is_away_and_come_back_with_it(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    try:
        with served(f"unix://{server.socket_path}", tmp_path) as flower:
            assert flower.ask("/batches").code == 200
            server.stop()
            for path in ("/batches", "/batches?part=1", "/batch/b000000000"):
                away = flower.ask(path)
                assert away.code == 503
                assert "Redis doesn't answer" in away.words
            done = flower.act("/account/fake/pause", page="/batches")
            assert "look whether it was done" in done.words
            server.start()
            assert flower.ask("/batches").code == 200
    finally:
        server.stop()


# -- what is done ----------------------------------------------------------------------------------------------------


def test_a_batch_is_paused_and_resumed_from_its_page(scene: Scene) -> None:
    batch, page = scene.ledger.ids["running"], scene.path("running")
    after = scene.flower.act(f"{page}/pause", page=page, why="over <budget>")
    assert "is paused" in after.words
    pause = find_pause(scene.client, scene.views.batch(batch))
    assert pause is not None
    assert pause.message == f"over <budget> (go on with: paceline resume {batch})"
    assert pause.by is not None
    assert pause.by.endswith("from Flower")
    assert "is paused" not in scene.flower.ask(page).words  # the note is shown once
    assert "goes on" in scene.flower.act(f"{page}/resume", page=page).words
    assert find_pause(scene.client, scene.views.batch(batch)) is None


def test_an_account_is_paused_and_resumed_from_the_list(scene: Scene) -> None:
    assert "Account fake is paused" in scene.flower.act("/account/fake/pause", page="/batches", why="").words
    assert scene.views.account("fake").paused == "by_person"
    assert "Resume account fake" in scene.flower.ask(scene.path("running")).words
    assert "Account fake goes on" in scene.flower.act("/account/fake/resume", page="/batches").words
    assert "no account other" in scene.flower.act("/account/other/pause", page="/batches").words


def test_what_failed_is_sent_again_after_a_word_about_the_cost(scene: Scene) -> None:
    batch = scene.ledger.plan("again", 3)
    world, page = scene.ledger.world, f"/batch/{batch}"
    for number in (1, 2, 3):
        fail(scene, submission_id(batch, number))
    asked = scene.flower.ask(f"{page}/retry?reason=run_failed").words
    assert "Send 3 submissions again?" in asked
    assert "paid for again" in asked
    assert 'name="number" value="3"' in scene.flower.ask(f"{page}/retry?reason=run_failed").text
    old = scene.flower.act(f"{page}/retry", page=f"{page}/retry?reason=run_failed", reason="run_failed", number="2")
    assert "it would be 3 submissions by now, not 2" in old.words
    assert world.states(batch) == {"exported": 3}
    done = scene.flower.act(f"{page}/retry", page=f"{page}/retry?reason=run_failed", reason="run_failed", number="3")
    assert "3 submissions will be sent again" in done.words
    assert world.states(batch) == {"planned": 3}
    assert "Nothing is left" in scene.flower.act(f"{page}/retry", page="/batches", reason="").words


@pytest.mark.timeout(60)
def test_what_failed_is_found_in_parts_with_and_without_the_index(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paceline.operating._AT_ONCE", 2)
    batch = scene.views.batch(scene.ledger.ids["complete"])
    wanted = [scene.ledger.submission("complete", number) for number in (3, 7, 11)]

    def found(reason: str | None) -> list[str]:
        return [item.id for item in failed_ones(scene.views, batch, reason)]

    assert (found(None), found("run_failed"), found("cancelled")) == (wanted, wanted, [])
    kept = scene.client.dump(keys.ended(batch.id))
    scene.client.zrem(keys.ended(batch.id), f"run_failed\n{wanted[0]}")  # as a worker of version 0.1 leaves it
    try:
        assert (found(None), found("run_failed"), found("timed_out")) == (wanted, wanted, [])
    finally:
        scene.client.restore(keys.ended(batch.id), 0, kept, replace=True)


def fail(scene: Scene, item: str) -> None:
    """End a submission as failed."""
    ledger = scene.ledger.world.ledger
    ledger.reject(item, 1, reason="run_failed", error=ErrorNote("provider", "run", "no"))
    ledger.exported(item, 2)


def test_a_batch_is_cancelled_after_a_word_about_what_ends(scene: Scene) -> None:
    batch = scene.ledger.plan("for nothing", 4)
    page = f"/batch/{batch}"
    assert "4 submissions will not be sent" in scene.flower.ask(f"{page}/cancel").words
    done = scene.flower.act(f"{page}/cancel", page=f"{page}/cancel")
    assert "is being cancelled" in done.words
    found = scene.views.batch(batch)
    assert (found.state.value, found.paused_message) == ("cancelling", found.paused_message)
    assert "from Flower" in (found.paused_message or "")
    assert "was cancelled" in scene.flower.act(f"{page}/resume", page="/batches").words


def test_a_batch_whose_folder_is_elsewhere_is_not_cancelled_from_here(scene: Scene) -> None:
    batch = scene.ledger.plan("far away", 1)
    Path(scene.views.batch(batch).manifest).unlink()
    assert f"paceline cancel {batch}" in scene.flower.ask(f"/batch/{batch}/cancel").words
    assert "isn't on this machine" in scene.flower.act(f"/batch/{batch}/cancel", page="/batches").words
    assert scene.views.batch(batch).by_state[State.PLANNED] == 1
    assert scene.views.batch(batch).paused is None


# -- for whom --------------------------------------------------------------------------------------------------------

FORGED = {
    "no token": ({}, {}),
    "a wrong token": ({"_xsrf": "2|1234abcd|00112233445566778899aabbccddeeff|1700000000"}, {}),
    "another origin": (None, {"Origin": "http://evil.example"}),
    "no origin a browser would send": (None, {"Origin": "null"}),
    "another site": (None, {"Sec-Fetch-Site": "cross-site"}),
    "a neighbour": (None, {"Sec-Fetch-Site": "same-site"}),
}


@pytest.mark.parametrize("how", FORGED)
@pytest.mark.parametrize("login", [None, LOGIN])
def test_forged_forms_change_nothing(scene: Scene, how: str, login: tuple[str, str] | None, tmp_path: Path) -> None:
    fields, headers = FORGED[how]
    batch = scene.ledger.ids["running"]
    with served(scene.url, tmp_path, login=login) as flower:
        token = flower.token(f"/batch/{batch}")
        form = {"_xsrf": token} if fields is None else fields
        for path in (f"/batch/{batch}/pause", f"/batch/{batch}/cancel", "/account/fake/pause"):
            assert flower.ask(path, form=form, headers=headers).code == 403
    assert scene.views.batch(batch).paused is None
    assert scene.views.account("fake").paused is None


def test_a_name_that_was_made_to_lead_here_gets_nothing(scene: Scene) -> None:
    for path in every_page(scene):
        refused = scene.flower.ask(path, headers={"Host": "evil.example:5555"})
        assert refused.code == 403
        assert "invoices" not in refused.text
    assert scene.flower.ask("/batches", headers={"Host": f"localhost:{scene.flower.port}"}).code == 200


def test_nobody_gets_past_the_login_and_its_user_is_noted(scene: Scene, tmp_path: Path) -> None:
    batch, page = scene.ledger.ids["running"], scene.path("running")
    with served(scene.url, tmp_path, login=LOGIN) as flower:
        outsider = Served(flower.port)
        assert {outsider.ask(path).code for path in every_page(scene)} == {401}
        assert Served(flower.port, ("ana", "wrong")).ask("/batches").code == 401
        flower.act(f"{page}/pause", page=page)
        pause = find_pause(scene.client, scene.views.batch(batch))
        assert pause is not None
        assert pause.by == "ana from Flower"
        flower.act(f"{page}/resume", page=page)
        assert flower.ask("/batches", headers={"Host": "flower.example.org"}).code == 200


def test_a_flower_that_only_reads_does_nothing(scene: Scene, tmp_path: Path) -> None:
    with served(scene.url, tmp_path, read_only=True) as flower:
        assert "formaction" not in flower.ask(scene.path("running")).text
        token = flower.token(scene.path("running"))
        assert flower.ask(scene.path("running", "/pause"), form={"_xsrf": token}).code == 403
    assert scene.views.batch(scene.ledger.ids["running"]).paused is None


def test_a_ledger_that_another_version_has_taken_over_is_not_taken_for_a_redis_that_is_away(scene: Scene) -> None:
    page = scene.path("running")
    token = scene.flower.token(page)
    before = scene.client.hget(keys.META, "format")
    try:
        scene.client.hset(keys.META, "format", "99")
        read = scene.flower.ask("/batches")
        form = {"_xsrf": token}
        scene.flower.ask(f"{page}/pause", form=form, headers={"Origin": scene.flower.url})
    finally:
        scene.client.hset(keys.META, "format", before) if before else scene.client.hdel(keys.META, "format")
    assert read.code == 503
    assert "is of format 99" in read.words
    assert "is of format 99" in scene.flower.ask(page).words
