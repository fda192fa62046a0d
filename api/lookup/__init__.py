"""The public certificate lookup, without HTTP: criteria, answers, rate limit, registry access.

Both the HTTP routes and the raw fast path of the server use it, in the service's own process and in
lookup worker processes. Imports `api.settings`, `api.errors` and the projections. Reading order:
`criteria.py`, `registry.py`, `coalescing.py`, `rate_limit.py`.
"""
