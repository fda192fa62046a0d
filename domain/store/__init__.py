"""The only access to PostgreSQL for facts: journal, writer, encryption, transparency log.

Packages, each importing only those above it:

errors.py       what the journal can refuse or fail to do
durable_files.py  a private mode and a durable name, for files of keys and heads
processes/      child processes: supervisor and worker pool
embedded/       a PostgreSQL server started from a wheel
postgres/       connections, asynchronous queries, notifications, migrations
keys/           ids of keys; seals, which the database alone cannot make
journal/        one ledger's events: envelopes, batches, transactions, reads
writer/         group commit: one writer thread per ledger, optimistic execution, retry
privacy/        field encryption, blind indexes
mapper.py       facts to events and back
blobs.py        attachments by their SHA-256
tlog/           Merkle tree, signed notes, checkpoints, audit
eventsourcing_adapter/, recorder.py   the journal behind the `eventsourcing` library's interfaces

The walk of a command, from `Ledger.submit` to its receipt. `>` marks where the store calls back
into the use case; `writer/commands.py` declares the ports.

| # | module | what happens |
|---|---|---|
| 1 | service/ledger.py | derives the command id; `CommandExecution.read_set` names what to read |
| 2 | writer/group_commit.py | `enqueue`; the writer thread takes all queued commands as a group |
| 3 | journal/journal.py | `optimistic_batch` (or `transaction`, which takes the head lock first) |
| 4 | journal/read_cache.py, statements.py | prefetches the group's read sets in one message |
| 5 | writer/commands.py | `BatchAttempt.execute`: idempotency, then each command in order |
| 6 | > service/command_execution.py | port `ExecuteCommand`: reads states, decides |
| 7 | mapper.py, privacy/field_encryption.py | new events, fields sealed, in an `AppendRequest` |
| 8 | journal/batch.py, envelope.py | `accept`: checks versions, claims, keys; assigns positions |
| 9 | > service/command_execution.py | port `AppendRequest.receipt`: the stored receipt |
| 10 | journal/transaction.py, statements.py | `commit_optimistic`: head lock, writes, COMMIT |
| 11 | > service/ledger.py | port `ApplyCommitted`: state cache, snapshots, erased keys |
| 12 | > service/receipt_futures.py | port `ResolveBatch`: wakes the threads and loops that wait |

While step 10 waits for the disk, the writer runs steps 2 to 9 for the next group on top of it. If
step 3 or 10 fails, writer/retry.py repeats steps 3 to 12 under the head lock.
"""
