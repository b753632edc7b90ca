"""Reads secrets by the name of their variable: from the environment, or from a file that `NAME_FILE` names.

Docker, Kubernetes and systemd hand secrets out as files. Each is read anew whenever it is needed, so a key that was
replaced is used without a restart, and none is kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from paceline.errors import CredentialsError

SUFFIX = "_FILE"

MOST_BYTES = 65_536
"""No key, password or address is longer; whoever names a disk or a film meant another file."""


def has_secret(name: str, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether a secret is set, one way or the other, without reading any file."""
    return source_of(name, environ) is not None


def source_of(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the variable that gives a secret, `name` or `name` with `_FILE`; None where neither is set."""
    environ = os.environ if environ is None else environ
    return next((one for one in (name, name + SUFFIX) if environ.get(one, "").strip()), None)


def read_secret(name: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Read a secret, without white space around it; '' where neither variable is set, or `name` is blank.

    `environ` and `cwd` stand for this process's own where they are None. Never blocks: a pipe is refused, as it could
    be read only once. Raises `CredentialsError` for a file that can't be read, is empty or no text, and where both
    variables are set.
    """
    environ = os.environ if environ is None else environ
    value, file = environ.get(name, "").strip(), environ.get(name + SUFFIX, "").strip()
    if not file:
        return value
    if value:
        raise CredentialsError(f"both {_shown(name)} and {_shown(name)}{SUFFIX} are set; unset one of them")
    path = Path(file).expanduser()
    return _read(path if cwd is None else cwd / path, f"{_shown(name)}{SUFFIX} names {_shown(file)}")


def _read(path: Path, what: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CredentialsError(f"{what}, which is no file; name one that holds the secret")
            data = os.read(descriptor, MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise CredentialsError(f"{what}, which doesn't exist; correct or unset it") from None
    except OSError as error:
        raise CredentialsError(f"{what}, which can't be read ({error.strerror}); correct path or permissions") from None
    if len(data) > MOST_BYTES:
        raise CredentialsError(f"{what}, which is too long for a secret; name another file")
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise CredentialsError(f"{what}, which isn't UTF-8 text; write the secret into it as it is") from None
    if not text:
        raise CredentialsError(f"{what}, which is empty; write the secret into it")
    return text


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:200])
