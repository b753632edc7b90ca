"""Starts the sandbox by itself: ``python -m sandbox``."""

from sandbox.command import command

if __name__ == "__main__":
    command(prog_name="sandbox")
