"""Odd things in real folders, and code run as somebody who may not read everything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

NOBODY = 65534
ODD_NAMES = [
    b"new\nline.txt",
    b'quo"te.txt',
    b"-leading",
    b"=cmd",
    b"caf\xe9.txt",
    b"caf\xc3\xa9.txt",
    b"cafe\xcc\x81.txt",
    b"back\\slash",
    b"~",
    b"two..dots",
    b"n" * 255,
    b"\xff" * 255,
]


def put(path: Path, content: bytes = b"x") -> Path:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_raw(folder: Path, name: bytes, content: bytes = b"x") -> str:
    """Write a file whose name is any bytes; return its path relative to the folder."""
    path = os.fsencode(folder) + b"/" + name
    with open(path, "wb") as file:
        file.write(content)
    return os.fsdecode(name)


def put_socket(path: Path) -> None:
    """Leave a socket's name in the file system."""
    here = Path.cwd()
    os.chdir(path.parent)  # the whole path may be longer than a socket's address may be
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def put_deep(folder: Path, depth: int, name: str, file: str) -> str:
    """Nest folders deeper than any path may be long; return the path of the file at the bottom."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=descriptor))
    os.close(descriptor)
    return "/".join([name] * depth + [file])


def remove_deep(folder: Path) -> None:
    """Remove what `shutil.rmtree` can't."""
    subprocess.run(["/bin/rm", "-rf", "--", str(folder)], check=True)


def as_another_user(code: str, *arguments: str) -> str:
    """Run Python code as a user without privileges and return what it prints.

    As root it runs as nobody; else as ourselves, which is no different from the code's point of view. `sys.argv` holds
    the arguments.
    """
    become = f"import os; os.getuid() or (os.setegid({NOBODY}), os.seteuid({NOBODY}))\n"
    imports = "import sys; sys.path.insert(0, os.getcwd())\n"
    done = subprocess.run(
        [sys.executable, "-c", "import os\n" + imports + code.replace("#become", become), *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout
