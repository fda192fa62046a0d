"""待办清单 worklist: what the service has to do by itself, and since when it is due.

A view: imports the engine, events and values, never a decision and never another view.
view.py folds, queries.py reads. `api.worker` does what is due.
"""
