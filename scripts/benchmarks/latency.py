"""Summarises latencies as a sample."""

from collections.abc import Sequence


def sample_of(latencies_s: Sequence[float], took_s: float) -> dict[str, float]:
    """Rate and percentiles. took_s: duration of all calls together."""
    ordered = sorted(latencies_s)
    return {
        "rate": len(ordered) / took_s,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
    }
