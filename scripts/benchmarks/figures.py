"""JSON lines of several runs as one table: the median of each comparison over the runs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

_HEAD = """| bench | case | ours | against | | ratio | runs | bar | |
|---|---|---|---|---|---|---|---|---|"""


def table(lines: str) -> str:
    """In Markdown, a row for each comparison that any of the lines made, in order."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in map(json.loads, lines.splitlines()):
        found.setdefault((line["bench"], line["case"], line["peer"]["name"]), []).append(line)
    return "\n".join([_HEAD, *(_row(*names, runs) for names, runs in found.items())])


def holds(ratio: float, bar: str) -> bool:
    """Whether a ratio reaches a bar such as `>= 1/3` or `<= 1.2`."""
    sign, value = bar.split()
    return ratio >= Fraction(value) if sign == ">=" else ratio <= Fraction(value)


def _row(bench: str, case: str, peer: str, runs: Sequence[dict[str, Any]]) -> str:
    bar = runs[0]["bar"]
    ratios = [run["ratio"] for run in runs]
    ratio = statistics.median(ratios)
    verdict = "" if not bar else "holds" if holds(ratio, bar) else "**not reached**"
    cells = (
        bench,
        case,
        f"{_shown(run['ours']['median'] for run in runs)} {runs[0]['unit']}",
        peer,
        _shown(run["peer"]["median"] for run in runs),
        _number(ratio),
        ", ".join(map(_number, ratios)),
        bar,
        verdict,
    )
    return "| " + " | ".join(cells) + " |"


def _shown(values: Iterable[float]) -> str:
    return _number(statistics.median(values))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
