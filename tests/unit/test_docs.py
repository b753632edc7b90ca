"""The docs agree with the code, and each check that says so can say otherwise."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import check, faults, generate
from docs.blocks import names, put
from docs.check import Problem
from docs.record import FOLDER, SHOWN, svg, take_apart
from paceline.lifecycle import TABLE

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"": {"--help"}, "run": {"--agent", "--to", "-h"}, "status": {"--watch"}}


def found(problems: Iterator[Problem]) -> list[tuple[int, str]]:
    return [(one.line, one.text) for one in problems]


def test_nothing_in_the_docs_is_wrong() -> None:
    # In a process of its own: click keeps the help option that a command was first shown with, in whatever test.
    done = subprocess.run([sys.executable, "-m", "docs.check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_generated_part_that_was_edited_is_named_with_its_line() -> None:
    wanted = {"docs/a.md": "one\ntwo\nthree\n"}
    assert found(check.stale({"docs/a.md": "one\n2\nthree\n"}, wanted))[0][0] == 2
    assert found(check.stale({"docs/a.md": "one\ntwo\n"}, wanted))[0][0] == 3
    assert found(check.stale({}, wanted))
    assert not found(check.stale(wanted, wanted))


def test_a_link_to_a_missing_file_is_found() -> None:
    pages = {"docs/a.md": "fine\n[gone](b.md) ![gone](../c.svg) [there](../README.md) [out](https://example.org/x)\n"}
    assert found(check.broken_links(pages, {"README.md"}.__contains__)) == [
        (2, "the link leads to b.md, which doesn't exist"),
        (2, "the link leads to ../c.svg, which doesn't exist"),
    ]


def test_a_link_out_of_the_project_is_found() -> None:
    assert found(check.broken_links({"README.md": "[up](../etc/passwd)"}, lambda _: True))


def test_a_link_to_a_missing_heading_is_found() -> None:
    pages = {
        "README.md": "[there](docs/a.md#what-it-isnt) [gone](docs/a.md#what-it-is) [here](#top)\n# Top\n",
        "docs/a.md": "## What it *isn't*\n```sh\n# What it is\n```\n",
    }
    assert found(check.broken_links(pages, lambda _: True)) == [(1, "docs/a.md has no heading #what-it-is")]


def test_links_in_code_are_no_links() -> None:
    assert not found(check.broken_links({"README.md": "`[a](b)`\n```\n[a](b)\n```\n"}, lambda _: False))


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [("## paceline run", "paceline-run"), ("# `a_b`, c!", "a_b-c"), ("## [Unreleased] – 0.1.0", "unreleased--010")],
)
def test_anchors_are_made_as_github_makes_them(heading: str, anchor: str) -> None:
    assert check.anchors(heading) == {anchor}


def test_a_second_heading_of_the_same_words_gets_a_number() -> None:
    assert check.anchors("# A\n# A\n# A\n") == {"a", "a-1", "a-2"}


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("paceline rnu x", "paceline has no verb 'rnu'; did you mean run?"),
        ("$ .venv/bin/paceline run x --agnet kolena:1", "paceline run has no option --agnet"),
        ("$ X=1 paceline run x --agnet kolena:1", "paceline run has no option --agnet"),
        ("paceline run x \\\n  --agnet kolena:1", "paceline run has no option --agnet"),
        ("paceline run x --to=y --agent kolena:1 -h", None),
        ("paceline status --watch | grep --color x", None),
        ("paceline status  # like run --agent", None),
        ("paceline --help", None),
        ("paceline --hlep", "paceline has no option --hlep"),
        ("paceline: no account kolen; did you mean kolena?", None),
    ],
)
def test_commands_that_do_not_exist_are_found(code: str, complaint: str | None) -> None:
    problems = found(check.unknown_commands({"a.md": f"text\n```sh\n{code}\n```\n"}, OPTIONS))
    assert problems == ([(3, complaint)] if complaint else [])


def test_a_command_within_a_sentence_is_checked_too() -> None:
    page = "type `paceline status --wach`, not: paceline nonsense"
    assert found(check.unknown_commands({"a.md": page}, OPTIONS)) == [(1, "paceline status has no option --wach")]


def test_the_options_are_those_of_the_command_line_without_hidden_ones() -> None:
    options = check.cli_options()
    assert {"--agent", "--to", "--json", "--help"} <= options["run"]
    assert "--owner-fd" not in options["worker"]
    assert "--version" in options[""]


def test_a_misspelt_variable_is_found_with_a_hint() -> None:
    page = "PACELINE_CONFIG, PACELINE_HOME and PACELINE_ACCOUNTS__MINE__LIMITS__ADD\n`PACELINE_SETLE_SECONDS`\n"
    ((line, text),) = found(check.unknown_variables({"a.md": page}))
    assert line == 2
    assert "did you mean PACELINE_SETTLE_SECONDS?" in text


def test_json_that_does_not_parse_is_found_at_its_line() -> None:
    page = 'text\n```json\n{\n  "a": 1,\n  "b": …\n}\n```\n```json\n{}\n```\n```jsonl\n{}\n{]\n```\n```text\n{\n```\n'
    assert [line for line, _ in found(check.unreadable_json({"a.md": page}))] == [5, 13]


FAULTS = "\n".join(
    f"### {group}\n\n| fault | what happens | test |\n|---|---|---|\n| one | it goes on | `tests/a.py::test_one` |\n"
    for group in faults.GROUPS
)


def test_a_fault_whose_test_exists_is_no_problem() -> None:
    assert not found(check.untried_faults({faults.PAGE: FAULTS}, {"tests/a.py::test_one"}))


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("`tests/a.py::test_one[x-1]`", None),
        ("`tests/a.py::test_one`, `tests/b.py::TestB::test_two`", None),
        ("`tests/a.py::test_on`", "there is no test tests/a.py::test_on"),
        ("`tests/a.py::test_one`, `tests/b.py::test_two`", "there is no test tests/b.py::test_two"),
        ("test_one", "'odd' names no test"),
        ("*pending* `tests/a.py::test_one`", "'odd' is pending"),
        ("", "a row has a fault, what happens, and its test"),
        ("`tests/a.py::test_one` | more", "a row has a fault, what happens, and its test"),
    ],
)
def test_a_fault_without_a_test_that_exists_is_found(cell: str, complaint: str | None) -> None:
    page = f"{FAULTS}| odd | it goes on | {cell} |\n"  # the last group is Sinks
    tests = {"tests/a.py::test_one", "tests/b.py::TestB::test_two"}
    assert found(check.untried_faults({faults.PAGE: page}, tests)) == (
        [(len(page.splitlines()), complaint)] if complaint else []
    )


def test_a_group_of_faults_without_a_row_is_found() -> None:
    page = FAULTS.replace("### Files", "### Elsewhere")
    assert found(check.untried_faults({faults.PAGE: page}, {"tests/a.py::test_one"})) == [
        (1, "no fault is listed under Files")
    ]
    assert len(found(check.untried_faults({}, ()))) == len(faults.GROUPS)


def test_the_tests_are_those_that_pytest_finds() -> None:
    names = faults.test_names(ROOT)
    assert f"tests/unit/test_docs.py::{test_the_tests_are_those_that_pytest_finds.__name__}" in names
    assert "tests/unit/test_kolena.py::TestSubmit::test_a_run_needs_nothing_but_its_id" in names
    assert not any("::fixture" in name or "::_" in name for name in names)


def test_problems_are_printed_with_file_and_line_and_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "problems", lambda: [Problem("docs/a.md", 7, "wrong")])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "docs/a.md:7: wrong\n"


def test_every_transition_stands_in_the_state_table() -> None:
    table = generate.state_table()
    assert all(f"| `{verb}` |" in table for verb in TABLE)


def test_every_generated_block_stands_in_its_page() -> None:
    for page, blocks in generate.BLOCKS.items():
        assert set(blocks) <= set(names((generate.ROOT / page).read_text("utf-8")))


def test_a_block_is_filled_and_nothing_else_changes() -> None:
    page = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n"
    filled = put(page, "x", "new\\1")
    assert filled == "a\n<!-- generated: x -->\n\nnew\\1\n\n<!-- end: x -->\nb\n"
    assert put(filled, "x", "new\\1") == filled


def test_a_page_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="0 blocks named 'x'"):
        put("nothing here", "x", "new")


def test_help_is_the_same_in_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generate.verbs_help()
    monkeypatch.setenv("COLUMNS", "40")
    assert generate.verbs_help() == before


def test_a_terminals_frames_are_told_from_what_stayed() -> None:
    screen = "\x1b[?25l╭one╮\r\n╰───╯\r\x1b[2K\x1b[1A\x1b[2K╭two╮\r\n╰───╯\r\x1b[1A\x1b[2K\x1b[?25hthe end\r\n"
    assert take_apart(screen) == (["╭one╮\n╰───╯", "╭two╮\n╰───╯"], "the end\n")


def test_the_recording_is_well_formed_and_loads_nothing() -> None:
    from xml.etree import ElementTree

    text = Path(generate.ROOT / "docs/session.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")  # noqa: S314  # our own file
    assert "url(http" not in text
    assert "@import" not in text


@pytest.mark.parametrize("recorded", [True, False])
def test_the_recordings_view_box_holds_all_its_text(recorded: bool) -> None:
    from xml.etree import ElementTree

    text = (generate.ROOT / "docs/session.svg").read_text("utf-8") if recorded else svg("╭" + "─" * 98 + "╮", "end")
    picture = ElementTree.fromstring(text)  # noqa: S314  # our own file
    space = "{http://www.w3.org/2000/svg}"
    left, top, width, height = map(float, picture.attrib["viewBox"].split())
    (group,) = (one for one in picture.findall(f"{space}g") if "clip-path" in one.attrib)
    moved = re.fullmatch(r"translate\(([\d.]+), ([\d.]+)\)", group.attrib["transform"])
    assert moved is not None
    x, y = map(float, moved.groups())
    texts = [one for one in group.iter(f"{space}text") if (one.text or "").strip()]
    line_ends = [x + float(one.attrib["x"]) + float(one.attrib["textLength"]) for one in texts]
    baselines = [y + float(one.attrib["y"]) for one in texts]
    assert left < min(x + float(one.attrib["x"]) for one in texts)
    assert max(line_ends) < left + width
    assert top + 15 < min(baselines)  # a line's letters reach up 15 of its 20 pixels, and down 5
    assert max(baselines) + 5 < top + height


def test_the_folder_that_is_shown_is_as_long_as_the_one_that_was_used() -> None:
    assert len(SHOWN) == len(str(FOLDER))
    assert str(FOLDER) not in (generate.ROOT / "docs/session.svg").read_text("utf-8")
    assert str(FOLDER) not in (generate.ROOT / "README.md").read_text("utf-8")
