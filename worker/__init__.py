"""Runs through: the Celery application, its tasks, rescue."""
