"""The library underneath: words, rules, state and adapters; it knows neither Celery nor settings."""
