"""The manual: its links and pictures exist, its buttons are in the interface, its commands can be parsed."""

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
TEST_NAME = re.compile(r"\b(test_\w+\.py)(?:::(test_\w+))?")
BOLD = re.compile(r"\*\*([^*]+)\*\*")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SENTENCE_ENDS = (".", "?", ":", ";", ",", "!")  # of emphasized text; button labels have none
BLENDER_LABELS = {"N", "I", "F9", "Edit", "Preferences", "Get Extensions", "Install from Disk", "System", "Network"}
MAX_PICTURE_BYTES = {".gif": 3e6, ".jpg": 4e5, ".png": 4e5}


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub spells them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def interface_texts() -> set[str]:
    """Return all texts in the add-on's sources (templates in parts) and the groups of channels."""
    texts = set(CHANNEL_GROUPS)
    for file in (ROOT / "addon").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts |= {part.strip() for part in node.value.split("{}")}
    return texts


def bold_names(page: Path) -> set[str]:
    """Return the names in bold of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = {" ".join(bold.split()) for bold in BOLD.findall(text)}
    names = {bold for bold in found if not bold.endswith(SENTENCE_ENDS) and not bold.startswith("…")}
    return {part.removesuffix("…").strip() for name in names for part in name.split("▸")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_existing_targets(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"
        if target.suffix in MAX_PICTURE_BYTES:
            assert target.stat().st_size <= MAX_PICTURE_BYTES[target.suffix], f"{target.name} is too large"


def test_every_picture_is_used() -> None:
    used = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [p.name for p in (ROOT / "docs" / "pictures").iterdir() if f"pictures/{p.name})" not in used] == []


@pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)
def test_bold_names_exist_in_the_interface(page: Path) -> None:
    assert bold_names(page) - interface_texts() - BLENDER_LABELS - {""} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_can_be_parsed(page: Path) -> None:
    for line in "\n".join(FENCE.findall(page.read_text(encoding="utf-8"))).splitlines():
        _, found, words = line.partition("python -m backend ")
        if found:
            build_parser().parse_args(shlex.split(words, comments=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_tests_exist(page: Path) -> None:
    for file_name, test in TEST_NAME.findall(page.read_text(encoding="utf-8")):
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file_name)]
        assert sources, f"{page.name} names {file_name}"
        assert not test or any(f"def {test}(" in source for source in sources), f"{page.name} names {test}"
