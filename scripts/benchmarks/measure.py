"""Fair measurement: contenders take turns, medians are compared, conditions are recorded.

Reading order: Contender, `take_turns`, Comparison, Conditions.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

Sample = Mapping[str, float]
"""One run of a contender. `rate`: units a second; `p50_ms`, `p99_ms` where latency was taken."""


class Unavailable(Exception):
    """A peer cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a comparison. run: measures once. Raises: Unavailable if it cannot."""

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Plan:
    """Size of a run. scale: divisor of sizes, 1, or 50 with --quick."""

    scale: int = 1

    @property
    def quick(self) -> bool:
        return self.scale > 1

    @property
    def rounds(self) -> int:
        """Turns of each contender."""
        return 2 if self.quick else 3

    def size(self, full: int, least: int = 1) -> int:
        """A number of rows or calls."""
        return max(full // self.scale, least)

    def seconds(self, full: float) -> float:
        """Length of a turn; a tenth with --quick, because less is noise."""
        return full / 10 if self.quick else full


def take_turns(
    contenders: Sequence[Contender], rounds: int, before: Callable[[], None]
) -> dict[str, list[Sample]]:
    """Run each once per round; odd rounds in reverse order, so that none is always first.

    before: called before each turn. Returns: the samples of each contender that could run.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    missing: set[str] = set()
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            if contender.name in missing:
                continue
            before()
            try:
                samples[contender.name].append(contender.run())
            except Unavailable as reason:
                missing.add(contender.name)
                say(f"{contender.name} is skipped: {reason}")
    return {name: found for name, found in samples.items() if found}


def median(samples: Sequence[Sample], key: str = "rate") -> float:
    """Median of one figure over all runs."""
    return statistics.median(sample[key] for sample in samples)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours against one peer or limit. ratio: ours by theirs; bar: what it should reach.

    also: conditions of its own. key: which figure of a sample is compared.
    """

    bench: str
    case: str
    unit: str
    ours: Sequence[Sample]
    peer_name: str
    peer: Sequence[Sample]
    bar: str
    key: str = "rate"
    also: Mapping[str, Any] = field(default_factory=dict)

    def line(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The comparison as it is printed."""
        return {
            "bench": self.bench,
            "case": self.case,
            "unit": self.unit,
            "ours": _figure(self.ours, self.key),
            "peer": {"name": self.peer_name, **_figure(self.peer, self.key)},
            "ratio": _rounded(median(self.ours, self.key) / median(self.peer, self.key)),
            "bar": self.bar,
            "conditions": dict(conditions),
        }


def compare(
    bench: str,
    case: str,
    unit: str,
    samples: Mapping[str, Sequence[Sample]],
    ours: str,
    peers: Mapping[str, str],
    **also: Any,
) -> list[Comparison]:
    """Ours against each of the peers (name -> bar) that could be measured."""
    return [
        Comparison(bench, case, unit, samples[ours], name, samples[name], bar, also=also)
        for name, bar in peers.items()
        if name in samples
    ]


def _figure(samples: Sequence[Sample], key: str) -> dict[str, Any]:
    figure: dict[str, Any] = {
        "median": _rounded(median(samples, key)),
        "runs": [_rounded(sample[key]) for sample in samples],
    }
    for name in sorted(set(samples[0]) - {key}):
        figure[name] = _rounded(median(samples, name))
    return figure


def _rounded(value: float) -> float:
    return round(value, 1) if abs(value) >= 100 else float(f"{value:.3g}")


def say(text: str) -> None:
    """Print progress to stderr; stdout has the figures only."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def conditions(**known: Any) -> dict[str, Any]:
    """What the figures depend on, in addition to the machine."""
    return {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": ".".join(map(str, sys.version_info[:3])),
        **known,
    }


def child(command: Sequence[str], order: Mapping[str, Any], timeout_seconds: float = 600) -> Sample:
    """Run a client in its own process and parse the sample it prints as its last line.

    order: its parameters, passed as one JSON argument.
    Raises: RuntimeError with its output, if it failed.
    """
    done = subprocess.run(
        [*command, json.dumps(order)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=timeout_seconds,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[-1]} failed:\n{done.stderr[-2000:] or done.stdout[-2000:]}")
    sample: Sample = json.loads(done.stdout.strip().splitlines()[-1])
    return sample


def ours(module: str) -> list[str]:
    """The command of one of our own clients."""
    return [sys.executable, "-m", f"scripts.benchmarks.{module}"]
