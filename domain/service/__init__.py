"""The use cases on a ledger: submit a command, read a state, a history, an identity.

| module | content |
|---|---|
| ledger.py | `Ledger.submit` and the reads; `Ledgers` opens them by name |
| command_ids.py | random ids of commands |
| command_execution.py | one command: read set, states, decision, append, receipt |
| state_cache.py | folded states in memory, brought up to date by the writer |
| snapshots.py | states of long streams, stored so that they need not be folded from the start |
| guards.py | stops the commands of a ledger that does not continue its log |
| tail_check.py | compares commands and logins of the last events, every second |
| recovery.py | continues the log under another origin, after a loss that two persons accept |
| key_check.py | whether the keys of this service are those that a ledger names |
| logins.py, named_actors.py | which pseudonym a login has; who a pseudonym of staff is |
| public_cards.py | the public card of a certificate, made again from its facts |
| receipt.py, receipt_futures.py | what a caller gets, and how it reaches threads and event loops |

The walk of a command, in the order of the calls. The writer thread makes those marked `>`;
`domain.store` has the same walk with the store's own steps.

| # | call | what it does |
|---|---|---|
| 1 | `Ledger.submit` | draws a command id; hashes request and key, so that a retry is found |
| 2 | `CommandExecution.read_set` | asks the command's step what to prefetch, with cached states |
| 3 | `Committer.enqueue` | hands over the command, its read set and the caller's future |
| 4 | > `StateCache.cached_version` | the version after which each stream is read |
| 5 | > `CommandExecution.execute` | `decide` on a `StateReader`; the decision as an append |
| 6 | > `StateCache.fold` | a state as of this command: cached, committed and pending events |
| 7 | > `StateCache.apply_committed` | after the COMMIT: the new states replace the cached ones |
| 8 | > `receipt_futures.resolve_batch` | receipts and refusals to the callers of the whole batch |

Step 5 runs again if the batch has to be repeated, so it changes nothing outside the append.
"""
