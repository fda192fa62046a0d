"""What people look up, folded from the journal; every view can be thrown away and made again.

Reading order:

view.py         the contract of a view: its tables, the facts it handles and those it ignores
rows.py         what a view's fold sees and changes; copying.py writes it out
score_board.py, refund_ledger.py (with chart.py, posting_rules.py), certificate_registry.py
                the views, each with its queries in sql/
views.py        the list of them
generations.py       generations of tables: made, swapped, dropped
feed.py         journal to entries; apply.py one batch into the tables of one generation
runner.py       follows every ledger and keeps every view up to date; waiting.py, listening.py
foreground.py   brings views up to date once, for a program that then ends
rebuild.py      makes views anew beside the live ones, compares, swaps: filling.py, workers.py,
                swapping.py, compare.py

A view imports `domain.events`, `values`, `names`, `identity` and `personal` only, never a decision
and never another view. Only `runner.py`, `foreground.py` and `rebuild.py` touch
`domain.store`.
"""
