"""Addresses taken apart, and what a driver's complaints are turned into; neither needs the driver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import UsageError
from paceline.stores.addresses import Address, is_odd, parse_address
from paceline.stores.clients import allows_http, configured, failure


class GenericError(Exception):
    """As the driver calls most of what goes wrong."""


class PermissionDeniedError(Exception):
    """As the driver calls a 403 for one object."""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket", Address("s3", "bucket", "")),
        ("S3://bucket/", Address("s3", "bucket", "")),
        ("s3://bucket/a b/%20/#1", Address("s3", "bucket", "a b/%20/#1")),
        ("gs://bucket/docs/", Address("gs", "bucket", "docs/")),
        ("az://container/ü", Address("az", "container", "ü")),
        ("https://Host:8443/a%20b/c.pdf", Address("https", "host:8443", "a b/c.pdf")),
    ],
)
def test_an_address_is_taken_apart(text: str, address: Address) -> None:
    assert parse_address(text) == address


@given(st.text(min_size=1).filter(lambda key: "?" not in key and not is_odd(key)))
def test_any_key_that_can_be_asked_for_survives(key: str) -> None:
    address = parse_address(f"s3://bucket/{key}")

    assert address.key == key
    assert address.folder + address.name == key
    assert address.is_prefix == key.endswith("/")


@pytest.mark.parametrize("key", ["a//b", "/a", "a/../b", "..", "a/.", "a\tb", "a\x7f", "a\x00", "\udcff"])
def test_a_key_that_can_not_be_asked_for_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="another key"):
        parse_address(f"s3://bucket/{key}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3://", "names no bucket"),
        ("s3:///docs", "names no bucket"),
        ("s3a://bucket/docs", "write s3://"),
        ("ftp://host/docs", "name s3://"),
        ("s3://user:geheim@bucket/docs", "leave it out"),
        ("https://user:geheim@host/a.pdf", "leave it out"),
        ("https://host/a.pdf?sig=geheim", "queries are not supported"),
        ("https://host?sig=geheim", "queries are not supported"),
        ("https://host/a.pdf#geheim", "queries are not supported"),
        ("s3://bucket/docs?sig=geheim", "queries are not supported"),
        ("https://host/", "can't be listed"),
        ("https://host", "can't be listed"),
        ("https://host/folder/", "can't be listed"),
        ("https://host/a//b.pdf", "another key"),
    ],
)
def test_an_address_that_can_not_be_used_is_refused_without_its_secrets(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text)

    assert words in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "Error performing GET http://169.254.169.254/x - status code: 403 Forbidden",
            "no credentials for s3://b: export",
        ),
        ("Error performing list request: status code: 404 Not Found", "no such bucket: s3://b"),
        ("status code: 403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "s3://b refuses the credentials: export"),
        ("Received redirect without LOCATION", "another region: export AWS_REGION"),
        ("status code: 401 Unauthorized", "s3://b/x denies access (401)"),
        ("status code: 503 Service Unavailable", "s3://b fails (503)"),
        ("HTTP error: error sending request", "s3://b can't be reached: check the network and AWS_ENDPOINT_URL"),
        ("quite another thing", "s3://b can't be used (GenericError)"),
        ('Path "x//y" contained empty path segment; parse path', "can't be read: 'x//y'"),
    ],
)
def test_complaints_are_said_in_one_line(error: str, words: str) -> None:
    said = str(failure(GenericError(f"{error}\n\nDebug source:\nGeneric {{ secret }}"), "s3://b/x"))

    assert words in said
    assert "secret" not in said
    assert "\n" not in said


def test_who_is_denied_is_known_and_may_not() -> None:
    assert failure(PermissionDeniedError("The operation lacked privileges"), "gs://b/x").denied
    assert not failure(GenericError("status code: 500"), "gs://b/x").denied


def test_plain_http_goes_only_where_it_was_asked_for() -> None:
    assert allows_http("http", {})
    assert not allows_http("https", {"AWS_ALLOW_HTTP": "true"})
    assert not allows_http("s3", {"AWS_ENDPOINT_URL": "https://store"})
    assert allows_http("s3", {"AWS_ENDPOINT_URL": "http://store"})
    assert allows_http("s3", {"AWS_ALLOW_HTTP": "TRUE"})
    assert not allows_http("gs", {"AWS_ENDPOINT_URL": "http://store"})


def test_what_the_environment_has_is_named_without_secrets() -> None:
    found = configured({"AWS_ACCESS_KEY_ID": "geheim", "AWS_ENDPOINT_URL": "http://store", "AZURE_CLIENT_ID": "geheim"})

    assert found == ["s3:// at http://store", "az://"]
