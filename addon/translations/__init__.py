"""Translations of the interface.

Blender looks up what it draws itself (names, tooltips, enum items) here too, by CONTEXT: in its own words a "Face" is a
polygon. Texts that the add-on draws or reports go through `iface_`, `tip_` or `rpt_`, as in Blender's scripts; texts
with values are templates: ``iface_("Create {}").format(name)``.

Errors, notes and stages are English where they arise, in the backend's process and in logs as in the add-on, so that
everybody who helps can read them. Where they are shown, `translate_message` finds the template from which they were
made. A message without a template stays English.

Another language is another folder like german/, listed in TEXTS and MESSAGES.

Names that are stored in a file (bones, shape keys, actions, nodes, sockets) are never translated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from bpy.app import translations

from ..contract import PACKAGE
from . import german

CONTEXT = "Portrait Actor"
MESSAGE_CONTEXT = "Portrait Actor message"  # of messages: "Render" is a button in one context, a stage in the other
TEXTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({"de": german.TEXTS})  # language → English → text
MESSAGES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({"de": german.MESSAGES})
MAX_CACHED_MESSAGES = 256  # more than the sidebar and a long job's log show
_FIELD = re.compile(r"\{[^}]*\}")


def iface_(text: str) -> str:
    """Translate a label."""
    return translations.pgettext_iface(text, CONTEXT)


def tip_(text: str) -> str:
    """Translate a tooltip, or the reason why a button is disabled."""
    return translations.pgettext_tip(text, CONTEXT)


def rpt_(text: str) -> str:
    """Translate a report."""
    return translations.pgettext_rpt(text, CONTEXT)


def n_(text: str) -> str:
    """Mark a text that is translated later, where it is shown."""
    return text


def translate_message(text: str) -> str:
    """Translate a message that was made in English."""
    template, values = match_template(text)
    translated: str = translations.pgettext_rpt(template, MESSAGE_CONTEXT)
    # A lower-case value is a word such as "video", any other a name.
    words = (translations.pgettext_rpt(value, MESSAGE_CONTEXT) if value.islower() else value for value in values)
    return translated.format(*words) if values else translated


def failure_text(error: Any) -> str:
    """Return the translated message and remedy of an error: anything with these two attributes."""
    return f"{translate_message(error.message)} {translate_message(error.remedy)}".strip()


@functools.lru_cache(maxsize=MAX_CACHED_MESSAGES)
def match_template(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the template that a message was made from and the values in it; the message itself if there is none."""
    known = next(iter(MESSAGES.values()))
    if text not in known:
        for template, pattern in _template_patterns():
            if found := pattern.fullmatch(text):
                return template, found.groups()
    return text, ()


@functools.cache
def _template_patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return the templates with values and their patterns, those with the longest fixed text first."""
    templates = [text for text in next(iter(MESSAGES.values())) if _FIELD.search(text)]
    templates.sort(key=lambda text: -len(_FIELD.sub("", text)))
    return [(t, re.compile("(.*?)".join(map(re.escape, _FIELD.split(t))), re.DOTALL)) for t in templates]


def register() -> None:
    """Register the texts in Blender, which looks up tooltips without a context and everything else in ours."""
    words: dict[str, dict[tuple[str, str], str]] = {}
    for language, texts in TEXTS.items():
        words[language] = {
            (context, text): translated for context in (CONTEXT, "*") for text, translated in texts.items()
        }
        words[language] |= {(MESSAGE_CONTEXT, text): translated for text, translated in MESSAGES[language].items()}
    translations.register(PACKAGE, words)


def unregister() -> None:
    """Remove the texts from Blender."""
    translations.unregister(PACKAGE)
    match_template.cache_clear()
    _template_patterns.cache_clear()
