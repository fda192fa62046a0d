"""`lawful`: whether one command's facts could have been decided on the states as they were.

Reading order: Unlawful, NotJudged, `lawful`, then one function a question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from domain.lawfulness.history import History, RecordedCommand

BlindIndex = Callable[[str, str, "str | None"], str]
"""`blind_index(kind, text, algorithm)`: the index under the algorithm of the stored one."""


class Unlawful(NamedTuple):
    """An event that no decision could have made.

    clause: of the procedure, such as "3.2(3)", as the decision cites it; empty if it cites none.
    """

    position: int
    topic: str
    clause: str
    reason: str

    def __str__(self) -> str:
        clause = f" ({self.clause})" if self.clause else ""
        return f"{self.topic} could not have been decided{clause}: {self.reason}"


class NotJudged(NamedTuple):
    """A command that cannot be judged, and why; never counted as unlawful."""

    reason: str


def lawful(
    history: History, recorded: RecordedCommand, blind_index: BlindIndex
) -> Unlawful | NotJudged | None:
    """Judge what one command recorded. Changes nothing.

    history: everything before it. Returns: None if a decision makes exactly these facts.
    """
    return None
