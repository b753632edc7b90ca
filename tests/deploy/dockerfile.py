"""Reads the Dockerfile, and tells what .dockerignore leaves of the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from tests.deploy.compose import ROOT, dockerfile


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, without what stands before the first."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in dockerfile():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def copied(sources: Iterable[str]) -> Iterator[str]:
    """Yield sources of a COPY; raise `AssertionError` for one that isn't there, or that .dockerignore leaves out."""
    for source in sources:
        assert (ROOT / source).exists(), f"{source} doesn't exist"
        assert in_context(source), f".dockerignore leaves {source} out"
        yield source


def in_context(path: str) -> bool:
    """Tell whether Docker sees a path: the last line of .dockerignore that fits it, or what is above it, decides."""
    seen = True
    above = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if (
            line
            and not line.startswith("#")
            and any(
                fnmatch(one.rpartition("/")[2], pattern) if "**/" in line else fnmatch(one, pattern) for one in above
            )
        ):
            seen = line.startswith("!")
    return seen
