"""A secret comes from its variable or from the file that `VARIABLE_FILE` names, and is shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import worker
from config.masking import Mask
from config.settings import load_settings
from paceline.errors import AccessDenied, ConfigError, CredentialsError
from paceline.providers.address import key_now
from paceline.secrets import MOST_BYTES, has_secret, read_secret, source_of
from paceline.sinks import posting

SECRET = "sk-canary-71b0f3"


def written(folder: Path, data: bytes | str = SECRET + "\n") -> str:
    path = folder / "secret"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def test_a_secret_is_read_from_its_variable(tmp_path: Path) -> None:
    assert read_secret("KEY", {"KEY": f" {SECRET} "}) == SECRET
    assert source_of("KEY", {"KEY": SECRET}) == "KEY"


def test_a_secret_is_read_from_the_file_without_the_line_end(tmp_path: Path) -> None:
    environ = {"KEY_FILE": written(tmp_path)}

    assert read_secret("KEY", environ) == SECRET
    assert source_of("KEY", environ) == "KEY_FILE"


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    environ = {"KEY_FILE": written(tmp_path)}
    read_secret("KEY", environ)
    written(tmp_path, "another\n")

    assert read_secret("KEY", environ) == "another"


def test_a_link_as_kubernetes_makes_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").symlink_to(tmp_path)
    written(tmp_path)

    assert read_secret("KEY", {"KEY_FILE": str(tmp_path / "..data" / "secret")}) == SECRET


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": " ", "KEY_FILE": ""}])
def test_nothing_is_no_error(environ: dict[str, str]) -> None:
    assert read_secret("KEY", environ) == ""
    assert not has_secret("KEY", environ)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "which doesn't exist; correct or unset it"),
        (b"", "which is empty; write the secret into it"),
        (b" \n", "which is empty; write the secret into it"),
        (b"\xff\xfe", "which isn't UTF-8 text; write the secret into it as it is"),
        (b"x" * (MOST_BYTES + 1), "which is too long for a secret; name another file"),
    ],
)
def test_a_file_without_a_secret_is_named_with_what_is_wrong(tmp_path: Path, data: bytes | None, problem: str) -> None:
    path = str(tmp_path / "secret") if data is None else written(tmp_path, data)

    with pytest.raises(CredentialsError) as caught:
        read_secret("KEY", {"KEY_FILE": path})

    assert str(caught.value) == f"KEY_FILE names {path}, {problem}"


def test_a_folder_or_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(CredentialsError, match="is no file"):
            read_secret("KEY", {"KEY_FILE": str(path)})


def test_what_the_system_says_of_an_unreadable_file_is_passed_on(tmp_path: Path) -> None:
    path = f"{written(tmp_path)}/below"

    with pytest.raises(CredentialsError) as caught:
        read_secret("KEY", {"KEY_FILE": path})

    assert str(caught.value) == (
        f"KEY_FILE names {path}, which can't be read (Not a directory); correct path or permissions"
    )


def test_both_at_once_are_refused_without_showing_either(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        read_secret("KEY", {"KEY": SECRET, "KEY_FILE": written(tmp_path)})

    assert str(caught.value) == "both KEY and KEY_FILE are set; unset one of them"


# --- where it is used


def test_a_file_with_a_key_is_all_the_configuration_an_account_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    settings = load_settings({"KOLENA_API_KEY_FILE": path}, tmp_path)
    monkeypatch.setenv("KOLENA_API_KEY_FILE", path)

    assert settings.accounts["kolena"].key() == SECRET
    assert SECRET not in repr(settings)


def test_an_account_names_itself_when_its_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOLENA_API_KEY_FILE", "/nowhere/key")
    account = load_settings({"KOLENA_API_KEY_FILE": "/nowhere/key"}, tmp_path).accounts["kolena"]

    with pytest.raises(CredentialsError, match=r"account kolena: KOLENA_API_KEY_FILE names /nowhere/key"):
        account.key()


def test_a_worker_does_not_start_with_a_key_file_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOLENA_API_KEY_FILE", "/nowhere/key")
    monkeypatch.delenv("KOLENA_API_KEY", raising=False)

    result = CliRunner().invoke(worker.command, [], standalone_mode=False)

    assert isinstance(result.exception, CredentialsError)


def test_the_address_of_redis_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"redis://:{SECRET}@redis:6379/0\n")
    (tmp_path / "paceline.toml").write_text("redis_url = 'redis://other'\n")
    settings = load_settings({"PACELINE_REDIS_URL_FILE": "secret"}, tmp_path)

    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == f"redis://:{SECRET}@redis:6379/0"
    assert SECRET not in repr(settings)


def test_a_bad_address_of_redis_is_blamed_on_its_file_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"http://:{SECRET}@redis")

    with pytest.raises(ConfigError) as caught:
        load_settings({"PACELINE_REDIS_URL_FILE": "secret"}, tmp_path)

    assert str(caught.value).startswith("PACELINE_REDIS_URL_FILE (environment): ")
    assert SECRET not in str(caught.value)


def test_two_addresses_of_redis_are_refused(tmp_path: Path) -> None:
    environ = {"PACELINE_REDIS_URL": "redis://a", "PACELINE_REDIS_URL_FILE": written(tmp_path, "redis://b")}

    with pytest.raises(ConfigError, match="both PACELINE_REDIS_URL and PACELINE_REDIS_URL_FILE"):
        load_settings(environ, tmp_path)


@pytest.mark.parametrize("name", ["PACELINE_HOME_FILE", "PACELINE_CONFIG_FILE", "PACELINE_SECRET_FILE"])
def test_other_settings_have_no_file_form(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="no such setting"):
        load_settings({name: "/x"}, tmp_path)


def test_the_webhook_secret_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACELINE_WEBHOOK_SECRET", raising=False)
    monkeypatch.setenv("PACELINE_WEBHOOK_SECRET_FILE", written(tmp_path, "sixteen bytes and more\n"))

    assert posting.read_secret() == b"sixteen bytes and more"
    assert load_settings({"PACELINE_WEBHOOK_SECRET_FILE": "/x"}, tmp_path).accounts == {}


def test_a_line_is_masked_by_what_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FILE", written(tmp_path))
    mask = Mask(["KEY"])

    assert mask(f"the key is {SECRET}!") == "the key is [KEY]!"
    Path(tmp_path / "secret").unlink()
    assert mask("nothing to hide") == "nothing to hide"


def test_a_key_that_cannot_be_had_stops_the_account_before_anything_is_sent() -> None:
    def gone() -> str:
        raise CredentialsError("KEY_FILE names /x, which doesn't exist; correct or unset it")

    with pytest.raises(AccessDenied, match="KEY_FILE names /x"):
        key_now(gone)
    assert key_now(None) == ""
