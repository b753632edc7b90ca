"""Installs a package of ours, or one made up, into a folder to put on PYTHONPATH: no network, no build tool."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/paceline-rest"


def install(project: Path, target: Path) -> Path:
    """Install a project of plain modules: they are copied, its entry points written down. Returns the folder."""
    told = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    target.mkdir(parents=True, exist_ok=True)
    for module in project.glob("*.py"):
        shutil.copy(module, target)
    _note(target, told["name"], told["version"], told["entry-points"])
    return target


def make_package(target: Path, name: str, provider: str, value: str, **modules: str) -> Path:
    """Install a package that brings a provider; `modules` are sources by name. Returns the folder."""
    target.mkdir(parents=True, exist_ok=True)
    for module, source in modules.items():
        (target / f"{module}.py").write_text(source, "utf-8")
    _note(target, name, "1.0", {"paceline.providers": {provider: value}})
    return target


def _note(target: Path, name: str, version: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {to}\n" for key, to in points.items()) for group, points in groups.items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines), "utf-8")
