"""公示 score board: results while their public notice runs, objections, statistics.

A view: imports the engine, events and values, never a decision and never another view.
view.py folds, queries.py reads.
"""
