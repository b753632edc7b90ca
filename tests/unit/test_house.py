"""The house keeps its order, and the tool that says so can say otherwise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "producers", "worker", "monitor", "sandbox", "config", "paceline")

BREACHES = {
    "a role imports the command": ("worker/app.py", "import cli.exits", "cli over roles over config over the library"),
    "a role imports another role": (
        "producers/planning.py",
        "import worker.results",
        "cli over roles over config over the library",
    ),
    "the library imports the settings": (
        "paceline/runner.py",
        "import config.queues",
        "cli over roles over config over the library",
    ),
    "the library imports Celery": (
        "paceline/runner.py",
        "import celery",
        "the library knows neither Celery nor settings",
    ),
    "the core reads a clock": ("paceline/delays.py", "import time", "the pure core does no I/O"),
    "a provider imports another": (
        "paceline/providers/kindo.py",
        "import paceline.providers.kolena_usage",
        "providers don't know each other",
    ),
    "a provider speaks HTTP by itself": ("paceline/providers/kindo.py", "import httpx", "one module imports httpx"),
    "the ledger speaks HTTP": ("paceline/ledger.py", "import httpx", "one module imports httpx"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_house_is_in_order(copy: Path) -> None:
    code, text = lint(copy)
    assert code == 0, text


@pytest.mark.parametrize("breach", BREACHES)
def test_each_contract_is_broken_by_a_breach(copy: Path, breach: str) -> None:
    name, line, contract = BREACHES[breach]
    file = copy / name
    former = file.read_text()
    file.write_text(former + f"\n{line}  # a breach\n")
    try:
        code, text = lint(copy)
    finally:
        file.write_text(former)
    assert code != 0
    assert f"{contract} BROKEN" in text


def test_only_one_module_imports_httpx() -> None:
    importing = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"^\s*(import httpx|from httpx)", path.read_text(), re.MULTILINE)
    ]
    assert importing == ["paceline/providers/http.py"]


def test_what_the_user_prescribed_is_at_the_top() -> None:
    for name in ("pyproject.toml", "docker-compose.yml", "worker", "producers", "config", "tests", "Makefile"):
        assert (ROOT / name).exists(), name


def test_no_file_names_a_package_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607  # any git
    tracked = listed.stdout.splitlines()
    for name in tracked or [str(path.relative_to(ROOT)) for path in ROOT.glob("requirements/*.txt")]:
        path = ROOT / name
        if path.suffix in {".txt", ".toml", ".md", ".yml", ".cfg", ""} and path.is_file():
            assert not re.search(r"(?<!emit-)index-url|/simple/", path.read_text(errors="replace")), name
