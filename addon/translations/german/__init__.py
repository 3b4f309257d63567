"""German: what is drawn, what explains it, what is told."""

from .labels import LABELS
from .messages import MESSAGES
from .tooltips import TOOLTIPS

TEXTS = LABELS | TOOLTIPS

__all__ = ["MESSAGES", "TEXTS"]
