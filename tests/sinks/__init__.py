"""Tests that need servers and drivers which come as packages: `make test-sinks`."""
