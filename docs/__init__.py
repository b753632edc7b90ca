"""What keeps the documentation true: `python -m docs.generate` writes the generated parts, `docs.check` compares."""
