"""The bundled rule files (申报条件), and how a malformed one is refused.

Source: source-document 1.2, 3.2(1).
"""

import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from domain.eligibility.rule_sets import (
    LevelNotInRuleSet,
    MalformedRuleSet,
    UnknownRuleSet,
    available_rule_sets,
    parse_rule_set,
    rule_set_for,
)
from domain.values.primitives import Level

FOLDER = files("domain") / "data" / "eligibility"
NAME = "4-01-02-07-2021.json"

# A changed file is a new version: raise `version` in the file, then record its digest here.
RELEASED = {
    ("4-01-02-07", "2021", 1): "6800c6a579fe5110",
    ("general", "G2018", 1): "ac77572c3b9b4b08",
    ("general", "G2023", 1): "a6d9cdd53d807fdb",
}


def test_a_rule_file_never_changes_without_a_new_version() -> None:
    found = {(r.occupation, r.edition, r.version): r.digest[:16] for r in available_rule_sets()}
    assert found == RELEASED


def test_the_digest_is_that_of_the_files_bytes() -> None:
    raw = (FOLDER / NAME).read_bytes()
    assert rule_set_for("4-01-02-07", "2021").digest == hashlib.sha256(raw).hexdigest()


def test_the_code_of_2022_finds_the_rules_of_2021() -> None:
    assert rule_set_for("4-01-06-02", "2021") is rule_set_for("4-01-02-07", "2021")


@pytest.mark.parametrize("key", [("4-01-02-07", "2022"), ("4-99-99-99", "2021"), ("", "")])
def test_unknown_rules_are_refused(key: tuple[str, str]) -> None:
    with pytest.raises(UnknownRuleSet):
        rule_set_for(*key)


def test_level_4_is_the_source_document_clause_by_clause() -> None:
    alternatives = rule_set_for("4-01-02-07", "2021").rules_for(Level(4)).alternatives
    assert [each.id for each in alternatives] == ["1.2(1)", "1.2(2)", "1.2(3)", "1.2(4)"]
    assert {each.confidence for each in alternatives} == {"high"}
    assert [each.source for each in alternatives] == [
        f"source-document {a.id}" for a in alternatives
    ]
    assert [each.text for each in alternatives] == [
        "取得本职业或相关职业五级/初级工职业资格证书(技能等级证书)后,"
        "累计从事本职业或相关职业工作3年(含)以上。",
        "累计从事本职业或相关职业工作4年(含)以上。",
        "累计从事本职业或相关职业工作2年(含)以上,"
        "经本职业四级/中级工正规培训达规定标准学时,并取得结业证书。",
        "取得技工学校本专业或相关专业毕业证书(含尚未取得毕业证书的在校应届毕业生);"
        "或取得经评估论证、以中级技能为培养目标的中等及以上职业学校本专业或相关专业毕业证书。",
    ]


def test_every_level_has_rules_and_unconfirmed_ones_are_marked() -> None:
    for rules in available_rule_sets():
        assert {each.level for each in rules.levels} == set(Level)
    internet = rule_set_for("4-01-02-07", "2021")
    confidences = {
        int(each.level): {a.confidence for a in each.alternatives} for each in internet.levels
    }
    assert confidences == {5: {"medium"}, 4: {"high"}, 3: {"low"}, 2: {"low"}, 1: {"high"}}


def test_a_platform_manager_is_certified_up_to_level_3_only() -> None:
    rules = rule_set_for("4-01-06-02", "2021")
    assert [level for level in (5, 4, 3, 2, 1) if rules.offers("平台管理员", Level(level))] == [
        5,
        4,
        3,
    ]
    assert rules.offers("直播销售员", Level(1))
    assert not rules.offers("直播", Level(5))


def drop_level_4(data: dict[str, Any]) -> None:
    data["levels"] = [each for each in data["levels"] if each["level"] != 4]


def test_a_level_without_rules_is_refused() -> None:
    data = json.loads((FOLDER / NAME).read_bytes())
    drop_level_4(data)
    rules = parse_rule_set(NAME, json.dumps(data).encode())
    with pytest.raises(LevelNotInRuleSet, match="have no level 4"):
        rules.rules_for(Level(4))


def predicate(data: dict[str, Any]) -> dict[str, Any]:
    return data["levels"][1]["alternatives"][2]["predicates"][1]


AT = "levels.1.alternatives.2.predicates.1"


@pytest.mark.parametrize(
    ("damage", "place", "reason"),
    [
        (lambda d: predicate(d).update(predicate="charm"), AT, "'charm'"),
        (lambda d: predicate(d).pop("predicate"), AT, "discriminator"),
        (lambda d: predicate(d).update(hours="104"), f"{AT}.training.hours", "valid integer"),
        (lambda d: predicate(d).pop("hours"), f"{AT}.training.hours", "required"),
        (lambda d: predicate(d).update(hour=1), f"{AT}.training.hour", "not permitted"),
        (
            lambda d: predicate(d).update(required_materials=["horoscope"]),
            f"{AT}.training.required_materials.0",
            "identity_proof",
        ),
        (lambda d: d["levels"][1].update(level=6), "levels.1.level", "5, 4, 3, 2 or 1"),
        (lambda d: d["levels"][1].update(level=5), "file", "level 5 appears twice"),
        (
            lambda d: d["levels"][1]["alternatives"][0].update(id="5(1)"),
            "file",
            "alternative 5(1) appears twice",
        ),
        (lambda d: d.update(aliases=["4-01-02-07"]), "file", "code 4-01-02-07 appears twice"),
        (lambda d: d.update(levels=[]), "levels", "at least 1 item"),
        (lambda d: d.update(edition="2022"), "file", "holds 4-01-02-07-2022"),
        (lambda d: d.update(digest="0" * 64), "file", "without the digest"),
        (lambda d: d.pop("version"), "version", "required"),
    ],
)
def test_a_malformed_file_is_reported_with_its_place(
    damage: Callable[[dict[str, Any]], Any], place: str, reason: str
) -> None:
    data = json.loads((FOLDER / NAME).read_bytes())
    damage(data)
    with pytest.raises(MalformedRuleSet) as caught:
        parse_rule_set(NAME, json.dumps(data).encode())
    assert (caught.value.file, caught.value.place) == (NAME, place)
    assert reason in caught.value.reason
    assert not caught.value.reason.startswith("Value error")
    assert NAME in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "must be one object"),
        (b'{"version": 1, "version": 2}', "key 'version' appears twice"),
        ("版".encode("gbk"), "codec can't decode"),
    ],
)
def test_a_file_that_is_no_rule_set_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedRuleSet) as caught:
        parse_rule_set(NAME, raw)
    assert caught.value.place == "file"
    assert reason in caught.value.reason
