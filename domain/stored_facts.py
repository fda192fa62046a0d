"""The one catalogue by which everything reads stored events: use cases, audits and views.

A topic whose shape changed gets its next version in `domain.events` and, here, an upcaster from
the version before:

    @STORED_FACTS.upcaster("refund_approved.v1", "refund_approved.v2")
    def with_a_reason(data):
        return {**data, "reason": None}

Use cases hand it data with personal fields opened, views with personal fields still sealed, so it
treats the value of such a field as it is, and leaves its name.
"""

from domain.events import CATALOGUE
from domain.store.mapper import Catalogue

STORED_FACTS = Catalogue(CATALOGUE)
"""Every topic that was ever stored, and the class that reads it today."""
