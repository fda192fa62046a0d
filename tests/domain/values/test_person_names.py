"""Names have one form for comparison and one mask for publication."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.values.identity_documents import mask_name as mask_name_of_identity
from domain.values.person_names import NAME_LENGTH_MAX, InvalidName, mask_name, normalise_name

han_names = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("张三", "张三"),
        (" 张 三\u3000", "张三"),
        ("买买提•艾力", "买买提·艾力"),
        ("买买提・艾力", "买买提·艾力"),
        ("买买提．艾力", "买买提·艾力"),
        ("买买提 · 艾力", "买买提·艾力"),
        ("ｊｏｈｎ  smith", "JOHN SMITH"),
        ("Anne-Marie O’Neill Jr.", "ANNE-MARIE O'NEILL JR."),
        ("José", "JOSÉ"),
        ("Jose\u0301", "JOSÉ"),
        ("李〇", "李〇"),
        ("𠮷田", "𠮷田"),
        ("张\u200b三", "张三"),
        ("欧", "欧"),
    ],
)
def test_spellings_of_a_name_normalise_to_one_form(typed, name):
    assert normalise_name(typed) == name


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "empty"),
        (" \u200b ", "empty"),
        ("张" * 61, "too_long"),
        ("张3", "not_a_letter"),
        ("张三;--", "not_a_letter"),
        ("<b>", "not_a_letter"),
        ("张*", "not_a_letter"),
        ("张\ue000", "private_use_character"),
        ("·张", "misplaced_mark"),
        ("张·", "misplaced_mark"),
        ("买··艾", "misplaced_mark"),
        ("-Anne", "misplaced_mark"),
        ("张\x00三", "not_a_letter"),
    ],
)
def test_an_invalid_name_is_refused_with_its_reason(typed, reason):
    with pytest.raises(InvalidName) as refusal:
        normalise_name(typed)
    assert refusal.value.fields == {"reason": reason}


@given(st.text(max_size=80))
def test_name_normalisation_is_idempotent(raw):
    try:
        name = normalise_name(raw)
    except InvalidName as refusal:
        assert refusal.reason
    else:
        assert normalise_name(name) == name
        assert 1 <= len(name) <= NAME_LENGTH_MAX


def test_a_plain_chinese_name_is_its_own_normal_form():
    """It is not worked out; a space takes it the way on which it is."""
    plain = [chr(code) for code in range(0x4E00, 0xA000)]
    assert [normalise_name(f" {name}") for name in plain] == plain
    assert [normalise_name(name) for name in plain] == plain
    assert normalise_name("张" * 60) == "张" * 60
    with pytest.raises(InvalidName):
        normalise_name("张" * 61)


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("张三", "张*"),
        ("欧阳娜娜", "欧***"),
        ("张", "*"),
        ("", "*"),
        ("买买提·艾力", "买*****"),
        ("John Smith", "J*********"),
        ("𠮷田", "𠮷*"),
    ],
)
def test_a_masked_name_shows_only_its_first_character(name, masked):
    assert mask_name(name) == masked
    assert mask_name_of_identity(name) == masked


@given(han_names)
def test_a_mask_reveals_one_character_and_the_length(name):
    masked = mask_name(name)
    assert len(masked) == len(name)
    assert masked.count("*") == max(1, len(name) - 1)


def test_two_spellings_of_a_name_have_one_mask():
    assert mask_name("张 三") == mask_name("张三")
    assert mask_name("买买提•艾力") == mask_name("买买提 · 艾力")
