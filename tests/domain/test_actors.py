"""Who acts: people by their roles, and the service itself.

Covers: domain/actors.py
"""

from domain.actors import ROLES_OF_PEOPLE, Role, service_actor
from domain.commands import SPECS


def test_the_service_acts_under_a_subject_that_no_login_has():
    actor = service_actor("erasure")
    assert (actor.subject, actor.role) == ("certledger/erasure", Role.SERVICE)
    assert Role.SERVICE not in ROLES_OF_PEOPLE
    assert {*ROLES_OF_PEOPLE, Role.SERVICE} == {*Role}


def test_the_service_is_never_the_second_person():
    """It approves nothing, declines nothing and verifies nothing. Source: 2.4, 4.3(3)."""
    second = {"ApproveRefund", "DeclineRefund", "VerifyScores", "Review", "ResolveObjection"}
    of_service = {spec.command.__name__ for spec in SPECS if Role.SERVICE in spec.roles}
    assert not second & of_service
