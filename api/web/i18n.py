"""The words of the pages: one table, every text in both languages side by side.

The table is split by page: `templates/texts/<page>.json` holds `"key": ["中文", "English"]`.
Placeholders are filled as by `str.format`. A test checks that both languages are complete and have
the same placeholders.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from api.http.negotiation import LANGUAGES, Language

TAGS: dict[Language, str] = {"zh": "zh-CN", "en": "en"}
"""The language tags of `<html lang>` and Content-Language."""


@cache
def texts() -> dict[str, tuple[str, str]]:
    """Every text by its key. Raises: ValueError for a repeated key."""
    found: dict[str, tuple[str, str]] = {}
    folder = resources.files("api.web") / "templates" / "texts"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        for key, pair in json.loads(path.read_text(encoding="utf-8")).items():
            if key in found:
                raise ValueError(f"two texts have the key {key}")
            chinese, english = pair
            found[key] = chinese, english
    return found


def text(language: Language, key: str, **values: Any) -> str:
    """A text, its placeholders filled. Raises: KeyError for an unknown key or a missing value."""
    template = texts()[key][LANGUAGES.index(language)]
    return template.format(**values) if values else template


def has_text(key: str) -> bool:
    """Whether the table has a key; for words that come from data, such as the name of a state."""
    return key in texts()
