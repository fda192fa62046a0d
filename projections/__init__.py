"""Read models: views folded from the journal, each of which can be dropped and rebuilt.

Reading order:

engine/view.py         the contract of a view: the facts it handles and those it ignores
engine/tables.py       the tables of a view, as data
engine/rows.py         the rows that a fold reads and changes; engine/table_writer.py writes them
score_board/, refund_ledger/, certificate_registry/, worklist/
                       the views: view.py, tables.py, queries.py, queries.sql and parts of their own
masking.py             a person's masked identity, shared by two views
catalogue.py           the list of all views
engine/generations.py  generations of tables: created, swapped, dropped
engine/journal_reader.py, engine/generation_writer.py
                       journal to entries; a batch of entries into the tables of one generation
engine/ledger_projector.py, engine/runner.py
                       keeps the views of one ledger, of all ledgers up to date
engine/progress.py     the positions of all views, and futures that wait for one
engine/catch_up.py     brings views to the head once, for a command that then exits
runner_process.py      the runner in a supervised child process
rebuild/rebuild.py     rebuilds views next to the live ones, compares or swaps them

A view imports `domain.events`, `domain.values` and the engine, never a decision and never another
view.
"""
