"""The first edition of each kind, which comes with the program and holds from the beginning.

A file of these never changes: what was decided under it is decided again by the audit. A changed
rule is another edition, which two persons adopt. A test has the hash of each.
"""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from domain.editions.contents import check_content, stored_form
from domain.editions.edition import Edition, EditionKind, make_edition
from domain.eligibility.rule_sets import available_rule_sets

FROM_THE_BEGINNING = date.min
"""The first day of every packaged edition, so that some edition holds on any day."""


@cache
def packaged_editions(kind: EditionKind) -> tuple[Edition, ...]:
    """The packaged editions of a kind: one, or of eligibility one for each set of rules."""
    if kind is EditionKind.ELIGIBILITY:
        return tuple(
            make_edition(
                kind,
                f"{rules.occupation}-{rules.edition}.{rules.version}",
                FROM_THE_BEGINNING,
                rules.model_dump(mode="json", exclude={"digest"}),
            )
            for rules in available_rule_sets()
        )
    path = resources.files("domain") / "data" / "editions" / f"{kind.value}.json"
    file: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content = stored_form(check_content(kind, file["content"]))
    return (make_edition(kind, file["edition"], FROM_THE_BEGINNING, content),)
