"""The file of an edition, as two persons hand it to one another."""

import json

import pytest

from domain.editions.edition import EditionKind, MalformedEdition
from domain.editions.edition_file import read_edition
from tests.support.editions import calendar_2027

PROPOSAL = calendar_2027()
FILE = PROPOSAL.model_dump(mode="json")
TEXT = json.dumps(FILE)


def read(text: str | bytes, kind: EditionKind = EditionKind.CALENDAR):
    return read_edition(kind, text.encode() if isinstance(text, str) else text)


def test_a_file_is_read_however_it_is_spaced_and_ordered():
    found = read(TEXT)
    assert (found.edition, found.valid_from) == ("cn-2027.1", PROPOSAL.valid_from)
    spaced = json.dumps(dict(reversed(FILE.items())), indent=4, ensure_ascii=False)
    assert read("\ufeff" + spaced) == found


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        pytest.param(b"\xd5\xc5", "file", "utf-8", id="another encoding"),
        pytest.param("", "file", "Expecting value", id="empty"),
        pytest.param("[]", "file", "dictionary", id="no object"),
        pytest.param("{}", "kind", "Field required", id="no kind"),
        pytest.param('{"kind":"calendar","kind":"fees"}', "file", "appears twice", id="key twice"),
        pytest.param('{"kind":1.5}', "file", "1.5 is no whole number", id="fraction"),
        pytest.param('{"kind":NaN}', "file", "NaN is no whole number", id="not a number"),
        pytest.param("[" * 100_000, "file", "recursion", id="too deep"),
        pytest.param(TEXT.replace("cn-2027.1", "a b"), "edition", "pattern", id="name"),
        pytest.param(TEXT.replace("2026-12-01", "2026-13-01"), "valid_from", "date", id="day"),
        pytest.param(TEXT.replace("made up for a test", ""), "content.source", "1", id="source"),
    ],
)
def test_a_file_that_is_no_edition_is_refused_with_its_place(text, place, reason):
    with pytest.raises(MalformedEdition) as refused:
        read(text)
    assert refused.value.fields["place"] == place
    assert reason in refused.value.fields["reason"]


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(MalformedEdition, match="holds an edition of calendar"):
        read(TEXT, EditionKind.FEES)
