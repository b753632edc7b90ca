"""Destinations of records, behind one protocol."""
