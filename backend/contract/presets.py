"""The names of the training presets, from the fastest to the best; their settings are in training/config."""

from __future__ import annotations

PRESET_NAMES = ("tiny", "draft", "standard", "final")  # "tiny" only tests a pipeline
DEFAULT_PRESET = "draft"
