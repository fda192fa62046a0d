"""States folded from events: what decisions read.

Imports `domain.events`, `domain.actors` and values. application.py folds one application,
folds.py every other state and holds `evolve`, the one entry point.
"""
