"""退款台账 refund ledger: payments, refunds and double-entry postings.

A view: imports the engine, events and values, never a decision and never another view. view.py
folds by posting_rules.py over chart_of_accounts.py, queries.py reads.
"""
