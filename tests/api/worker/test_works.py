"""The declared works: what the service may do by itself, and under which key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest

from api.worker.works import WORKS, Work
from domain.actors import Role
from domain.commands import SPECS
from domain.service.ledger import Ledgers
from domain.steps.erasure import ContinueErasure
from domain.steps.public_notice import CLOSE_NOTICE, CloseNotice, ExtendNotice
from projections.worklist import view as worklist
from projections.worklist.queries import WorkItem

ITEM = WorkItem("omc", "N1", 2, datetime(2026, 3, 6, 16, tzinfo=UTC), 7)


def test_the_service_may_submit_the_commands_of_its_works_and_no_other() -> None:
    allowed = {spec.command for spec in SPECS if Role.SERVICE in spec.roles}
    assert allowed == {work.spec.command for work in WORKS}


def test_a_work_whose_command_is_left_to_people_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="may not submit CloseNotice"):
        Work("close_notice", CLOSE_NOTICE, lambda item, _: CloseNotice(notice_id=item.item_id))


def test_the_key_follows_from_work_item_and_attempt() -> None:
    work = WORKS[0]
    assert work.key(ITEM) == "extend_notice|N1|2"
    assert work.key(ITEM._replace(folded=9)) == work.key(ITEM)
    assert work.key(ITEM._replace(attempt=3)) != work.key(ITEM)


def test_a_work_makes_the_command_of_its_item() -> None:
    extend, erase, _ = WORKS
    none = cast("Ledgers", None)
    assert extend.command(ITEM, none) == ExtendNotice(notice_id="N1")
    assert erase.command(ITEM._replace(item_id="P1"), none) == ContinueErasure(person_id="P1")


def test_every_work_has_a_name_of_its_own_that_the_worklist_knows() -> None:
    names = [work.name for work in WORKS]
    assert len(set(names)) == len(names)
    known = {worklist.EXTEND_NOTICE, worklist.CONTINUE_ERASURE, worklist.COPY_EDITION}
    assert set(names) == known
