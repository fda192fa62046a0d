"""The benchmarks run, take turns fairly, and say what they skip. No time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks.__main__ import NAMES
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


def test_a_peer_that_cannot_be_had_is_skipped_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def missing() -> dict[str, float]:
        asked.append("peer")
        raise Unavailable("there is no network")

    both = [contender("ours", [], [1.0, 2.0]), Contender("peer", missing)]
    samples = take_turns(both, 2, lambda: None)
    assert (list(samples), asked) == (["ours"], ["peer"])
    assert compare("bench", "case", "things/s", samples, "ours", {"peer": ""}) == []
    assert "peer is skipped: there is no network" in capsys.readouterr().err


def test_quick_is_a_fiftieth_but_never_nothing() -> None:
    assert Plan(50).size(1_000_000) == 20_000
    assert Plan(50).size(10) == 1
    assert Plan().size(10) == 10


@pytest.mark.slow
def test_a_quick_benchmark_prints_figures_with_their_conditions(tmp_path: Path) -> None:
    assert "verify" in NAMES
    out = tmp_path / "figures.jsonl"
    command = [sys.executable, "-m", "scripts.benchmarks", "verify", "--quick", "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["case"] for line in lines] == ["hashes and roots", "the whole audit"]
    for line in lines:
        assert line["ratio"] == pytest.approx(
            line["ours"]["median"] / line["peer"]["median"], rel=0.01
        )
        assert line["conditions"]["fsync"] == "on"
        assert line["conditions"]["rows"] == 100_000


def test_every_benchmark_has_its_module() -> None:
    folder = ROOT / "scripts" / "benchmarks"
    assert [name for name in NAMES if not (folder / f"{name}.py").exists()] == []


def test_what_node_peers_are_made_of_names_no_address() -> None:
    lock = ROOT / "scripts" / "benchmarks" / "peers" / "package-lock.json"
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 1
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all(package.get("integrity") for name, package in packages.items() if name)
