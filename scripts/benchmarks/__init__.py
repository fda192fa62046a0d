"""Benchmarks: ours and its peer or limit, side by side, in the same run on the same server.

Reading order:

__main__.py     `scripts/bench NAME… [--quick] [--json FILE]`
measure.py      A B A B, medians, one JSON line a comparison, the conditions
server.py       the server everybody in a run shares, and databases on it
peers.py        the environments of peer libraries, or why there are none
sample.py       the events that are written
append.py …     one file a benchmark; ours_*.py are its clients, run as processes of their own
peers/          the clients written on peer libraries; they import nothing of ours

No benchmark asserts a time: it prints what it saw.
"""
