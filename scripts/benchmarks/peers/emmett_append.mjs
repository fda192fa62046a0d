// Appends through emmett's PostgreSQL event store, one event each, expecting the version it knows.
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const pg = createRequire(import.meta.url)('pg');
const order = JSON.parse(process.argv[2]);
const STREAM_LENGTH = 10;

const pool = new pg.Pool({ connectionString: order.dsn, max: order.writers });
const store = getPostgreSQLEventStore(order.dsn, { connectionOptions: { pool } });
await store.schema.migrate();

const envelope = JSON.parse(order.envelope);
const { data, ...metadata } = envelope;
const latencies = [];
const begun = performance.now();
const end = begun + order.seconds * 1000;

const write = async () => {
  let stream, now = performance.now();
  for (let number = 0; now < end; number++) {
    const before = number % STREAM_LENGTH;
    if (before === 0) stream = `application-${randomUUID()}`;
    const expectedStreamVersion = before === 0 ? 'STREAM_DOES_NOT_EXIST' : BigInt(before);
    await store.appendToStream(stream, [{ type: 'FeePaid', data, metadata }], {
      expectedStreamVersion,
    });
    const done = performance.now();
    latencies.push(done - now);
    now = done;
  }
};

await Promise.all(Array.from({ length: order.writers }, write));
const took = (performance.now() - begun) / 1000;
latencies.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    rate: latencies.length / took,
    p50_ms: latencies[Math.floor(latencies.length / 2)],
    p99_ms: latencies[Math.floor(latencies.length * 0.99)],
  }),
);
await store.close();
await pool.end();
