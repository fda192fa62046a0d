"""Whose matters an agency (报名机构) works on: those of its own organisation.

An application belongs to the agency that it names: the one that opened it, or that the candidate
chose. One that names none is open to every agency, until one has given the initial review; then it
is that one's. Of a person an agency knows what it registered or gave name and document of.
Reading order: `ensure_own_application`, `ensure_known`, `ensure_concerned`, `ensure_may_correct`.
Source: source-document 3.1(1), 3.2(2).
"""

from __future__ import annotations

from domain.actors import Role
from domain.decision import Context, NotYourOwn, States, ensure_own
from domain.states.application import Candidacy
from domain.states.folds import Person


def ensure_agency(context: Context, state: Candidacy) -> None:
    """An agency acts on applications of its own; other roles by their role. Raises: NotYourOwn."""
    actor = context.actor
    if actor.role is Role.AGENCY and not state.is_of_agency(actor.organisation):
        raise NotYourOwn(what="application")


def ensure_own_application(context: Context, world: States, state: Candidacy) -> None:
    """A candidate acts on their own application, an agency on those of its organisation.

    Raises: NotYourOwn.
    """
    ensure_own(context, world.person(state.person_id), "application")
    ensure_agency(context, state)


def ensure_known(context: Context, person: Person) -> None:
    """An agency opens applications for persons whom it registered or recognised.

    Else it could read name and number of anybody, by the id alone. Raises: NotYourOwn.
    """
    actor = context.actor
    if actor.role is Role.AGENCY and not person.is_known_to(actor.organisation):
        raise NotYourOwn(what="person")


def ensure_concerned(context: Context, world: States, person: Person) -> None:
    """An agency acts for persons whom it knows, or of whom it has an application.

    Raises: NotYourOwn.
    """
    actor = context.actor
    if actor.role is not Role.AGENCY or person.is_known_to(actor.organisation):
        return
    if not any(each.is_of_agency(actor.organisation) for each in _applications(world, person)):
        raise NotYourOwn(what="person")


def ensure_may_correct(context: Context, world: States, person: Person) -> None:
    """An agency corrects whom it registered, and who applied to it by themselves.

    To have recognised somebody and opened an application gives no right over the person.
    Raises: NotYourOwn.
    """
    actor = context.actor
    if actor.role is not Role.AGENCY or person.is_registered_by(actor.organisation):
        return
    if person.agency is None and any(
        each.opened_by == person.subject and each.is_of_agency(actor.organisation)
        for each in _applications(world, person)
    ):
        return
    raise NotYourOwn(what="person")


def _applications(world: States, person: Person) -> list[Candidacy]:
    keys = world.claims_under("person_application", f"{person.id}|")
    found = [world.candidacy(key.partition("|")[2]) for key in keys]
    return [each for each in found if each.person_id == person.id]
