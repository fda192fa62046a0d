"""Benchmarks: this service and its peers or limits, in the same run on the same server.

Reading order:

__main__.py     `scripts/bench NAME… [--quick] [--json FILE]`, `scripts/bench --median FILE…`
measure.py      alternating turns, medians, one JSON line per comparison, the conditions
figures.py      many lines as one table
server.py       the server that all contenders of a run share, and databases on it
service.py      this service over HTTP on that server; naive.py: the naive service
registry.py     millions of certificates to look up; takeover.py: the events they are folded from
http_turns.py   a turn of requests, sent by wrk (lookups.lua) or by sockets (http_load.py)
peer_environments.py  the environments of peer libraries
sample.py       the events that are appended
append.py …     one module per benchmark; ours_*.py are its clients, run as separate processes
peers/          clients written on peer libraries; they import nothing of this project

No benchmark asserts a time: it prints what it measured.
"""
