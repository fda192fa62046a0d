"""Appends through the `eventsourcing` library's own PostgreSQL recorder, in its default mode."""

import json
import sys
import threading
import time
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

STREAM_LENGTH = 10


def main() -> None:
    order = json.loads(sys.argv[1])
    writers, state = order["writers"], bytes.fromhex(order["state"])
    with PostgresDatastore(
        order["database"], order["host"], 5432, order["user"], "", pool_size=writers
    ) as datastore:
        recorder = PostgresApplicationRecorder(datastore)
        recorder.create_table()
        latencies: list[float] = []
        begun = time.perf_counter()
        end = begun + order["seconds"]

        def write() -> None:
            number, now, stream = 0, time.perf_counter(), uuid4()
            while now < end:
                version = number % STREAM_LENGTH + 1
                if version == 1:
                    stream = uuid4()
                recorder.insert_events([StoredEvent(stream, version, "fee_paid.v1", state)])
                done = time.perf_counter()
                latencies.append(done - now)
                number, now = number + 1, done

        threads = [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begun
    latencies.sort()
    print(
        json.dumps(
            {
                "rate": len(latencies) / took,
                "p50_ms": latencies[len(latencies) // 2] * 1000,
                "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
