"""Finds what the docs say that isn't so: `python -m docs.check` names file and line, and fails."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote

import click

from cli.main import VERBS, cli
from config.names import PREFIX, Origin, check_way
from config.settings import NOT_SETTINGS
from docs import faults, generate, planted
from paceline.errors import ConfigError
from tests.planted import MUTANTS

ROOT = generate.ROOT

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*(\w*)")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)[^)]*\)|\b(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"(`+)(.+?)\1")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
_COMMAND = re.compile(r"(?<![\w.:-])paceline (?=[a-z-])([^|;&`)]*)")
_REMARK = re.compile(r"(?:^|\s)#.*")
_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that isn't so. `line` counts from 1."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page. `fence` is the language of the fenced block it is in (`""`: none named), None outside."""

    number: int
    text: str
    fence: str | None


def lines(page: str) -> Iterator[Line]:
    """Give a page's lines, without those that open and close a fenced block."""
    opened, language = "", ""
    for number, text in enumerate(page.splitlines(), 1):
        found = _FENCE.match(text)
        if found and not opened:
            opened, language = found[1], found[2]
        elif found and found[1].startswith(opened) and not found[2]:
            opened = ""
        else:
            yield Line(number, text, language if opened else None)


def anchors(page: str) -> set[str]:
    """Name the places of a page that a link can lead to, as GitHub does."""
    found: set[str] = set()
    for line in lines(page):
        if line.fence is None:
            found |= set(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", line.text))
            if heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line.text):
                slug = re.sub(r"[^\w\- ]", "", _spoken(heading[1]).lower()).replace(" ", "-")
                name, times = slug, 0
                while name in found:
                    times += 1
                    name = f"{slug}-{times}"
                found.add(name)
    return found


def _spoken(heading: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)


def stale(pages: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Problem]:
    """Find generated parts that are older than the code."""
    for name, page in wanted.items():
        present = pages.get(name, "")
        if present != page:
            pairs = zip_longest(present.splitlines(), page.splitlines())
            number = next((at for at, (is_, should) in enumerate(pairs, 1) if is_ != should), 1)
            yield Problem(name, number, "the generated part is old; run: python -m docs.generate")


def broken_links(pages: Mapping[str, str], exists: Callable[[str], bool]) -> Iterator[Problem]:
    """Find links to files or headings that aren't there. `exists` is asked with a path from the root."""
    for name, page in pages.items():
        for line in lines(page):
            if line.fence is not None:
                continue
            for found in _LINK.finditer(_CODE.sub("", line.text)):
                target = unquote(found[1] or found[2])
                if _ELSEWHERE.match(target):
                    continue
                place, _, anchor = target.partition("#")
                path = _resolve(name, place) if place else name
                if path is None or not exists(path):
                    yield Problem(name, line.number, f"the link leads to {place}, which doesn't exist")
                elif anchor and anchor not in anchors(pages.get(path, "")):
                    yield Problem(name, line.number, f"{path} has no heading #{anchor}")


def _resolve(page: str, place: str) -> str | None:
    """Return a link's target from the root, or None where it leads out of the project."""
    target = (Path("/") / Path(page).parent).joinpath(place)
    parts: list[str] = []
    for part in target.parts[1:]:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."


def unknown_commands(pages: Mapping[str, str], options: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Find commands with a verb or an option that doesn't exist, in fenced blocks and in `code`.

    `options` are those of every verb; under `""` those of the command itself.
    """
    for name, page in pages.items():
        for number, code in _codes(page):
            for command in _COMMAND.findall(_REMARK.sub("", code)):
                first, *rest = command.split()
                verb = "" if first.startswith("-") else first.rstrip(".,:")
                if verb not in options:
                    close = difflib.get_close_matches(verb, options, n=1)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    yield Problem(name, number, f"paceline has no verb {verb!r}{hint}")
                    continue
                for word in rest if verb else [first, *rest]:
                    option = _OPTION.match(word)
                    if option and option[0] not in options[verb]:
                        yield Problem(name, number, f"paceline {verb} has no option {option[0]}".replace("  ", " "))


def _codes(page: str) -> Iterator[tuple[int, str]]:
    """Give what is written as code, with the number of its first line; a backslash joins lines."""
    begun: tuple[int, str] | None = None
    for line in lines(page):
        if line.fence is None:
            begun = None
            yield from ((line.number, found[2]) for found in _CODE.finditer(line.text))
            continue
        number, text = (begun[0], begun[1] + line.text) if begun else (line.number, line.text)
        begun = (number, text[:-1]) if text.endswith("\\") else None
        if begun is None:
            yield number, text


def unknown_variables(pages: Mapping[str, str]) -> Iterator[Problem]:
    """Find variables that name no setting."""
    for name, page in pages.items():
        for line in lines(page):
            for variable in _VARIABLE.findall(line.text):
                if variable in NOT_SETTINGS:
                    continue
                way = tuple(variable.removeprefix(PREFIX).lower().split("__"))
                try:
                    check_way(way, Origin(variable), is_table=False, accounts=())
                except ConfigError as error:
                    yield Problem(name, line.number, str(error))


def unreadable_json(pages: Mapping[str, str]) -> Iterator[Problem]:
    """Find examples marked `json` or `jsonl` that don't parse."""
    for name, page in pages.items():
        block: list[Line] = []
        for line in [*lines(page), Line(0, "", None)]:
            if line.fence == "jsonl":
                yield from _json_problem(name, line.number, line.text)
            if block and (line.fence != "json" or line.number != block[-1].number + 1):
                yield from _json_problem(name, block[0].number, "\n".join(one.text for one in block))
                block = []
            if line.fence == "json":
                block.append(line)


def _json_problem(name: str, number: int, text: str) -> Iterator[Problem]:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        yield Problem(name, number + error.lineno - 1, f"no valid JSON: {error.msg}")


def untried_faults(pages: Mapping[str, str], tests: Collection[str]) -> Iterator[Problem]:
    """Find faults that are listed without a test that exists."""
    for number, text in faults.wrong_rows(pages.get(faults.PAGE, ""), tests):
        yield Problem(faults.PAGE, number, text)


def untried_mutants(pages: Mapping[str, str], mutants: Collection[str], tests: Collection[str]) -> Iterator[Problem]:
    """Find planted bugs that the table doesn't have, and rows of bugs that aren't planted."""
    for number, text in planted.wrong_rows(pages.get(planted.PAGE, ""), mutants, tests):
        yield Problem(planted.PAGE, number, text)


def cli_options() -> dict[str, set[str]]:
    """Collect the options of every verb, hidden ones left out; under `""` those of the command itself."""
    above = click.Context(cli, info_name="paceline", **cli.context_settings)
    found = {"": _options(cli, above)}
    for name in VERBS:
        verb = cli.get_command(above, name)
        assert verb is not None
        found[name] = _options(verb, click.Context(verb, info_name=name, parent=above))
    return found


def _options(command: click.Command, context: click.Context) -> set[str]:
    below = command.commands.items() if isinstance(command, click.Group) and command is not cli else ()
    within = {text for name, one in below for text in _options(one, click.Context(one, info_name=name, parent=context))}
    shown = [one for one in command.get_params(context) if not (isinstance(one, click.Option) and one.hidden)]
    return within | {text for one in shown for text in (*one.opts, *one.secondary_opts) if text.startswith("-")}


def read_pages(root: Path) -> dict[str, str]:
    """Read README, CHANGELOG and all of docs/, by path from the root."""
    paths = [root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").rglob("*.md"))]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def problems(root: Path = ROOT) -> list[Problem]:
    """Return everything that is wrong, page by page."""
    pages = read_pages(root)
    tests = faults.test_names(root)
    found = [
        *stale(pages, generate.pages(root)),
        *broken_links(pages, lambda path: (root / path).exists()),
        *unknown_commands(pages, cli_options()),
        *unknown_variables(pages),
        *unreadable_json(pages),
        *untried_faults(pages, tests),
        *untried_mutants(pages, [mutant.name for mutant in MUTANTS], tests),
    ]
    return sorted(found, key=lambda one: (one.page, one.line, one.text))


def main() -> None:
    """Print the problems; exit 1 if there are any."""
    found = problems()
    for one in found:
        print(one)
    if found:
        sys.exit(1)
    print("docs: nothing wrong")


if __name__ == "__main__":
    main()
