"""`paceline verify` over a real batch: nothing differs, until something is damaged, and it changes nothing itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from config.embedded import EmbeddedServer
from tests.integration.test_verify import edit, edit_row, tree
from tests.support.command import Paceline, make_files
from tests.support.sandbox import Sandbox


@contextmanager
def connected(paceline: Paceline) -> Iterator[Any]:
    """Give a client of the home's Redis, which runs for as long as that."""
    with EmbeddedServer(paceline.home) as server:
        client = redis.Redis(unix_socket_path=str(server.socket_path))
        yield client
        client.close()


def everything(client: Any) -> dict[bytes, bytes]:
    """Return everything in Redis but the pace."""
    return {name: client.dump(name) for name in client.keys("*") if b":pace:" not in name}


def test_a_real_batch_is_verified_and_each_damage_named(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 12)
    (tmp_path / "files" / "nothing.txt").touch()
    out = tmp_path / "out"
    with Sandbox("--run-seconds", "0.3") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2", "--name", "pile")
        assert paceline(*command).code == 0
        writes = len(sandbox.log(request_class="add"))
        with connected(paceline) as client:
            before, files = everything(client), tree(out)
            clean = paceline.here("verify", "pile", "--digests")
            assert clean.code == 0, clean.stdout + clean.stderr
            assert "nothing differs" in clean.stdout
            assert "12 files are what was sent" in clean.stdout
            assert paceline.here("verify", "out", "--without-ledger").code == 0
            assert everything(client) == before
            assert tree(out) == files
            (batch,) = client.zrange("pl:batches", 0, -1)
            name = batch.decode()
            client.hset(f"pl:s:{name}-000002", "reason", "changed")
            edit_row(out / "results.jsonl", 3, data={"other": 1})
            (extra,) = sandbox.create_runs(agent=1, external_id=f"{name}.{name}-000003")
            edit(out / "manifest.jsonl", lambda lines: lines[1:])
            asked = len(sandbox.log())
            told = paceline.here("verify", "out")
            assert told.code == 1
            found = told.stdout.splitlines()
            for kind, word in (
                ("record_differs", "reason=changed"),
                ("record_differs", f"{name}-000004"),
                ("run_extra", str(extra)),
                ("files", f"{name}-000001"),
                ("manifest_length", "expected"),
            ):
                assert [line for line in found if line.startswith(kind) and word in line], (kind, told.stdout)
            assert {row["method"] for row in sandbox.log(asked)} == {"GET"}
        assert len(sandbox.log(request_class="add")) == writes
        paceline("down")
        shutil.rmtree(paceline.home / "redis")
        lost = paceline.here("verify", "out", "--json")
        assert lost.code == 1
        assert lost.json()["differences"][0]["kind"] == "ledger_missing"
        assert "paceline rebuild" in lost.json()["differences"][0]["found"]


def test_a_batch_under_way_is_open_not_different(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 6)
    with Sandbox("--run-seconds", "600") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        process = paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
        sandbox.wait("accepted", count=3, timeout=60)
        result = paceline.here("verify", "out")
        assert result.code == 3, result.stdout + result.stderr
        assert "3 submissions under way" in result.stdout
        paceline.interrupt(process)


def test_what_cannot_be_verified_is_named(tmp_path: Path) -> None:
    with Sandbox() as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "manifest.jsonl").touch()
        for name, word in (("nothing", "PACELINE_HOME"), ("old", "batch.json")):
            result = paceline.here("verify", name)
            assert result.code == 2, result.stderr
            assert word in result.stderr
            assert "Traceback" not in result.stderr
