"""The HTML pages: public lookup, score board, finance, API documentation, error pages.

Imports http, lookup and everything below, and the queries of the projections; never `api.routes`.
Templates, texts and static files are next to the modules. Reading order: `routes.py` (every page),
`page_route.py` (when a page answers instead of JSON), `rendering.py`, then one module a page.
"""
