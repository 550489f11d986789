/**
 * Under acks 0 a send is over once the kernel has its bytes. A node that is stopped, or cut off, takes none: the producer
 * must not wait for it longer than for an answer.
 */
import { afterEach, expect, test } from 'vitest';
import { Producer } from '../../src/client/producer.js';
import type { VarveError } from '../../src/errors.js';
import { Hold } from '../../src/rpc/connection.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { FakeCluster } from '../client/fake-cluster.js';

let cluster: FakeCluster;
afterEach(() => cluster.close());

test('under acks 0 every send ends, also when the node reads nothing any more', async () => {
  cluster = await FakeCluster.open(1);
  cluster.intercept = ({ type, connection }) => {
    if (type === FrameType.Produce) connection.hold(Hold.Throttled);
    return false;
  };
  const producer = new Producer({ brokers: cluster.brokers, acks: 0, requestTimeoutMs: 1000, batchBytes: 1024 * 1024 });
  const value = Buffer.alloc(900_000);
  // More than the sockets of both sides hold.
  const sends = Array.from({ length: 30 }, () => producer.send({ topic: 't', value }));
  const results = await Promise.allSettled(sends);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as VarveError] : []));
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) expect(['OUTCOME_UNKNOWN', 'TIMEOUT']).toContain(error.code);
  await producer.close();
});
