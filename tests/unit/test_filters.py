"""Patterns: which names and paths they match, held against a slow and plain way to tell."""

from __future__ import annotations

import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import UsageError
from producers.filters import Filter, Rules
from producers.patterns import escape_parts, fold_case, is_pattern


def chosen(include: tuple[str, ...] = (), exclude: tuple[str, ...] = (), *, case: bool = False) -> Filter:
    """Return a filter that lets something through, and something not."""
    made = Rules(include, exclude, case_sensitive=case).filter()
    assert made is not None
    return made


def slowly(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Match parts one by one, trying every way."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(slowly(pattern[1:], path[at:]) for at in range(len(path)))
    return bool(path) and name_slowly(pattern[0], path[0]) and slowly(pattern[1:], path[1:])


@cache
def name_slowly(pattern: str, name: str) -> bool:
    """Match characters one by one, trying every way. No brackets."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(name_slowly(pattern[1:], name[at:]) for at in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and name_slowly(pattern[1:], name[1:])


LETTERS = st.sampled_from("ab.")
NAMES = st.text(LETTERS, min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(tuple)
PARTS = st.one_of(
    st.just("**"),
    st.text(st.sampled_from("ab.*?"), min_size=1, max_size=6).filter(lambda part: part not in (".", "..")),
)
PATTERNS = st.lists(PARTS, min_size=2, max_size=5).map(tuple)


@given(PATTERNS, PATHS)
def test_a_pattern_with_slashes_matches_what_the_slow_way_does(pattern: tuple[str, ...], path: tuple[str, ...]) -> None:
    made = chosen(("/".join(pattern),))

    assert made.takes("/".join(path)) is slowly(pattern, path)


@given(PARTS, PATHS)
def test_a_pattern_without_a_slash_is_compared_with_the_name(pattern: str, path: tuple[str, ...]) -> None:
    assert chosen((pattern,)).takes("/".join(path)) is name_slowly(pattern, path[-1])


@given(PATTERNS, PATHS)
def test_no_folder_is_passed_by_in_which_something_matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> None:
    made = chosen(("/".join(pattern),))

    if slowly(pattern, path):
        assert made.takes_named("/".join(path))


@given(PATTERNS, PATHS)
def test_a_glob_enters_only_folders_that_can_lead_to_a_match(pattern: tuple[str, ...], path: tuple[str, ...]) -> None:
    made = Rules().filter("/".join(pattern))
    assert made is not None

    could = any(slowly(pattern[:length], path) for length in range(1, len(pattern)) if pattern[length - 1] != "**")
    could = could or any(part == "**" and leads(pattern[:at], path) for at, part in enumerate(pattern))
    assert made.enters("/".join(path)) is could


def leads(head: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Tell whether a path begins with what a pattern's beginning, up to a `**`, matches."""
    return any(slowly(head, path[:length]) for length in range(len(path) + 1))


@given(st.one_of(PARTS, PATTERNS.map("/".join)), PATHS)
def test_what_is_excluded_is_exactly_what_the_same_pattern_matches(pattern: str, path: tuple[str, ...]) -> None:
    made = chosen(exclude=(pattern,))
    parts = tuple(pattern.split("/"))

    matches = slowly(parts, path) if len(parts) > 1 else name_slowly(pattern, path[-1])
    assert made.takes("/".join(path)) is not matches
    assert made.enters("/".join(path)) is not matches


@given(st.text(st.sampled_from("ab*?[]!\\{},-é\n"), min_size=1, max_size=8), st.data())
def test_an_escaped_path_matches_itself_alone(name: str, data: st.DataObject) -> None:
    other = data.draw(st.text(st.sampled_from("ab*?[]!\\{},-é\n"), min_size=1, max_size=8))
    made = chosen(("x/" + "/".join(escape_parts(name)),))

    assert made.takes(f"x/{name}")
    assert made.takes(f"x/{other}") is (other == name)


@given(st.text(min_size=1, max_size=6).filter(lambda text: "/" not in text and text not in (".", "..")))
def test_case_and_the_form_of_letters_dont_count(name: str) -> None:
    made = chosen(tuple(escape_parts(name)) or ("x",))
    if name in (".", ".."):
        return

    for form in ("NFC", "NFD"):
        assert made.takes(unicodedata.normalize(form, name))
    assert made.takes(name.swapcase()) or fold_case(name.swapcase()) != fold_case(name)


@pytest.mark.parametrize(
    ("pattern", "matches", "doesnt"),
    [
        ("*.pdf", ["a.pdf", "x/A.PDF", ".pdf"], ["a.pdf.txt", "a.pdfx"]),
        ("report-[0-9][!a]*", ["report-1b", "report-9-x"], ["report-1a", "report-x"]),
        ("[A-c]", ["a", "B"], ["d"]),
        ("[]x]", ["]", "X"], ["a"]),
        ("[", ["["], ["a"]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("[!z-a]", ["a"], []),
        (r"\*", ["*"], ["a"]),
        (r"[\]a]", ["]", "a"], ["\\"]),
        ("/a", ["a"], ["b/a"]),
        ("./a", ["a"], ["b/a"]),
        ("a/*", ["a/b"], ["a/b/c", "b/a/b", "a"]),
        ("a/**", ["a/b", "a/b/c"], ["a"]),
        ("**/a", ["a", "b/a", "b/c/a"], ["a/b", "ba"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"]),
        ("a**b", ["ab", "axb"], ["a/b"]),
        ("a/", ["a/b", "x/a/b", "a/b/c"], ["a", "x/a", "ab/c"]),
        ("a/b/", ["a/b/c"], ["x/a/b/c", "a/b"]),
        ("STRASSE", ["straße", "strasse"], ["strase"]),
        ("a\nb?", ["a\nbc"], ["a"]),
        ("\udcff*", ["\udcffx"], ["x"]),
    ],
)
def test_what_patterns_match(pattern: str, matches: list[str], doesnt: list[str]) -> None:
    made = chosen((pattern,))

    assert [path for path in matches if not made.takes(path)] == []
    assert [path for path in doesnt if made.takes(path)] == []


def test_case_counts_where_asked() -> None:
    made = chosen(("*.PDF",), case=True)

    assert made.takes("a.PDF")
    assert not made.takes("a.pdf")


def test_a_slash_at_the_end_excludes_folders_alone() -> None:
    made = chosen(exclude=("build/", "a/tmp/"))

    assert made.takes("build")
    assert made.takes("a/tmp")
    assert not made.enters("x/build")
    assert not made.enters("a/tmp")
    assert made.enters("tmp")
    assert not made.takes_named("x/build/y")


def test_a_name_takes_no_longer_for_many_stars() -> None:
    assert not chosen(("*a" * 30 + "b",)).takes("a" * 250)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("*.{pdf,txt}", "braces"),
        ("!x", "--include"),
        ("../x", "leads out"),
        ("a/../x", "leads out"),
        ("", "names nothing"),
        ("/", "names nothing"),
    ],
)
def test_a_pattern_that_cannot_mean_what_it_says_is_refused(pattern: str, says: str) -> None:
    for rules in (Rules(include=(pattern,)), Rules(exclude=(pattern,))):
        with pytest.raises(UsageError, match=says) as caught:
            rules.filter()
        assert repr(pattern) in str(caught.value)


def test_the_order_of_patterns_makes_no_other_batch() -> None:
    assert Rules(include=("a", "b")).options() == Rules(include=("b", "a", "b")).options()
    assert Rules(include=("a",)).options() != Rules(exclude=("a",)).options()
    assert Rules().options() == ()


def test_what_a_backslash_takes_is_no_pattern() -> None:
    assert [text for text in ("a*", "a?", "a[", r"\\*") if not is_pattern(text)] == []
    assert [text for text in ("a", r"\*", r"\[a]", "") if is_pattern(text)] == []
