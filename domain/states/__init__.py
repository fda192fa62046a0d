"""States folded from events: what a decision looks at.

Imports `domain.events`, `domain.actors` and values. application.py folds one application,
folds.py every other state and holds `evolve`, the one entry point.
"""
