"""Kills everything, at seeded moments and at exact points of an upload, and counts what was paid (`make soak`)."""
