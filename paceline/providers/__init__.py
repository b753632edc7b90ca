"""Adapters for the services that run document agents, behind one protocol."""
