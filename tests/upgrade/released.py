"""The released version's code, loaded beside this one's: in a process of its own, or under names nobody else sees."""

from __future__ import annotations

import importlib
import io
import lzma
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.upgrade.freeze import ARCHIVE

_ROOTS = ("paceline", "tests")


def unpack(folder: Path) -> Path:
    """Unpack its code into a folder, to be put first in PYTHONPATH; return the folder."""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(ARCHIVE.read_bytes()))) as archive:
        archive.extractall(folder, filter="data")
    return folder


@dataclass(frozen=True)
class Released:
    """The modules of the released library and of its tests' support; none of them is in `sys.modules`."""

    modules: dict[str, ModuleType]

    def __getitem__(self, name: str) -> Any:
        return self.modules[name]


@contextmanager
def _instead(modules: dict[str, ModuleType], folder: Path) -> Iterator[None]:
    """Let the names of our packages mean others for a while."""
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in _ROOTS}
    sys.modules.update(modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        theirs = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in _ROOTS}
        modules.update(theirs)
        sys.modules.update(ours)


def load(folder: Path, names: Sequence[str]) -> Released:
    """Load modules of the released version, and its scripts, from where `unpack` put it."""
    modules: dict[str, ModuleType] = {}
    with _instead(modules, folder):
        for name in names:
            importlib.import_module(name)
        scripts = sys.modules["paceline.scripts"]
        for name in scripts._NAMES:
            for clock in ("redis", "key"):
                scripts.source(name, clock)  # it finds its files by the package's name, once
    return Released(modules)
