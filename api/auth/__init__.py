"""Authentication and authorization: keys, bearer tokens, roles.

Imports `api.settings`, `api.errors` and actors of the domain; no FastAPI. Reading order:
`tokens.py` (mint and verify a token), `permissions.py` (which role may call what), `secrets.py`
(the keys of the service).
"""
