"""Second places of heads: addresses overwrite nothing, and a silent one is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import Settings, SettingsInvalid, load_settings
from api.transparency.head_places import (
    RETRY_S,
    SILENT_S,
    AddressPlace,
    PatientPlace,
    other_places,
)
from domain.store.errors import HeadExists, HeadPlaceSilent
from domain.store.tlog.heads import folder_of
from tests.support.place_server import PlaceServer, place_server

ORIGIN = "example.org/omc"


@pytest.fixture
def server() -> Iterator[PlaceServer]:
    """A place that answers over HTTP."""
    with place_server() as server:
        yield server


def test_an_address_keeps_heads_under_the_hash_of_the_origin(server: PlaceServer) -> None:
    place = AddressPlace(server.address)
    place.write(ORIGIN, 7, "note — 7\n")
    assert server.kept == {f"/heads/{folder_of(ORIGIN)}/7": "note — 7\n"}
    assert place.read(ORIGIN, 7) == "note — 7\n"
    assert place.read(ORIGIN, 8) is None


def test_an_address_lists_the_sizes_that_it_keeps_in_order(server: PlaceServer) -> None:
    place = AddressPlace(server.address)
    for size in (100, 9, 20):
        place.write(ORIGIN, size, f"note {size}\n")
    assert place.sizes(ORIGIN) == [9, 20, 100]
    assert place.sizes(ORIGIN, after=20) == [100]
    assert place.sizes("example.org/other") == []


def test_another_head_of_the_same_size_is_refused(server: PlaceServer) -> None:
    place = AddressPlace(server.address)
    place.write(ORIGIN, 7, "first\n")
    place.write(ORIGIN, 7, "first\n")
    with pytest.raises(HeadExists):
        place.write(ORIGIN, 7, "second\n")
    assert place.read(ORIGIN, 7) == "first\n"


@pytest.mark.parametrize("status", [301, 403, 500])
def test_any_other_answer_is_silence(server: PlaceServer, status: int) -> None:
    place = AddressPlace(server.address)
    server.broken = status
    with pytest.raises(HeadPlaceSilent):
        place.sizes(ORIGIN)
    with pytest.raises(HeadPlaceSilent):
        place.write(ORIGIN, 7, "note\n")


def test_an_address_where_nothing_listens_is_silent() -> None:
    with pytest.raises(HeadPlaceSilent):
        AddressPlace("http://127.0.0.1:9/heads").read(ORIGIN, 1)


def test_a_silent_place_is_not_asked_again_at_once_and_is_reported_after_ten_minutes(
    server: PlaceServer,
) -> None:
    now = [1000.0]
    place = PatientPlace(AddressPlace(server.address), clock=lambda: now[0])
    place.write(ORIGIN, 1, "note\n")
    server.broken = 500
    for _ in range(5):
        with pytest.raises(HeadPlaceSilent):
            place.sizes(ORIGIN)
    assert server.requests == 2
    assert not place.is_silent
    now[0] += SILENT_S
    with pytest.raises(HeadPlaceSilent):
        place.sizes(ORIGIN)
    assert place.is_silent
    server.broken = None
    now[0] += RETRY_S
    assert place.sizes(ORIGIN) == [1]
    assert not place.is_silent


def settings(places: str) -> Settings:
    return load_settings(head_places=places)


def test_the_setting_names_directories_and_addresses(tmp_path: Path) -> None:
    given = f"{tmp_path}, https://a.example/heads ,http://127.0.0.1:8080/h,http://[::1]/h"
    names = [place.name for place in other_places(settings(given))]
    assert names == [
        str(tmp_path),
        "https://a.example/heads",
        "http://127.0.0.1:8080/h",
        "http://[::1]/h",
    ]
    assert other_places(settings("")) == []


@pytest.mark.parametrize(
    "place", ["http://a.example/heads", "ftp://a.example", "https://", "s3://b"]
)
def test_an_address_that_others_could_read_or_change_on_the_way_is_refused(place: str) -> None:
    with pytest.raises(SettingsInvalid, match="HEAD_PLACES"):
        settings(place)
