"""Benchmarks: ours and its peer or limit, side by side, in the same run on the same server.

Reading order:

__main__.py     `scripts/bench NAME… [--quick] [--json FILE]`, `scripts/bench --median FILE…`
measure.py      A B A B, medians, one JSON line a comparison, the conditions
figures.py      many lines as one table
server.py       the server everybody in a run shares, and databases on it
service.py      ours over HTTP on that server; naive.py: the naive one
registry.py     millions of certificates to look up; takeover.py: the events they are folded from
http_turns.py   a turn of requests, sent by wrk (lookups.lua) or by sockets (http_load.py)
peers.py        the environments of peer libraries, or why there are none
sample.py       the events that are appended
append.py …     one file a benchmark; ours_*.py are its clients, run as processes of their own
peers/          the clients written on peer libraries; they import nothing of ours

No benchmark asserts a time: it prints what it saw.
"""
