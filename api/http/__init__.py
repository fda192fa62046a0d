"""What every route uses: middleware, authorization, dependencies, pagination, idempotency.

Imports settings, errors, files, auth and lookup, the ledgers and the projections; no route and no
page. Error pages are passed in as a function (`exception_handlers.RenderError`). Reading order:
`middleware.py` (first for each request), `routing.py` (authorization of reads),
`command_route.py` (the way of every write), `dependencies.py` (contexts of reads and commands),
`context.py` (objects that the service shares), then one module for each concern.
"""
