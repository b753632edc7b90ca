"""A local stand-in for the providers' APIs, with faults, for demos, rehearsals and tests."""
