"""The views there are, in the order in which they stand in lists."""

from projections import certificate_registry, refund_ledger, score_board
from projections.view import View

VIEWS: tuple[View, ...] = (score_board.VIEW, refund_ledger.VIEW, certificate_registry.VIEW)
