"""No secret is in anything that a batch leaves, sends or shows, whatever the provider and Redis do meanwhile (I4)."""

from __future__ import annotations

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from tests.support.canary import Canary, CommandWatch, RedisWatch
from tests.support.command import Paceline, Result, make_files, wait_for
from tests.support.echo_provider import EchoProvider
from tests.support.sandbox import Sandbox
from tests.support.server import free_port, redis_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads command lines from /proc")

KEY = Canary("sk-canary-9f27ac5d1f0c7e-8b31+/e6f4=")
ELSEWHERE = "127.0.0.2"
PASSWORD = Canary("redis-canary/4be1:c07f@93a5#d2+86%b0")


def found(data: str | bytes, place: str) -> list[str]:
    """Return the findings of both secrets."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return KEY.in_bytes(raw, place) + PASSWORD.in_bytes(raw, place)


@dataclass
class Scene:
    """A folder with a Redis that wants a password, and everything that commands have said."""

    folder: Path
    url: str
    client: Any
    said: list[str] = field(default_factory=list)

    def say(self, result: Result) -> Result:
        self.said.append(f"{result.stdout}\n{result.stderr}")
        return result

    def findings(self) -> list[str]:
        """Search output of commands, every file (append-only file, logs, results), and every key."""
        findings = found("\n".join(self.said), "what commands said")
        findings += KEY.in_folder(self.folder) + PASSWORD.in_folder(self.folder)
        return findings + KEY.in_redis(self.client) + PASSWORD.in_redis(self.client)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with redis_server(tmp_path / "redis") as url:
        client: Any = redis.Redis.from_url(url)
        client.config_set("requirepass", PASSWORD.secret)  # an option would be in the server's own command line
        client.close()
        with_password = url.replace("redis://", f"redis://:{quote(PASSWORD.secret, safe='')}@")
        client = redis.Redis.from_url(with_password)
        yield Scene(tmp_path, with_password, client)
        client.close()


def logs(paceline: Paceline) -> str:
    return "".join(path.read_text("utf-8", "replace") for path in (paceline.home / "log").glob("worker-*.log"))


def test_nothing_shows_a_secret_while_everything_goes_wrong(scene: Scene) -> None:
    make_files(scene.folder / "files", 16)
    with (
        EchoProvider(lambda key: f"Bearer {key}") as provider,
        CommandWatch() as commands,
        RedisWatch(scene.url) as sent,
        Paceline(scene.folder, url=provider.url, key=KEY.secret, redis_url=scene.url) as paceline,
    ):
        run = ("--debug", "run", "files", "--agent", "kolena:1", "--files-per-run", "2", "--to")
        process = paceline.start(*run, "out")
        wait_for(lambda: len(provider.posts) >= 3, "three submissions")
        turn_away(scene, paceline)
        out, err = process.communicate(timeout=120)
        scene.said += [out, err]
        assert process.returncode == 1, out + err  # one submission was refused, one run failed
        provoke_traceback(scene, paceline, run)
        look_around(scene, paceline)

    assert found(b"\n".join(commands.lines), "command lines") == []
    assert found(sent.record, "what was sent to Redis") == []
    assert scene.findings() == []
    assert scene.client.dbsize() > 20


def turn_away(scene: Scene, paceline: Paceline) -> None:
    """Change the password for a moment, so that whoever connects anew is refused, and complains."""
    scene.client.config_set("requirepass", "another")
    scene.client.client_kill_filter(_type="normal", skipme=True)
    try:
        wait_for(lambda: "WARNING" in logs(paceline) or "ERROR" in logs(paceline), "a complaint")
    finally:
        scene.client.config_set("requirepass", PASSWORD.secret)


def provoke_traceback(scene: Scene, paceline: Paceline, run: tuple[str, ...]) -> None:
    """Spoil what the ledger has about a batch, so that its workers fail where nobody expects it."""
    scene.say(paceline("pause", "--account", "kolena"))
    assert scene.say(paceline(*run, "out-2")).code == 3
    known = set(scene.client.keys("pl:s:*:files"))
    spoilt = [key for key in known if scene.client.hget(key.removesuffix(b":files"), "state") == b"planned"]
    assert spoilt
    for key in spoilt:
        scene.client.set(key, b"no such thing")
    scene.say(paceline("resume", "--account", "kolena"))
    process = paceline.start(*run, "out-2")
    wait_for(lambda: "Traceback" in logs(paceline), "a traceback")
    scene.say(paceline.interrupt(process))


def look_around(scene: Scene, paceline: Paceline) -> None:
    """Ask every verb that shows something."""
    batches = [row["batch"] for row in scene.say(paceline("--debug", "list", "--json")).json()]
    assert len(batches) == 2
    shown = [scene.say(paceline("--debug", "show", f"{batches[0]}-{number}")) for number in (1, 2, 3)]
    assert "***" in "".join(result.stdout for result in shown)  # the provider's words are there, the key isn't
    for verb in (("status",), ("status", batches[0]), ("list",), ("limits",), ("doctor", "--agent", "kolena:1")):
        scene.say(paceline("--debug", *verb))
    wrong = scene.url.replace("canary", "parrot")
    assert scene.say(paceline("--debug", "status", extra={"PACELINE_REDIS_URL": wrong})).code == 6
    beheaded = f"redis://:{PASSWORD.secret}@127.0.0.1:6379/0"  # as somebody writes it who doesn't know of %2F
    assert scene.say(paceline("--debug", "status", extra={"PACELINE_REDIS_URL": beheaded})).code == 6


WORKERS = "/api/workers?refresh=true"
PAGES = ["/", "/workers?refresh=true", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/task/types", WORKERS]
PAGES += ["/api/queues/length", "/batches", "/batches?part=1"]


def test_no_page_of_flower_shows_a_secret(scene: Scene) -> None:
    make_files(scene.folder / "files", 4)
    port = free_port()
    options = {"key": KEY.secret, "redis_url": scene.url, "events": "true"}
    with (
        Sandbox("--run-seconds", "0.2") as sandbox,
        CommandWatch() as commands,
        Paceline(scene.folder, url=sandbox.url, **options) as paceline,
    ):
        assert scene.say(paceline("up")).code == 0
        # Without this, or a password, Flower shows less.
        flower = paceline.start("flower", "--port", str(port), extra={"FLOWER_UNAUTHENTICATED_API": "true"})
        wait_for(lambda: page(port, "/healthcheck"), "Flower")
        assert (
            scene.say(paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")).code == 0
        )
        (batch,) = [row["batch"] for row in scene.say(paceline("list", "--json")).json()]
        ours = [f"/batch/{batch}{more}" for more in ("", "/submissions", "/cancel", "/retry")]
        pages = {path: page(port, path) for path in [*PAGES, *ours, f"/submission/{batch}-000001"]}
        assert batch in pages["/batches"]
        assert f"{batch}-000004" in pages[f"/batch/{batch}/submissions"]
        for worker in worker_names(pages[WORKERS]):
            pages[worker] = page(port, f"/worker/{quote(worker)}")
        tasks = sorted(wait_for(lambda: json.loads(page(port, "/api/tasks")), "tasks in Flower"))
        for task in tasks[:5]:
            pages[task] = page(port, f"/task/{task}") + page(port, f"/api/task/info/{task}")
        first = f"{batch}-000001"
        assert f"<code>{first}</code></pre>" in page(port, f"/task/{first}")  # its arguments, without Python's brackets
        linked = wait_for(lambda: _tasks_of(page(port, f"/submission/{first}"), 2), "both tasks of a submission")
        exports = linked - {f"/task/{first}"}
        assert exports < linked
        assert exports <= {f"/task/{batch}-{number:06d}.export" for number in range(1, 5)}  # woken alone or together
        pages |= {path: page(port, path) for path in linked}
        assert all(first in pages[path] for path in exports)
        pages["no such page"] = page(port, f"/task/{quote('no/such')}") + page(port, "/api/task/info/none")
        scene.say(paceline.interrupt(flower))
        scene.say(paceline("down"))

    assert len(pages) > len(PAGES) + 3
    assert any("redis://" in text and "**" in text for text in pages.values())  # the address is shown, masked
    assert [finding for path, text in pages.items() for finding in found(text, path)] == []
    assert found(b"\n".join(commands.lines), "command lines") == []
    assert scene.findings() == []


def _tasks_of(text: str, least: int) -> set[str]:
    """Return where a page leads among tasks, once there are so many."""
    found = set(re.findall(r'href="(/task/[^"]+)"', text))
    return found if len(found) >= least else set()


def page(port: int, path: str) -> str:
    """Fetch a page, or the error in its place; "" where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""


def worker_names(listed: str) -> list[str]:
    names = list(json.loads(listed))
    assert names
    return names


def test_a_redirect_takes_the_key_nowhere_and_every_verdict_is_clear(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 3)
    run = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
    with (
        socket.create_server((ELSEWHERE, 0)) as elsewhere,
        Sandbox("--run-seconds", "0.2") as sandbox,
        Paceline(tmp_path, url=sandbox.url, key=KEY.secret) as paceline,
    ):
        elsewhere.setblocking(False)
        location = f"http://{ELSEWHERE}:{elsewhere.getsockname()[1]}/x?y=1"
        sandbox.faults({"kind": "redirect", "location": location, "classes": ["other"]})
        unreachable = paceline(*run)
        assert (unreachable.code, sandbox.log(request_class="add")) == (7, []), unreachable.stderr
        sandbox.clear_faults()
        sandbox.faults({"kind": "redirect", "location": location, "classes": ["add"]})
        blocked = paceline(*run)
        assert blocked.code == 6
        assert "redirects are never followed" in blocked.stderr
        sandbox.clear_faults()
        assert paceline("resume", "--account", "kolena").code == 0
        sandbox.faults({"kind": "redirect", "location": location, "classes": ["add"], "code": 302, "count": 1})
        sandbox.faults({"kind": "redirect", "location": location, "classes": ["list"], "count": 3})
        done = paceline(*run)
        assert done.code == 0, done.stderr
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
        assert location.partition("?")[0] not in unreachable.stderr + blocked.stderr + done.stderr
