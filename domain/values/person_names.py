"""Normalises people's names for comparison, and masks them for publication.

A lookup matches a name against a certificate, so spaces (张 三), full-width letters
(ｚｈａｎｇ ｓａｎ) and the various middle dots must not turn one person into two.
"""

import re
import unicodedata

from domain.errors import LedgerError

NAME_LENGTH_MAX = 60

_HAN = "〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}·]) (?=[{_HAN}·])")
_HAN_FULL_STOP = re.compile(rf"(?<=[{_HAN}])\.(?=[{_HAN}])")
_MIDDLE_DOTS = "\u2022\u30fb\u2027\u2219\u22c5\u25cf\u2e31"
_SAME_MARK = str.maketrans(
    dict.fromkeys(_MIDDLE_DOTS, "·") | {"\u2019": "'", "\u2018": "'", "\u2010": "-", "\u2011": "-"}
)
_JOINS = "·'-. "
_PLAIN = re.compile(rf"[\u4e00-\u9fff]{{1,{NAME_LENGTH_MAX}}}")
"""Names that are already in normal form: most of them."""


class InvalidName(LedgerError):
    """The name was refused: {reason}."""

    code = "invalid_name"


def normalise_name(raw: str) -> str:
    """The form of a name that is compared and printed.

    Full-width becomes half-width (NFKC), every middle dot becomes `·` (买买提·艾力), spaces
    between Chinese characters are removed, others collapse to one; Latin letters become
    upper-case, as in a passport. Returns: 1..60 characters.
    Raises: InvalidName with reason empty, too_long, private_use_character (a rare character
        from a private font: ask for its GB 18030-2022 code), not_a_letter or misplaced_mark.
    Source: source-document 3.1(1)
    """
    if _PLAIN.fullmatch(raw):
        return raw
    name = _tidy(raw)
    if not name:
        raise InvalidName(reason="empty")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidName(reason="too_long")
    if any(unicodedata.category(character) == "Co" for character in name):
        raise InvalidName(reason="private_use_character")
    if not all(_is_letter(character) or character in _JOINS for character in name):
        raise InvalidName(reason="not_a_letter")
    # A Latin name may end in a full stop (Jr.); no other mark may begin or end a name.
    if name[0] in _JOINS or name[-1] in "·'-" or "··" in name:
        raise InvalidName(reason="misplaced_mark")
    return name


def mask_name(name: str) -> str:
    """The published form of a name: its first character, then one star for each other.

    张三 is 张*, 欧阳娜娜 is 欧***; dots and spaces are masked too, and a name of a single
    character is masked entirely. There is one mask only, so that two pages cannot be combined to
    reveal more than one of them shows. Never raises.
    Source: source-document 5.1
    """
    tidy = _tidy(name)
    return "*" if len(tidy) <= 1 else tidy[0] + "*" * (len(tidy) - 1)


def _tidy(raw: str) -> str:
    """The name in uniform spelling, not validated."""
    text = unicodedata.normalize("NFKC", raw).upper().translate(_SAME_MARK)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    # Upper-casing and removal can leave a letter next to its accent: compose it again.
    text = unicodedata.normalize("NFKC", text)
    text = _BETWEEN_HAN.sub("", " ".join(text.split()))
    return _HAN_FULL_STOP.sub("·", text)


def _is_letter(character: str) -> bool:
    # By range as well: a character newer than this Python's Unicode tables is a letter too.
    return (
        unicodedata.category(character)[0] in "LM"
        or character == "〇"
        or 0x20000 <= ord(character) <= 0x3FFFF
    )
