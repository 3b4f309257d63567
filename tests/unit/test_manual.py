"""The manual says what is: its links and pictures exist, its buttons are the sidebar's, its commands can be parsed."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from backend.cli.commands import build_parser
from backend.contract.channels import CHANNEL_GROUPS

ROOT = Path(__file__).resolve().parents[2]
USER_PAGES = (ROOT / "README.md", *sorted((ROOT / "docs" / "user").glob("*.md")))
PAGES = (*USER_PAGES, *sorted(ROOT.glob("C*.md")), *sorted((ROOT / "docs" / "developer").glob("*.md")))
LINK = re.compile(r"\]\(([^)]+)\)")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SENTENCE = (".", "?", ":", ";", ",", "!")  # what emphasis or a question ends with, and no button
BLENDERS_OWN = {"N", "I", "F9", "Edit", "Preferences", "Get Extensions", "Install from Disk", "System", "Network"}
LARGEST = {".gif": 3e6, ".jpg": 4e5, ".png": 4e5}


def anchors(page: Path) -> set[str]:
    """What `#…` may name in a page, as GitHub spells it."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def labels() -> set[str]:
    """All texts in the sources of the add-on, of those with gaps the parts between them; and the groups of channels."""
    texts = set(CHANNEL_GROUPS)
    for file in (ROOT / "addon").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts |= {part.strip() for part in node.value.split("{}")}
    return texts


def named(page: Path) -> set[str]:
    """The names in bold of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = {" ".join(bold.split()) for bold in BOLD.findall(text)}
    names = {bold for bold in found if not bold.endswith(SENTENCE) and not bold.startswith("…")}
    return {part.removesuffix("…").strip() for name in names for part in name.split("▸")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name} names {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} names {link}"
        if target.suffix in LARGEST:
            assert target.stat().st_size <= LARGEST[target.suffix], f"{target.name} is too large"


def test_every_picture_is_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [p.name for p in (ROOT / "docs" / "pictures").iterdir() if f"pictures/{p.name})" not in shown] == []


@pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)
def test_names_in_bold_are_the_sidebar_s(page: Path) -> None:
    assert named(page) - labels() - BLENDERS_OWN - {""} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_backend_can_be_parsed(page: Path) -> None:
    for line in "\n".join(FENCE.findall(page.read_text(encoding="utf-8"))).splitlines():
        _, found, words = line.partition("python -m backend ")
        if found:
            build_parser().parse_args(shlex.split(words, comments=True))
