"""Array literals, written by one function for queries, batches and COPY."""

from collections.abc import Iterable
from typing import Any


def array(values: Iterable[Any]) -> str:
    """A PostgreSQL array literal: one constant to parse instead of one for each element.

    values: text, numbers, ids or None; text is quoted, so any text may be given.
    """
    elements = list(values)
    if not elements:
        return "{}"
    try:
        text = '","'.join(elements)
    except TypeError:
        return "{" + ",".join(map(_element, elements)) + "}"
    if "\\" not in text and text.count('"') == 2 * len(elements) - 2:
        return f'{{"{text}"}}'
    return "{" + ",".join(map(_element, elements)) + "}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else str(value)
