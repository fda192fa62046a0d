"""The whole way of a candidate over HTTP, from registration to the public lookup and back."""

from __future__ import annotations

from tests.support.http_journey import Journey, certified


def test_a_candidate_goes_all_the_way_to_two_certificates(book):
    journey, numbers = certified(book)
    assert numbers["national"].startswith(book.site_code)
