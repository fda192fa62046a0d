"""What an audit found: one thing that is not as it was written, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written, in words that hold no personal data.

    position: None if it is not about one event. check: which check found it. row: the row of
    another table, such as `claim payment PAY1`. clause: of the procedure, such as 3.2(3).
    """

    position: int | None
    what: str
    check: str = "events"
    row: str | None = None
    clause: str | None = None

    def __str__(self) -> str:
        where = [] if self.position is None else [f"position {self.position}"]
        if self.row is not None:
            where.append(self.row)
        place = f"{', '.join(where)}: " if where else ""
        return f"{place}{self.what}{f' [{self.clause}]' if self.clause else ''}"
