"""Destinations that would write over one another."""

from __future__ import annotations

import pytest

from paceline.sinks.clashes import clash
from paceline.sinks.places import canonical


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("out", "out/results.jsonl"),
        ("out", "out/manifest.jsonl"),
        ("out", "out/parts"),
        ("out", "out/_SUCCESS"),
        ("x.csv", "x.csv.parts"),
        ("x.csv", "x.csv.parts/y.csv"),
        ("out", "sqlite:///out/results.jsonl"),
        ("sqlite:///x.jsonl", "x.jsonl"),
        ("s3://b/out", "s3://b/out/parts/more"),
    ],
)
def test_places_that_write_the_same_files_are_told(one: str, other: str) -> None:
    first, second = canonical(one), canonical(other)
    assert clash([first, second]) == (first, second)
    assert clash([first], [second]) == (first, second)
    assert clash([second], [first]) == (second, first)


def test_places_beside_and_within_one_another_are_no_clash() -> None:
    texts = ["out", "out/x.csv", "out/x.files.csv", "out/sub", "x.csv", "sqlite:///out/x.db", "postgresql://h/db"]
    more = ["s3://b", "s3://b/out", "s3://c/parts", "gs://b/parts", "https://h/results.jsonl", "https://h"]
    assert clash([canonical(text) for text in [*texts, *more, "out"]]) is None
