"""Synthetic people, with documents of every kind and valid check characters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from stdnum.iso7064 import mod_11_2

from domain.values.identity_documents import DocumentType
from scripts.cohort.rng import SeededRandom

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程"
    "苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱"
)
COMPOUND_SURNAMES = ("欧阳", "诸葛", "司徒", "上官")
GIVEN_MALE = "伟强磊军勇杰涛明超刚平辉鹏华飞鑫波斌宇浩凯健俊帆旭宁龙林彬峰松博诚瑞泽晨航"
GIVEN_FEMALE = "芳娜敏静丽艳娟霞秀燕玲桂丹萍红玉兰洁梅琳素云莲真环雪荣爱妹香月莺媛怡婷佳欣悦雯颖"
FOREIGN = {
    "ANNA KOWALSKA": "POL",
    "LUCAS MARTIN": "FRA",
    "MARIA GARCIA": "ESP",
    "JOHN SMITH JR.": "USA",
    "SOFIA ROSSI": "ITA",
    "JEAN-PIERRE DUPONT": "FRA",
    "AKIRA TANAKA": "JPN",
    "MIN-JUN KIM": "KOR",
    "O'BRIEN LIAM": "IRL",
    "FATIMA HASSAN": "EGY",
}
"""Name -> country that issues the passport."""
WITH_DOTS = ("阿依古丽·买买提", "买买提·艾力", "古丽娜尔·热合曼", "尼玛·次仁")

# No county's code ends in 99, so a number made with these belongs to no real person.
REGIONS = ("330199", "330299", "330399", "330499", "330699", "340199", "360199", "320599", "410199")


@dataclass
class Person:
    """One synthetic person. number: normalised, as used in the photo's file name."""

    id: str
    login: str
    name: str
    sex: int
    born: date
    document_type: DocumentType
    number: str
    phone: str
    registered: bool = False
    school_group: bool = False

    @property
    def country(self) -> str | None:
        """Country that issued a passport, ISO 3166 alpha-3."""
        is_passport = self.document_type is DocumentType.PASSPORT
        return FOREIGN.get(self.name, "CHN") if is_passport else None

    @property
    def photo_name(self) -> str:
        """Required file name of the photo. Source: source-document 3.1(4)."""
        return f"{self.name}_{self.number}.jpg"


def citizen_number(region: str, born: date, serial: int, sex: int) -> str:
    """18 characters; the third serial digit encodes the sex, odd for men."""
    order = (serial % 100) * 10 + (1 if sex else 2)
    return _with_check(f"{region}{born:%Y%m%d}{order:03d}")


def _with_check(seventeen: str) -> str:
    return seventeen + mod_11_2.calc_check_digit(seventeen)


def _hong_kong(serial: int) -> str:
    base = f"Z{serial:06d}"
    values = [36] + [int(c, 36) for c in base]
    total = sum(v * w for v, w in zip(values, (9, 8, 7, 6, 5, 4, 3, 2), strict=True))
    return base + "0123456789A"[-total % 11]


def _taiwan(serial: int, sex: int) -> str:
    base = f"A{1 if sex else 2}{serial:07d}"
    digits = (1, 0, *map(int, base[1:]))
    total = sum(d * w for d, w in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1), strict=True))
    return base + str(-total % 10)


def _permanent_2017(born: date, serial: int) -> str:
    fourteen = f"USA3399{born:%y%m%d}{serial % 10}"
    total = sum(int(c, 36) * (7, 3, 1)[n % 3] for n, c in enumerate(fourteen))
    return fourteen + str(total % 10)


def _numbers(serial: int, born: date, sex: int) -> tuple[tuple[DocumentType, str, str], ...]:
    """Every kind of document in turn: type, number, and which names it bears."""
    citizen = citizen_number("330199", born, serial, sex)
    order = f"{serial % 100:02d}{1 if sex else 2}"
    kind = DocumentType
    return (
        (kind.HMT_RESIDENCE_PERMIT, _with_check(f"810000{born:%Y%m%d}{order}"), "han"),
        (kind.FOREIGN_PERMANENT_RESIDENT_ID, _with_check(f"933840{born:%Y%m%d}{order}"), "latin"),
        (kind.HOME_RETURN_PERMIT, f"H{serial:08d}", "han"),
        (kind.TAIWAN_PERMIT, f"{serial:08d}", "han"),
        (kind.HONG_KONG_ID, _hong_kong(serial), "han"),
        (kind.MACAO_ID, f"1{serial:07d}", "han"),
        (kind.TAIWAN_ID, _taiwan(serial, sex), "han"),
        (kind.PASSPORT, f"X{serial:07d}", "latin"),
        (kind.MILITARY_ID, f"南字第{serial:07d}号", "han"),
        (kind.HANGZHOU_SOCIAL_CARD, citizen, "han"),
        (kind.RESIDENCE_PERMIT, citizen, "han"),
        (kind.HMT_RESIDENCE_PERMIT, _with_check(f"830000{born:%Y%m%d}{order}"), "han"),
        (kind.FOREIGN_PERMANENT_RESIDENT_ID, _permanent_2017(born, serial), "latin"),
        (kind.HOME_RETURN_PERMIT, f"M{serial:08d}00", "han"),
        (kind.TAIWAN_PERMIT, f"{serial:010d}", "han"),
        (kind.HANGZHOU_SOCIAL_CARD, f"HZ{serial:08d}", "han"),
        (kind.PASSPORT, f"E{serial:08d}", "han"),
        (kind.HMT_RESIDENCE_PERMIT, _with_check(f"820000{born:%Y%m%d}{order}"), "han"),
        (kind.RESIDENT_ID, citizen, "dots"),
    )


class People:
    """Generates people one by one; every ninth has a document other than a resident ID."""

    def __init__(self, rng: SeededRandom) -> None:
        self._rng = rng
        self._count = 0
        self.all: list[Person] = []

    def next(self, *, ages: tuple[int, int] = (20, 46)) -> Person:
        """The next person. ages: range of full years on 2026-03-01."""
        rng, self._count = self._rng, self._count + 1
        serial = self._count
        sex = rng.below(2)
        years = rng.between(*ages)
        born = date(2026 - years - 1, 4, 1) + timedelta(days=rng.below(330))
        kind, number, names = DocumentType.RESIDENT_ID, "", "han"
        if serial % 9 == 0:
            others = _numbers(serial, born, sex)
            kind, number, names = others[(serial // 9 - 1) % len(others)]
        number = number or citizen_number(rng.pick(REGIONS), born, serial, sex)
        person = Person(
            id=f"P{serial:04d}",
            login=f"u{serial:04d}",
            name=self._name(sex, names),
            sex=sex,
            born=born,
            document_type=kind,
            number=number,
            phone=f"100{serial:08d}",
        )
        self.all.append(person)
        return person

    def _name(self, sex: int, names: str) -> str:
        rng = self._rng
        if names == "latin":
            return rng.pick(tuple(FOREIGN))
        if names == "dots":
            return rng.pick(WITH_DOTS)
        surname = rng.pick(COMPOUND_SURNAMES) if rng.chance(2) else rng.pick(SURNAMES)
        given = GIVEN_MALE if sex else GIVEN_FEMALE
        return surname + "".join(rng.pick(given) for _ in range(1 if rng.chance(22) else 2))
