"""The German texts: labels, tooltips and messages."""

from .labels import LABELS
from .messages import MESSAGES
from .tooltips import TOOLTIPS

TEXTS = LABELS | TOOLTIPS

__all__ = ["MESSAGES", "TEXTS"]
