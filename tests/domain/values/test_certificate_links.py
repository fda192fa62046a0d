"""The links on certificates: keyed, named by their key, read from the right."""

import hashlib
import hmac
import json

import pytest

from domain.values.certificate_links import LinkKeys, key_name, link_of, parse_link

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def test_a_link_is_the_first_sixteen_bytes_of_a_mac_under_its_key():
    """Source: source-document 5.3."""
    named = json.dumps(["omc", "national", "S000033000123264000001", 2], separators=(",", ":"))
    mac = hmac.new(KEY, b"certledger link v1\x00" + named.encode(), hashlib.sha256)
    name = hmac.new(KEY, b"certledger key id v1\x00link", hashlib.sha256).hexdigest()[:2]
    found = link_of(KEY, "omc", "national", "S000033000123264000001", 2)
    assert found == f"omc-{name}{mac.hexdigest()[:32]}"


def test_every_part_of_what_it_is_changes_the_link():
    usual = ("omc", "national", "N1", 1)
    others = [("zju", *usual[1:]), ("omc", "omc", "N1", 1), ("omc", "national", "N2", 1)]
    links = {link_of(KEY, *each) for each in (usual, *others, ("omc", "national", "N1", 2))}
    assert len(links) == 5
    assert link_of(OTHER, *usual) not in links


@pytest.mark.parametrize("ledger", ["omc", "a-b", "x-00" + "f" * 20])
def test_a_link_is_read_from_the_right(ledger):
    link = link_of(KEY, ledger, "national", "N1", 1)
    assert parse_link(link) == (ledger, key_name(KEY), link[-32:])


@pytest.mark.parametrize(
    "text",
    ["", "0" * 32, "omc" + "0" * 34, "omc-" + "0" * 33, "Omc-" + "0" * 34, "omc-aa" + "G" * 32],
)
def test_a_text_of_another_form_is_no_link(text):
    assert parse_link(text) is None


def test_the_active_key_makes_the_link_to_print_and_retired_ones_follow():
    named = ("omc", "national", "N1", 1)
    keys = LinkKeys(KEY, (OTHER,))
    assert keys.links(*named) == (link_of(KEY, *named), link_of(OTHER, *named))
    assert KEY.hex() not in repr(keys)


def test_two_keys_of_one_name_are_refused():
    same = next(
        key
        for n in range(10_000)
        if key_name(key := n.to_bytes(32)) == key_name(KEY) and key != KEY
    )
    with pytest.raises(ValueError, match="same name"):
        LinkKeys(KEY, (same,))
