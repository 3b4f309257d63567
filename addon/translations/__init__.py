"""The interface in other languages than English.

What Blender draws by itself (names, tooltips, enum items) it looks up here too, by CONTEXT: in its own words a "Face"
is a polygon. What is drawn, reported or refused goes through `iface_`, `tip_` or `rpt_`, as in Blender's own scripts;
texts with values are templates: ``iface_("Create {}").format(name)``.

Failures, notes and stages are English where they are made, in the backend's process and in logs as in the add-on, so
that whoever helps can read them. Where they are shown, `sentence` finds the template that they were made from. One that
has none stays English.

Another language is another folder like german/, named in TEXTS and MESSAGES.

Names that are stored in a file (bones, shape keys, actions, nodes, sockets) are never translated.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from bpy.app import translations

from ..contract import PACKAGE
from . import german

CONTEXT = "Portrait Actor"
MESSAGE_CONTEXT = (
    "Portrait Actor message"  # the context of what `sentence` knows: "Render" is a button here, a stage there
)
TEXTS = {"de": german.TEXTS}  # by language; English → translated
MESSAGES = {"de": german.MESSAGES}
_FIELD = re.compile(r"\{[^}]*\}")


def iface_(text: str) -> str:
    """A label in the language of the interface."""
    return translations.pgettext_iface(text, CONTEXT)


def tip_(text: str) -> str:
    """A tooltip in the person's language, or why a button is grey."""
    return translations.pgettext_tip(text, CONTEXT)


def rpt_(text: str) -> str:
    """A report in the person's language."""
    return translations.pgettext_rpt(text, CONTEXT)


def n_(text: str) -> str:
    """Marks a text that is translated later, where it is shown."""
    return text


def translate_message(text: str) -> str:
    """A message that was made in English, in the person's language."""
    template, values = match_template(text)
    told = translations.pgettext_rpt(template, MESSAGE_CONTEXT)
    words = (translations.pgettext_rpt(v, MESSAGE_CONTEXT) if v.islower() else v for v in values)  # "video", not a name
    return told.format(*words) if values else told


def failure_text(error: Any) -> str:
    """What went wrong and what to do about it, of anything with a `message` and a `remedy`."""
    return f"{translate_message(error.message)} {translate_message(error.remedy)}".strip()


@functools.lru_cache(maxsize=256)
def match_template(text: str) -> tuple[str, tuple[str, ...]]:
    """The template that a message was made from, and the values in it; itself when there is none."""
    known = next(iter(MESSAGES.values()))
    if text not in known:
        for template, pattern in _template_patterns():
            if found := pattern.fullmatch(text):
                return template, found.groups()
    return text, ()


@functools.cache
def _template_patterns() -> list[tuple[str, re.Pattern[str]]]:
    """What each template with values makes; those that say most themselves come first."""
    templates = [text for text in next(iter(MESSAGES.values())) if _FIELD.search(text)]
    templates.sort(key=lambda text: -len(_FIELD.sub("", text)))
    return [(t, re.compile("(.*?)".join(map(re.escape, _FIELD.split(t))), re.DOTALL)) for t in templates]


def register() -> None:
    """Gives Blender the words. It looks tooltips up without a context, and all else in ours."""
    words: dict[str, dict[tuple[str, str], str]] = {}
    for language, texts in TEXTS.items():
        words[language] = {(context, text): told for context in (CONTEXT, "*") for text, told in texts.items()}
        words[language] |= {(MESSAGE_CONTEXT, text): told for text, told in MESSAGES[language].items()}
    translations.register(PACKAGE, words)


def unregister() -> None:
    """Takes them away."""
    translations.unregister(PACKAGE)
