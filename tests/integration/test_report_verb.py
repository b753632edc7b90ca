"""`paceline report`: where the page goes, what it can be made from, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paceline.model import Outcome
from tests.support.lost import Scene
from tests.support.verbs import Verbs


@pytest.fixture
def verbs(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(server, tmp_path, monkeypatch)


@pytest.fixture
def scene(tmp_path: Path, real_redis: Any) -> Iterator[Scene]:
    made = Scene(tmp_path, redis=real_redis)
    made.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    made.plan()
    made.world.run()
    yield made
    real_redis.flushall()


def test_the_page_lies_in_the_batchs_output_and_is_private(scene: Scene, verbs: Verbs) -> None:
    said = verbs("report", "näme")
    page = scene.out / "report.html"
    assert (said.code, said.stdout) == (0, f"{page}\n")
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text("utf-8")
    assert "10 of 12 files succeeded, 2 failed; 1 file had been left out before." in text
    before = {path.name for path in scene.out.iterdir()}
    assert verbs("report", scene.id).code == 0
    assert {path.name for path in scene.out.iterdir()} == before


def test_without_an_output_folder_the_page_lies_where_we_are(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    shutil.rmtree(scene.out)
    assert verbs("report", scene.id).stdout == f"{tmp_path / 'report.html'}\n"
    assert "left out" in (tmp_path / "report.html").read_text("utf-8")


def test_it_can_be_put_elsewhere_or_piped(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    assert verbs("report", scene.id, "--to", "page.html").code == 0
    piped = verbs("report", scene.id, "--to", "-")
    assert piped.stdout.startswith("<!doctype html>")
    assert (tmp_path / "page.html").read_text("utf-8")[:2000] == piped.stdout[:2000]
    assert not (scene.out / "report.html").exists()


def test_the_numbers_behind_it_are_json(scene: Scene, verbs: Verbs) -> None:
    said = verbs("report", scene.id, "--json")
    numbers = said.json()
    assert numbers["summary"] == verbs("status", scene.id, "--json").json()
    assert numbers["failures"][0]["files"] == 2
    assert numbers["durations"]["runs"] == 6
    assert sum(numbers["timeline"]["started"]) == 6
    assert numbers["skipped"] == [{"reason": "empty", "files": 1, "examples": ["empty"]}]
    assert not (scene.out / "report.html").exists()


def test_an_output_folder_names_a_batch_that_the_ledger_has(scene: Scene, verbs: Verbs) -> None:
    numbers = verbs("report", str(scene.out), "--json").json()
    assert numbers["from_folder"] is None
    assert verbs("report", str(scene.out)).stdout == f"{scene.out / 'report.html'}\n"
    assert "Read from the output alone" not in (scene.out / "report.html").read_text("utf-8")


def test_an_output_folder_is_enough(scene: Scene, verbs: Verbs) -> None:
    whole = verbs("report", scene.id, "--json").json()
    scene.lose()
    said = verbs("report", str(scene.out), "--json")
    numbers = said.json()
    assert numbers["from_folder"] == str(scene.out)
    for name in ("summary", "durations", "failures", "slowest", "skipped"):
        assert numbers[name] == whole[name], name
    assert (numbers["way"]["source"], numbers["way"]["priority"]) == (scene.spec.source, 3)
    (scene.out / "batch.json").unlink()  # a second --to has none
    (scene.out / "manifest.jsonl").unlink()
    numbers = verbs("report", str(scene.out), "--json").json()
    assert (numbers["way"]["source"], numbers["way"]["agent"]) == ("", "7")
    piped = verbs("report", str(scene.out), "--to", "-").stdout
    assert not re.search("<code></code>|Files from", piped)
    assert sum(numbers["timeline"]["succeeded"]) == 5
    assert verbs("report", str(scene.out)).stdout == f"{scene.out / 'report.html'}\n"
    assert "Read from the output alone" in (scene.out / "report.html").read_text("utf-8")


def test_what_makes_no_sense_is_refused(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    for words in (
        ("nothing-like-it",),
        (str(tmp_path),),
        (scene.id, "--to", "-", "--json"),
        (scene.id, "--to", "-", "--open"),
        (scene.id, "--to", "no/such/folder/x.html"),
        (scene.id, "--to", str(tmp_path)),
    ):
        said = verbs("report", *words)
        assert (said.code, said.stdout) == (2, ""), words
    for broken in ("{", json.dumps({"batch": "b"}), json.dumps([])):
        (scene.out / "summary.json").write_text(broken)
        said = verbs("report", str(scene.out))
        assert (said.code, "can be read" in said.stderr) == (2, True), broken
    assert not list(tmp_path.rglob("report.html"))
