"""docs/reference.md matches the program, and links between pages resolve.

Covers: scripts/export_reference.py
"""

import re

import pytest

from api.cli.main import cli
from api.errors.problem_details import STATUS
from api.routes.routers import ACCESS
from api.settings import PREFIX, Settings
from scripts.export_reference import ROOT, render

TEXT = (ROOT / "docs/reference.md").read_text("utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_the_reference_is_up_to_date():
    assert render() == TEXT, "run scripts/export_reference.py"


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_is_documented_with_all_its_options(name):
    section = TEXT.partition(f"### certledger {name}\n")[2].partition("\n### ")[0]
    options = [o for p in cli.commands[name].params for o in p.opts if o.startswith("--")]
    assert options
    assert [option for option in options if option not in section] == []


@pytest.mark.parametrize("operation", sorted(ACCESS))
def test_every_route_is_documented(operation):
    assert TEXT.count(f"| `{operation}` |") == 1


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name):
    assert TEXT.count(f"| `{PREFIX}{name.upper()}` |") == 1


def test_every_refusal_is_documented_with_its_status():
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([0-9]{3}) \|", TEXT, re.MULTILINE))
    assert {code: str(status) for code, status in STATUS.items()} == rows


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings."""
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", bare, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_resolves(page):
    text = page.read_text("utf-8")
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(bare):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in slugs(there.read_text("utf-8")), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_no_missing_script(page):
    for name in re.findall(r"`(scripts/[\w.]+)`?", page.read_text("utf-8")):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_no_module_that_is_not_there(page):
    text = page.read_text("utf-8")
    created = set(re.findall(r"^New file `([^`]+)`$", text, re.MULTILINE))
    for name in set(re.findall(r"`((?:api|domain|projections|tests)/[\w./]+)`", text)) - created:
        assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_index_of_decisions_lists_every_record():
    folder = ROOT / "docs/decisions"
    listed = re.findall(
        r"^\| \[\d{4}\]\(([^)]+)\)", (folder / "README.md").read_text("utf-8"), re.M
    )
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
