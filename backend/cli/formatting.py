"""Figures, JSON values and durations as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def to_json_value(value: Any) -> Any:
    """Return a copy for JSON: non-finite numbers become None, paths text and numpy numbers plain numbers."""
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    number = float(value)
    return number if math.isfinite(number) else None


def format_figures(figures: Mapping[str, Any]) -> str:
    """Return figures as indented JSON."""
    return json.dumps(to_json_value(dict(figures)), indent=1, ensure_ascii=False)


def format_duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if needed, e.g. 75 → "1:15"."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
