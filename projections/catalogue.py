"""All views, in the order in which they are listed."""

from projections.certificate_registry import view as certificate_registry
from projections.engine.view import View
from projections.refund_ledger import view as refund_ledger
from projections.score_board import view as score_board
from projections.worklist import view as worklist

VIEWS: tuple[View, ...] = (
    score_board.VIEW,
    refund_ledger.VIEW,
    certificate_registry.VIEW,
    worklist.VIEW,
)
