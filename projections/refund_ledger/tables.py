"""The tables of the refund ledger; view.py fills them."""

from projections.engine.generations import BALANCED
from projections.engine.tables import Table

LINES = Table(
    "refund_lines",
    {
        "application_id": "id",
        "payment_id": "id",
        "component": "id",
        "provider": "id",
        "channel_id": "id",  # the merchant account
        "provider_transaction_id": "text",
        "merchant_order_no": "text",
        "paid_at": "time",
        "paid_fen": "bigint",
        "excess": "id?",  # why the payment was not owed
        "used_items": "ids",
        "first_used_at": "time?",
        "booked": "id",  # account of the money: advance, contract, income, payable
        "entitled_fen": "bigint",
        "ordered_fen": "bigint",  # of refunds that are neither declined nor closed
        "approved_fen": "bigint",
        "accepted_fen": "bigint",
        "settled_fen": "bigint",
        "refused": "id?",
        "refused_clause": "text?",
        "state": "id",
        "refund_no": "id?",  # the latest one
        "provider_refund_id": "text?",
        "position": "bigint",
        "changed_at": "time",
    },
    key=("application_id", "payment_id", "component"),
    indexes=(
        "(ledger, state, application_id, payment_id, component)",
        "(ledger, provider, merchant_order_no)",
        "(ledger, provider, paid_at)",
    ),
)
REFUNDS = Table(
    "refunds",
    {
        "application_id": "id",
        "refund_no": "id",
        "payment_id": "id",
        "component": "id",
        "amount_fen": "bigint",
        "provider": "id",
        "channel_id": "id",
        "provider_transaction_id": "text",
        "merchant_order_no": "text",
        "clause": "text",
        "state": "id",  # ordered, approved, declined, accepted, abnormal, settled, closed
        "provider_refund_id": "text?",
        "channel": "id?",
        "ordered_by": "text",
        "approved_by": "text?",
        "ordered_at": "time",
        "accepted_at": "time?",  # by the provider's clock, if it is known
        "settled_at": "time?",
        "reason": "sealed?",
        "position": "bigint",
        "changed_at": "time",
    },
    key=("application_id", "refund_no"),
    indexes=(
        "UNIQUE (ledger, refund_no)",
        "(ledger, state, refund_no)",
        "(ledger, provider, provider_refund_id)",
        "(ledger, provider, accepted_at)",
    ),
)
STEPS = Table(
    "refund_steps",
    {
        "position": "bigint",
        "payment_id": "id",
        "component": "id",
        "application_id": "id",
        "refund_no": "id?",
        "step": "id",  # the states of a refund, and entitled, refused
        "amount_fen": "bigint",
        "provider_refund_id": "text?",
        "channel": "id?",
        "clause": "text?",
        "reason": "sealed?",
        "received_account": "sealed?",
        "subject": "text",
        "role": "id",
        "occurred_at": "time",
        "recorded_at": "time",
    },
    key=("position", "payment_id", "component"),
    kind="log",
    indexes=("(ledger, application_id, position)", "(ledger, refund_no, position)"),
)
POSTINGS = Table(
    "postings",
    {
        "entry_no": "bigint",
        "line": "int",
        "position": "bigint",
        "rule_id": "id",
        "rule_version": "int",
        "account": "id",
        "debit_fen": "bigint",
        "credit_fen": "bigint",
        "application_id": "id",
        "payment_id": "id",
        "component": "id",
        "refund_no": "id?",
        "effective_at": "time",
        "recorded_at": "time",
    },
    key=("entry_no", "line"),
    kind="log",
    indexes=(
        "(ledger, account, entry_no, line)",
        "(ledger, application_id, entry_no)",
    ),
    triggers=(BALANCED,),
)
RATES = Table(
    "refund_ledger_rates",
    {
        "component": "id",
        "edition": "id",
        "valid_from": "day",
        "vat_rate_bp": "int",  # basis points of the tax that a price contains
        "position": "bigint",
    },
    key=("component", "edition"),
)
"""The rates of the adopted editions of posting."""
COUNTERS = Table("refund_ledger_counters", {"name": "id", "value": "bigint"}, key=("name",))
