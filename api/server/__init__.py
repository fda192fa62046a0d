"""The processes that listen: sockets, connections, fast paths, lookup workers.

Imports everything of api but the command line. Reading order: `main.py` (start and stop of the
service), `connection.py` (one client connection), `lookup_fast_path.py` (lookups answered without
the framework), `lookup_worker_pool.py` (connections that worker processes serve), `forwarding.py`
(other requests on those connections).
"""
