"""The routes of the JSON interface, one module for each noun.

Imports http and everything below it, and the queries of the projections; never `api.web`. A module
holds the response models and handlers of its noun; `routers.py` lists all routers in the order in
which they are tried. Begin with `payments.py` (a command) and `finance.py` (reads, pages, totals).
"""
