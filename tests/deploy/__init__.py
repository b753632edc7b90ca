"""The files that put a fleet into place say what the code means. Needs PyYAML and jsonschema: `make test-sinks`."""
