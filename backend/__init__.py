"""Portrait Actor's backend: a portrait video becomes a Gaussian actor. Runs as `python -m backend`."""

__version__ = "0.1.0"
