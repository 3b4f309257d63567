"""Every word that the interface shows has a German one, and every German one is shown."""

from __future__ import annotations

import ast
import functools
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import addon_utils
import bpy
import pytest
from support import PACKAGE, ROOT

MARKS = {"iface_", "tip_", "rpt_", "n_"}
DRAWN = {"label", "draw_wrapped_text", "report", "poll_message_set"}  # what they get is marked, or stands in a variable
ICONS = ("ERROR", "INFO", "CHECKMARK", "LINKED")
REFUSALS = {"UserError", "_make_error", "Error"}
CONSOLE = ("cli.py",)  # speaks to terminals and logs, in English


@pytest.fixture(scope="module")
def translations(installed: Callable[[str], ModuleType]) -> Any:
    return installed("addon.translations")


def template(node: ast.expr) -> str:
    """What stands in the source as a text; values are ``{}``; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


@functools.cache
def nodes(folder: str) -> list[tuple[Path, ast.AST]]:
    """All of the sources below a folder, but the languages' own."""
    paths = [
        p for p in sorted((ROOT / folder).rglob("*.py")) if "translations" not in p.parts and p.name not in CONSOLE
    ]
    return [(path, node) for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def calls(folder: str) -> Iterator[tuple[Path, str, ast.Call]]:
    """File, function's last name and call of all calls below a folder."""
    for path, node in nodes(folder):
        if isinstance(node, ast.Call):
            yield path, getattr(node.func, "attr", getattr(node.func, "id", "")), node


def marked() -> set[str]:
    """What passes through `iface_` and its kin, and labels that Blender looks up by the operator's context."""
    found = {template(call.args[0]) for _, name, call in calls("addon") if name in MARKS and call.args}
    for _, name, call in calls("addon"):
        if name in ("operator", "prop", "menu"):
            found |= {template(k.value) for k in call.keywords if k.arg == "text"}
    return found - {""}


def registered(installed: Callable[[str], ModuleType]) -> set[str]:
    """Names and tooltips of everything that the extension registers."""
    found: set[str] = set()
    for module in installed("addon").MODULES:
        for kind in module.CLASSES:
            rna = kind.bl_rna
            if issubclass(kind, bpy.types.Operator):
                rna = getattr(bpy.ops.portrait_actor, kind.bl_idname.partition(".")[2]).get_rna_type()
                found.add(rna.description)
            found.add(getattr(kind, "bl_label", ""))
            for item in ours(kind, rna):
                found |= {item.name, item.description}
                if item.type == "ENUM":
                    found |= {text for entry in item.enum_items for text in (entry.name, entry.description)}
    return found - {""}


def ours(kind: type, rna: Any) -> list[bpy.types.Property]:
    """The properties that a class and its mixins define."""
    own = [base for base in kind.__mro__ if base.__module__.startswith(PACKAGE)]
    named = {name for base in own for name in getattr(base, "__annotations__", {})}
    return [item for item in rna.properties if item.identifier in named and not item.is_hidden]


def shown(installed: Callable[[str], ModuleType]) -> set[str]:
    """All of it; what has no lower-case letters ("CUDA", the names of sounds) is the same in every language."""
    groups = set(installed("addon.contract").channels.CHANNEL_GROUPS)
    sockets = {item[-1] for item in installed("addon.scene.merge_group").GROUP_INPUTS if not isinstance(item, str)}
    return {text for text in marked() | registered(installed) | groups | sockets if text.upper() != text}


def fields(text: str) -> list[tuple[str, str]]:
    """Which values a template takes, in any order, with their formats."""
    named = [(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None]
    return sorted((name or str(number), spec or "") for number, (name, spec) in enumerate(named))


def test_every_text_has_a_german_one_and_none_is_left_over(
    installed: Callable[[str], ModuleType], translations: Any
) -> None:
    german, wanted = translations.TEXTS["de"], shown(installed)
    assert not sorted(wanted - set(german))
    assert not sorted(set(german) - wanted)


def test_every_refusal_has_a_german_sentence_and_none_is_left_over(translations: Any) -> None:
    german = translations.MESSAGES["de"]
    refused = {template(a) for _, name, call in calls("addon") if name in REFUSALS for a in call.args[1:]} - {"", "bug"}
    assert not sorted(text for text in refused if translations.match_template(text)[0] not in german)
    said = {
        template(node) for folder in ("addon", "backend") for _, node in nodes(folder) if isinstance(node, ast.expr)
    }
    said = {"".join(fixed(text)) for text in said if len(text) < 250}  # longer ones explain the code
    assert not sorted(set(german) - said - {text.capitalize() for text in said})


def fixed(text: str) -> Iterator[str]:
    """A template's parts with its values' names left out."""
    try:
        for part, name, _, _ in string.Formatter().parse(text):
            yield part if name is None else part + "{}"
    except ValueError:  # no template: a pattern or code in braces
        yield text


def test_both_languages_take_the_same_values(translations: Any) -> None:
    for known in (translations.TEXTS["de"], translations.MESSAGES["de"]):
        assert not [text for text, told in known.items() if not told or fields(text) != fields(told)]


def test_nothing_is_drawn_or_reported_that_cannot_be_translated() -> None:
    bare = []
    for path, name, call in calls("addon"):
        texts = [k.value for k in call.keywords if k.arg in ("text", "heading")]
        if name in DRAWN:
            bare += [(path.name, text.lineno) for text in [*texts, *call.args] if template(text) not in ("", *ICONS)]
        else:
            bare += [(path.name, text.lineno) for text in texts if isinstance(text, ast.JoinedStr)]
    assert not bare


def test_names_are_looked_up_among_our_own_words(installed: Callable[[str], ModuleType], translations: Any) -> None:
    for module in installed("addon").MODULES:
        for kind in module.CLASSES:
            if issubclass(kind, (bpy.types.Panel, bpy.types.Operator, bpy.types.Menu)):
                assert kind.bl_translation_context == translations.CONTEXT, kind
            assert {item.translation_context for item in ours(kind, kind.bl_rna)} <= {translations.CONTEXT}, kind


@pytest.mark.parametrize(
    ("english", "template", "values"),
    [
        ("There is no actor in the scene.", "There is no actor in the scene.", ()),
        ("No video was chosen.", "No {} was chosen.", ("video",)),
        ("Frames 9 to 3 are no range.", "Frames {} to {} are no range.", ("9", "3")),
        ("There is no folder at /a {b}.", "There is no folder at {}.", ("/a {b}",)),
        ("Something nobody foresaw: {x}.", "Something nobody foresaw: {x}.", ()),
    ],
)
def test_a_message_finds_the_template_it_was_made_from(
    translations: Any, english: str, template: str, values: Any
) -> None:
    assert translations.match_template(english) == (template, values)
    assert translations.translate_message(english) == english, "these tests run in English"


@pytest.mark.skipif(not bpy.app.build_options.international, reason="this Blender is built without languages")
def test_blender_speaks_german(translations: Any) -> None:
    view = bpy.context.preferences.view
    before = view.language
    view.language = "de_DE"
    try:
        assert translations.iface_("Face") == "Gesicht"
        assert translations.translate_message("No video was chosen.") == "Nichts gewählt: Video."
        addon_utils.disable(PACKAGE)
        assert translations.iface_("Face") == "Face"
    finally:
        addon_utils.enable(PACKAGE)
        view.language = before
