"""A person's name and number as they may be published; the same one mask wherever they stand.

Source: source-document 5.1.
"""

from domain.values.identity_documents import DocumentType, mask_number
from domain.values.person_names import mask_name
from projections.engine.view import ERASED, Entry, Masks, PersonEntry


def masks(entry: Entry) -> Masks:
    """The masks of PersonRegistered or PersonCorrected, made once for all views.

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
