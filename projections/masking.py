"""A person's masked name and number, the same in every view that publishes them.

Source: source-document 5.1.
"""

from collections.abc import Mapping

from domain.values.identity_documents import DocumentType, mask_number
from domain.values.person_names import mask_name
from domain.values.sealed_fields import DataClass
from projections.engine.tables import Row
from projections.engine.view import ERASED, Entry, Masks, PersonEntry

PERSON_COLUMNS: Mapping[str, str] = {
    "person_id": "id",
    "masked_name": "text",
    "masked_number": "text",
    "document_type": "id",
}
"""First columns of a view's table of persons."""


def masks(entry: Entry) -> Masks:
    """The masks of a registration or of PersonCorrected, computed once for all views.

    Raises: WrongKey of the store if the fields cannot be opened.
    """
    assert isinstance(entry, PersonEntry)
    if entry.masks is None:
        opened = entry.opened
        name, number = opened["name"], opened["document_number"]
        document_type = DocumentType(entry.data["document_type"])
        entry.masks = Masks(
            ERASED if name is None else mask_name(name),
            ERASED if number is None else mask_number(document_type, number),
            name is None and number is None,
        )
    return entry.masks


def masked_person(entry: Entry) -> Row:
    """The columns of PERSON_COLUMNS and the position, from a registration or PersonCorrected."""
    masked = masks(entry)
    return {
        "person_id": entry.data["person_id"],
        "masked_name": masked.name,
        "masked_number": masked.number,
        "document_type": entry.data["document_type"],
        "position": entry.position,
    }


def is_identity_gone(entry: Entry) -> bool:
    """Whether a fact of an erasure destroyed name and document."""
    return DataClass.IDENTITY.value in entry.data["destroyed"]


def erased_person(person: Row, entry: Entry) -> Row:
    """A person's row after their name and document were destroyed."""
    masked = {"masked_name": ERASED, "masked_number": ERASED}
    return {**person, **masked, "position": entry.position}
