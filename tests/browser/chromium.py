"""Find a Chromium for the tests, and install one where there is none.

    python -m tests.browser.chromium

One that the machine has is taken first. Otherwise Playwright downloads its own; where it can't, and we may, the
system's packages have one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")

INSTALL_S = 600.0


def find() -> str | None:
    """Return a browser's path: of this machine, else Playwright's own; None where there is neither."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if own and Path(own).exists() else None


def install() -> str | None:
    """Install a browser, one way or the other; return what each failed attempt said last, None once there is one."""
    attempts = [[[sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = ["apt-get", "-q", "-y"]
        attempts.append([[*quiet, "update"], [*quiet, "--no-install-recommends", "install", "chromium"]])
    said = []
    for commands in attempts:
        for command in commands:
            try:
                done = subprocess.run(command, capture_output=True, timeout=INSTALL_S, check=False, text=True)
            except (OSError, subprocess.TimeoutExpired) as error:
                said.append(f"{command[0]}: {type(error).__name__}")
                break
            if done.returncode:
                said.append(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")
                break
        if find():
            return None
    return "\n".join(said)


def main() -> int:
    """Make sure that there is a browser; 1 and the reasons where there can be none."""
    if find():
        return 0
    problem = install()
    if problem is not None:
        sys.stderr.write(f"No Chromium could be installed; install one by hand, then try again.\n{problem}\n")
    return int(problem is not None)


if __name__ == "__main__":
    sys.exit(main())
