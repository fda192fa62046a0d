"""Every package the project asks for has its line of reason."""

import re
import tomllib

import pytest

from scripts.documents.citations import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TEXT = (ROOT / "docs/dependencies.md").read_text("utf-8")
EXPLAINED = re.findall(r"^\| ([a-z0-9, -]+?)(?: \([^)]*\))? \|", TEXT, re.MULTILINE)
NAMES = {name for cell in EXPLAINED for name in cell.split(", ")} - {"package"}

GROUPS = PROJECT["dependency-groups"]
ASKED = [*PROJECT["project"]["dependencies"], *GROUPS["build"], *GROUPS["dev"]]
ASKED_NAMES = sorted(re.split(r"[^a-z0-9-]", line)[0] for line in ASKED)


@pytest.mark.parametrize("name", ASKED_NAMES)
def test_every_package_that_is_asked_for_is_explained(name):
    assert name in NAMES


def test_no_package_is_explained_that_is_not_asked_for():
    assert set(ASKED_NAMES) >= NAMES
