"""The pages, as a browser shows them: `make test-browser`."""
