"""Turn patterns for file names into regular expressions.

    *        any characters but a slash            ?        one of them
    [abc]    one of these, [a-z] a range           [!abc]   one that isn't
    **/      any number of folders, none too       /**      everything beneath
    \\*       a star, and so for every character

Names and patterns are compared in one Unicode form, so a composed é is a decomposed one, and without regard to case
unless that was asked for (ß counts as ss then).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from unicodedata import normalize

from paceline.errors import UsageError

ANY_DEPTH = "**"
_SPECIAL = re.compile(r"(?<!\\)(?:\\\\)*[*?\[]")
_BRACES = re.compile(r"(?<!\\)\{[^{}]*,[^{}]*\}")

Fold = Callable[[str], str]


def fold_case(text: str) -> str:
    """Return the form in which names are compared without regard to case."""
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def keep_case(text: str) -> str:
    """Return the form in which names are compared where case matters."""
    return text if text.isascii() else normalize("NFC", text)


def is_pattern(text: str) -> bool:
    """Tell whether a text holds `*`, `?` or `[` that a backslash doesn't take for itself."""
    return _SPECIAL.search(text) is not None


def unescape(text: str) -> str:
    """Return what a pattern without special characters matches."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def escape_parts(path: str) -> list[str]:
    """Return the parts of a path as patterns that match them alone."""
    return [re.sub(r"([\\*?\[{!])", r"\\\1", part) for part in path.split("/") if part]


def parts_of(pattern: str) -> list[str]:
    """Cut a path's pattern at the slashes, without `.` and empty parts. Raises `UsageError` for what can't match."""
    if found := _BRACES.search(pattern):
        raise UsageError(
            f"pattern {pattern!r}: braces are the shell's; give a pattern for each (--include '*.a' --include '*.b'),"
            f" or write \\{{ for a brace in a name like {found[0]!r}"
        )
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise UsageError(f"pattern {pattern!r} names nothing: write '*.pdf', or 'folder/**' for all that is in it")
    if ".." in parts:
        raise UsageError(f"pattern {pattern!r}: '..' leads out of the source; patterns are relative to it")
    return [part for at, part in enumerate(parts) if part != ANY_DEPTH or parts[at - 1 : at] != [ANY_DEPTH]]


def path_expression(parts: Sequence[str], fold: Fold) -> str:
    """Return what whole paths match. `parts` come from `parts_of`."""
    text = ""
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == ANY_DEPTH:
            text += ".+" if last else "(?:[^/]+/)*"
        else:
            text += name_expression(part, fold) + ("" if last else "/")
    return text


def folder_expression(parts: Sequence[str], fold: Fold) -> str | None:
    """Return what the folders match beneath which something can match the pattern; None: no folder does."""
    if parts[0] == ANY_DEPTH:
        return ".+"
    if len(parts) == 1:
        return None
    below = folder_expression(parts[1:], fold)
    return name_expression(parts[0], fold) + (f"(?:/{below})?" if below else "")


def name_expression(pattern: str, fold: Fold) -> str:
    """Return what a name, without slashes, matches."""
    pattern = fold(pattern)
    pieces, piece, at = list[str](), "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            pieces.append(piece)
            piece = ""
        elif char == "?":
            piece += "[^/]"
        elif char == "[" and (found := _one_of(pattern, at)):
            expression, at = found
            piece += expression
        else:
            if char == "\\" and at < len(pattern):
                char = pattern[at]
                at += 1
            piece += re.escape(char)
    if not pieces:
        return piece
    # Between stars the earliest match is as good as any, so no name takes long however many stars there are.
    between = "".join(f"(?>[^/]*?{one})" for one in pieces[1:] if one)
    return f"{pieces[0]}{between}[^/]*{piece}"


def any_of(expressions: Iterable[str]) -> re.Pattern[str] | None:
    """Compile expressions into one for `fullmatch`; None if there are none."""
    found = [f"(?:{expression})" for expression in expressions]
    return re.compile("|".join(found), re.DOTALL) if found else None


def _one_of(pattern: str, at: int) -> tuple[str, int] | None:
    """Read what stands behind a `[`; None where nothing closes it, so that it is a character like others."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    chars, first = list[str](), at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
            chars.append("\\" + pattern[at])
        else:
            chars.append(pattern[at])
        at += 1
    if at >= len(pattern):
        return None
    inside, place = "", 0
    while place < len(chars):
        low = chars[place][-1]
        if chars[place + 1 : place + 2] == ["-"] and place + 2 < len(chars):
            high = chars[place + 2][-1]
            inside += f"{re.escape(low)}-{re.escape(high)}" if low <= high else ""
            place += 3
        else:
            inside += re.escape(low)
            place += 1
    if not inside:  # only ranges that run backwards
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{inside}]", at + 1
