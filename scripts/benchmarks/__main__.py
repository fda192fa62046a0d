"""Runs benchmarks: one JSON line per comparison, or a table of many lines."""

import argparse
import importlib
import json
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from scripts.benchmarks.figures import table
from scripts.benchmarks.measure import Comparison, Plan, Unavailable, conditions, say
from scripts.benchmarks.registry import Registries
from scripts.benchmarks.server import server

NAMES = ("append", "command", "lookup", "growth", "rebuild", "verify", "audit", "lag", "memory")
ON_REGISTRIES = ("lookup", "growth")  # seeded once for both, if both are run
QUICK_SCALE = 50


def main() -> int:
    """Run the named benchmarks in order."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES) + "; all if none")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the size")
    parser.add_argument("--json", type=Path, help="also append the lines to this file")
    parser.add_argument(
        "--registries",
        type=Path,
        metavar="DIR",
        help="store the seeded registries there (50 GB) and reuse existing ones",
    )
    parser.add_argument(
        "--median",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: print a table of the medians of these files",
    )
    arguments = parser.parse_args()
    if arguments.median:
        print(table("".join(file.read_text(encoding="utf-8") for file in arguments.median)))
        return 0
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    # Exit normally on SIGTERM, so that temporary data is deleted.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    asked = [name for name in NAMES if name in arguments.names or not arguments.names]
    registries = Registries(arguments.registries)
    try:
        for number, name in enumerate(asked):
            if not any(later in ON_REGISTRIES for later in asked[number:]):
                registries.give_up()
            lines = list(_lines(name, Plan(QUICK_SCALE if arguments.quick else 1), registries))
            _print(lines, sys.stdout)
            if arguments.json is not None:
                with open(arguments.json, "a", encoding="utf-8") as out:
                    _print(lines, out)
    finally:
        registries.give_up()
    return 0


def _lines(name: str, plan: Plan, registries: Registries) -> Iterable[dict[str, Any]]:
    """The lines of a benchmark with its conditions; none if it is unavailable."""
    bench = importlib.import_module(f"scripts.benchmarks.{name}")
    known = conditions(quick=plan.quick)
    begun = time.monotonic()
    found: Sequence[Comparison]
    try:
        if name in ON_REGISTRIES:
            found = bench.run(registries, plan)
        else:
            with server() as running:
                known |= running.conditions()
                found = bench.run(running, plan)
    except Unavailable as reason:
        say(f"{name} is skipped: {reason}")
        return
    known["bench_seconds"] = round(time.monotonic() - begun)
    for one in found:
        yield one.line(known | dict(one.also))


def _print(lines: Iterable[dict[str, Any]], out: TextIO) -> None:
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), file=out, flush=True)


if __name__ == "__main__":
    sys.exit(main())
