"""Reads docker-compose.yml as compose would, as far as the tests need it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One service: what its container would run, with which environment, and how it is asked whether it is well.

    `healthcheck` is a command; `CMD-SHELL` has become one of `sh`.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    healthcheck: tuple[str, ...]
    raw: Mapping[str, Any]


def read(path: Path = FILE) -> dict[str, Any]:
    """Read the file, with its anchors and merges."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


def resolved(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables, or their defaults, in place of `${NAME}` and `${NAME:-default}`, all the way down."""
    if isinstance(value, dict):
        return {key: resolved(below, variables) for key, below in value.items()}
    if isinstance(value, list):
        return [resolved(below, variables) for below in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", value)


def services(variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Return every service by its name; those of our image with its entry point and environment."""
    written: dict[str, Any] = resolved(read(), variables or {})
    found = {}
    for name, raw in written["services"].items():
        ours = raw["image"] == written["x-paceline"]["image"]
        how, *rest = raw["healthcheck"]["test"]
        found[name] = Service(
            name,
            (*(entry_point() if ours else ()), *raw["command"]),
            {**(image_environment() if ours else {}), **raw.get("environment", {})},
            ("sh", "-c", *rest) if how == "CMD-SHELL" else tuple(rest),
            raw,
        )
    return found


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order: (`COPY`, `cli cli`)."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.M))
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, rest) for name, rest in pairs]


def entry_point() -> tuple[str, ...]:
    """Return what the image starts before a service's command."""
    (written,) = (rest for name, rest in dockerfile() if name == "ENTRYPOINT")
    return tuple(yaml.safe_load(written))


def image_environment() -> dict[str, str]:
    """Return the image's own variables of ours."""
    written = " ".join(rest for name, rest in dockerfile() if name == "ENV")
    pairs = (word.split("=", 1) for word in written.split())
    return {name: value for name, value in pairs if name.startswith("PACELINE_")}
