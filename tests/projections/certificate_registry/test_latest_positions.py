"""The latest position of each key, against a dict.

Covers: projections/certificate_registry/latest_positions.py
"""

from __future__ import annotations

import random

from projections.certificate_registry import latest_positions
from projections.certificate_registry.latest_positions import LatestPositions


def test_it_says_what_a_dict_of_the_largest_positions_says() -> None:
    generator = random.Random(20261129)
    ours, model = LatestPositions(), dict[tuple[str, ...], int]()
    for _ in range(20_000):
        key = ("omc", "national", str(generator.randrange(8_000)))
        position = generator.randrange(1, 100_000)
        ours.advance(key, position)
        model[key] = max(position, model.get(key, 0))
    assert {key: ours.of(key) for key in model} == model
    assert ours.of(("omc", "national", "none")) == 0


def test_an_entry_takes_sixteen_bytes() -> None:
    ours = LatestPositions()
    for number in range(50_000):
        ours.advance(("omc", "national", str(number)), number)
    shards = [shard for shard in ours._shards if shard is not latest_positions._NOTHING]
    used = sum(each.itemsize * len(each) for shard in shards for each in shard)
    assert used == 16 * 50_000
