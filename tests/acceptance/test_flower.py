"""The shipped `paceline flower`: its settings, its login, its pages about batches, and what is done there."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.pauses import find_pause
from paceline.views import Views
from tests.support import world as worlds
from tests.support.command import Paceline, wait_for
from tests.support.pages import LOGIN, Ledger, Served
from tests.support.server import RedisServer, free_port


def test_flower_shows_batches_behind_its_login_and_does_what_a_person_says(tmp_path: Path) -> None:
    port = free_port()
    settings = {"flower_port": str(port), "flower_login": ":".join(LOGIN)}
    with (
        RedisServer(tmp_path / "redis") as server,
        server.client() as client,
        Paceline(tmp_path, redis_url=server.url, **settings) as paceline,
    ):
        ledger = Ledger(client, tmp_path)
        batch = ledger.plan("letters", 3)
        client.delete("pl:test:clock", "pl:test:server")
        process = paceline.start("flower")

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[1]
            try:
                return Served(port).ask("/healthcheck").code == 200
            except OSError:
                return False

        wait_for(answers, "Flower")
        command_line = Path(f"/proc/{process.pid}/cmdline")
        if command_line.exists():
            assert LOGIN[1].encode() not in command_line.read_bytes()
        assert {Served(port).ask(path).code for path in ("/batches", f"/batch/{batch}", "/metrics", "/")} == {401}
        flower = Served(port, LOGIN)
        assert "letters" in flower.ask("/batches").words
        assert 'href="/batches"' in flower.ask("/").text
        assert flower.ask("/metrics").code == 200
        assert "is paused" in flower.act(f"/batch/{batch}/pause", page=f"/batch/{batch}", why="no budget").words
        views = Views(client)
        pause = find_pause(client, views.batch(batch))
        assert pause is not None
        assert (pause.by, "no budget" in (pause.message or "")) == ("ana from Flower", True)
        assert "by ana from Flower" in paceline("status", batch).stdout
        flower.act(f"/batch/{batch}/resume", page=f"/batch/{batch}")
        assert find_pause(client, views.batch(batch)) is None
        assert paceline.interrupt(process).code == 0
        worlds.MADE.clear()  # its server ends before it would be looked at


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])  # noqa: S104  # the very thing that is refused
def test_an_address_for_everybody_in_the_settings_wants_a_login(address: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from cli.flower import command
    from paceline.errors import ConfigError

    environ = {"PACELINE_FLOWER_ADDRESS": address, "PACELINE_HOME": str(tmp_path), "FLOWER_BASIC_AUTH": ""}
    result = CliRunner().invoke(command, [], env=environ, standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert "flower_login" in str(result.exception)


@pytest.mark.parametrize(
    ("login", "address", "why"),
    [
        ("ana:correct horse,:", "0.0.0.0", "lets other machines see"),  # noqa: S104
        ("ana:correct horse,ben", "0.0.0.0", "lets other machines see"),  # noqa: S104
        ("ana:h\u00f6rse", "127.0.0.1", "must be ASCII"),
    ],
)
def test_a_login_that_lets_everybody_in_or_nobody_is_refused(
    login: str, address: str, why: str, tmp_path: Path
) -> None:
    from click.testing import CliRunner

    from cli.flower import command
    from paceline.errors import ConfigError

    environ = {"PACELINE_FLOWER_ADDRESS": address, "PACELINE_HOME": str(tmp_path), "FLOWER_BASIC_AUTH": login}
    environ["PACELINE_REDIS_URL"] = f"unix://{tmp_path}/none"  # it must not get so far
    result = CliRunner().invoke(command, [], env=environ, standalone_mode=False)
    assert isinstance(result.exception, ConfigError)
    assert why in str(result.exception)
    assert "horse" not in str(result.exception)
