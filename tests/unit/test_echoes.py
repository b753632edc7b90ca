"""Our key never comes back in an answer, however the provider writes it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import Refused
from paceline.providers.echoes import hide_echo
from paceline.providers.http import Http
from tests.support.raw_server import RawServer, answer, answering

KEY = 'sk-canary/9f27"ac\\5d+1f&0c7e'

WAYS = {
    "as JSON writes it": json.dumps({"a": f"Bearer {KEY}!"}),
    "with escaped slashes": json.dumps({"a": KEY}).replace("/", "\\/"),
    "every character escaped": '{"a":"' + "".join(f"\\u{ord(c):04X}" for c in KEY) + '"}',
    "some characters escaped": json.dumps({"a": KEY}).replace("+", "\\u002B").replace("&", "\\u0026"),
    "in a link": json.dumps({"a": f"https://host/?key={quote(KEY, safe='')}&x=1"}),
    "in a link, partly": json.dumps({"a": f"https://host/{quote(KEY)}"}),
    "as a name": json.dumps({KEY: 1, "a": [KEY, KEY]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_key_is_hidden_however_it_is_written(way: str) -> None:
    shown = json.dumps(json.loads(hide_echo(WAYS[way].encode(), KEY)))

    assert "***" in shown
    assert "canary" not in shown
    assert "9f27" not in shown


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=5), st.booleans())
def test_everything_else_comes_through_unchanged(value: dict[str, str], ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()

    assert hide_echo(body, KEY) == body


def test_a_value_too_short_for_a_key_is_no_secret() -> None:
    assert hide_echo(b'{"a":"word"}', "word") == b'{"a":"word"}'


def test_neither_a_result_nor_a_refusal_brings_the_key_back() -> None:
    told = {"run_url": f"http://h/?k={KEY}", "data": {KEY: [f"you sent {KEY}"]}}
    refused = answering(answer(422, {"detail": f"Bearer {KEY} is odd"}))
    with RawServer(answering(answer(200, told)), refused) as server:
        http = Http(server.url, KEY)
        found = http.get("/")
        with pytest.raises(Refused) as caught:
            http.post("/", body=b"{}", content_type="application/json", deadline_s=10, gate=lambda: None)
        http.close()

    assert "canary" not in repr(found.value)
    assert found.value["run_url"] == "http://h/?k=***"
    assert "canary" not in str(caught.value)
