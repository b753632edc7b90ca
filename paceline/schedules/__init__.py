"""Schedules: due times, what is decided about each, what is remembered of it, and whom to tell."""
