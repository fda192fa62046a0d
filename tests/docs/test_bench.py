"""The benchmarks run, take turns fairly, and report what they skip. No time is asserted.

Covers: scripts/benchmarks/measure.py, scripts/benchmarks/figures.py, scripts/benchmarks/__main__.py
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks.__main__ import NAMES
from scripts.benchmarks.figures import table
from scripts.benchmarks.measure import Contender, Plan, Unavailable, compare, take_turns

ROOT = Path(__file__).resolve().parents[2]


def contender(name: str, turns: list[str], rates: list[float]) -> Contender:
    def run() -> dict[str, float]:
        turns.append(name)
        return {"rate": rates.pop(0)}

    return Contender(name, run)


def test_contenders_take_turns_and_medians_are_compared() -> None:
    turns: list[str] = []
    ours, peer = [6.0, 90.0, 10.0], [2.0, 5.0, 1.0]
    contenders = [contender("ours", turns, ours), contender("peer", turns, peer)]
    samples = take_turns(contenders, 3, lambda: None)
    assert turns == ["ours", "peer", "peer", "ours", "ours", "peer"]
    [found] = compare("bench", "case", "things/s", samples, "ours", {"peer": ">= 4"}, rows=7)
    line = found.line({"cores": 2})
    assert line["ours"] == {"median": 10.0, "runs": [6.0, 90.0, 10.0]}
    assert line["peer"] == {"name": "peer", "median": 2.0, "runs": [2.0, 5.0, 1.0]}
    assert line["ratio"] == 5.0
    assert found.also == {"rows": 7}


def test_an_unavailable_peer_is_skipped_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def missing() -> dict[str, float]:
        asked.append("peer")
        raise Unavailable("there is no network")

    both = [contender("ours", [], [1.0, 2.0]), Contender("peer", missing)]
    samples = take_turns(both, 2, lambda: None)
    assert (list(samples), asked) == (["ours"], ["peer"])
    assert compare("bench", "case", "things/s", samples, "ours", {"peer": ""}) == []
    assert "peer is skipped: there is no network" in capsys.readouterr().err


def test_quick_is_a_fiftieth_but_never_zero() -> None:
    assert Plan(50).size(1_000_000) == 20_000
    assert Plan(50).size(10) == 1
    assert Plan().size(10) == 10


def line(bench: str, ratio: float, bar: str) -> str:
    return json.dumps(
        {
            "bench": bench,
            "case": "a case",
            "unit": "things/s",
            "ours": {"median": 1000 * ratio, "runs": []},
            "peer": {"name": "peer", "median": 1000.0, "runs": []},
            "ratio": ratio,
            "bar": bar,
        }
    )


def test_the_table_compares_the_median_of_all_runs_with_the_bar() -> None:
    lines = [line("lookup", ratio, ">= 1/3") for ratio in (0.2, 0.9, 0.34)]
    lines += [line("growth", ratio, "<= 1.2") for ratio in (1.3, 1.1, 1.21)]
    rows = table("\n".join(lines)).splitlines()[2:]
    assert rows == [
        "| lookup | a case | 340 things/s | peer | 1,000 | 0.34 | 0.2, 0.9, 0.34 | >= 1/3 "
        "| holds |",
        "| growth | a case | 1,210 things/s | peer | 1,000 | 1.21 | 1.3, 1.1, 1.21 | <= 1.2 "
        "| **not reached** |",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quick_runs_every_benchmark_and_prints_figures_with_conditions(
    tmp_path: Path,
) -> None:
    out = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "scripts.benchmarks", "--quick", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    skipped = {name for name in NAMES if f"bench: {name} is skipped" in done.stderr}
    assert {line["bench"] for line in lines} == set(NAMES) - skipped
    assert {"verify", "growth", "memory", "lag"} <= {line["bench"] for line in lines}
    for line in lines:
        assert line["ratio"] == pytest.approx(
            line["ours"]["median"] / line["peer"]["median"], rel=0.01
        )
        assert line["conditions"]["quick"] is True
        assert line["conditions"]["fsync"] == "on"
    assert len(table(done.stdout).splitlines()) == 2 + len(lines)


def test_every_benchmark_has_its_module() -> None:
    folder = ROOT / "scripts" / "benchmarks"
    assert [name for name in NAMES if not (folder / f"{name}.py").exists()] == []


def test_the_node_lock_file_contains_no_address() -> None:
    lock = ROOT / "scripts" / "benchmarks" / "peers" / "package-lock.json"
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 1
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all(package.get("integrity") for name, package in packages.items() if name)
