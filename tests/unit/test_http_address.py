"""Where a key may go."""

from __future__ import annotations

import pytest

from paceline.errors import ConfigError
from paceline.providers.address import checked_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://agents-api.kolena.com", "https://agents-api.kolena.com"),
        (" https://x.example:8443/base/ ", "https://x.example:8443/base"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("https://bücher.example", "https://bücher.example"),
    ],
)
def test_these_addresses_are_safe(url: str, expected: str) -> None:
    assert checked_url(url) == expected


@pytest.mark.parametrize("url", ["http://x.example", "http://10.0.0.1", "http://localhost.example", "http://0.0.0.0"])
def test_a_key_never_goes_over_a_network_in_clear_unless_told(url: str) -> None:
    with pytest.raises(ConfigError, match="https://"):
        checked_url(url)
    assert checked_url(url, allow_http=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.example",
        "ftp://x.example",
        "https://",
        "https:///path",
        "https://user:secret@x.example",
        "https://x.example/?key=secret",
        "https://x.example/#secret",
        "https://x.example?",
        "https://x.example:port",
        "https://x.example:99999",
        "https://[::1",
        "https://a..b",
        "https://" + "a" * 64 + ".example",
        "https://x.example/a b",
        "https://x.example/\x00",
    ],
)
def test_these_are_no_addresses_and_are_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)
