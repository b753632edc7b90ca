"""Sinks that need more than `make test` installs: `make test-sinks`."""
