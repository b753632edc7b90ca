"""Freeze a version's code for the tests of upgrades: `python -m tests.upgrade.freeze COMMIT`.

Writes `released.tar.xz`: its packages with their scripts, and the support of its tests, as `git archive` gives them.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

ARCHIVE = Path(__file__).with_name("released.tar.xz")

PARTS = ("cli", "config", "producers", "worker", "monitor", "paceline", "tests/support", "tests/__init__.py")


def main(commit: str) -> None:
    """Freeze a commit."""
    made = subprocess.run(["git", "archive", commit, *PARTS], check=True, capture_output=True)  # noqa: S607
    ARCHIVE.write_bytes(lzma.compress(made.stdout, preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main(sys.argv[1])
