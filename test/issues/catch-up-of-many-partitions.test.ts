/**
 * A follower that comes back is sent what it lacks of all its partitions at once, and that can be more than a connection
 * takes. What does not fit is lost, as on any network; the connection must live, or the follower starts over for ever.
 */
import { afterEach, expect, test } from 'vitest';
import { PeerLink } from '../../src/cluster/peer-link.js';
import { systemEnvironment } from '../../src/environment.js';
import type { AppendRequest } from '../../src/raft/types.js';
import { Listener } from '../../src/rpc/listener.js';
import { tcpTransport } from '../../src/rpc/transport.js';
import { until } from '../cluster/harness.js';

const MIB = 1024 * 1024;
const identity = (nodeId: number) => ({
  clusterId: 'test',
  nodeId,
  directoryId: `d${nodeId}`,
  incarnation: `i${nodeId}`,
});

let listener: Listener;
let link: PeerLink;
afterEach(async () => {
  link.close();
  await listener.close();
});

test('a peer is sent more than its connection takes: some of it is lost, the connection is not', async () => {
  let bytesReceived = 0;
  listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    identity: identity(1),
    onConnection: (connection) => {
      connection.onFrame = ({ body }) => {
        bytesReceived += body.length;
      };
    },
  });
  const downs: string[] = [];
  link = new PeerLink({
    peer: { id: 1, host: '127.0.0.1', port: listener.port },
    self: identity(2),
    connection: { outgoingMaxBytes: 3 * MIB },
    environment: systemEnvironment,
    transport: tcpTransport,
    silenceMs: 60_000,
    onFrame: () => {},
    onUp: () => {},
    onDown: (_link, channel) => downs.push(channel),
    onNewIncarnation: () => {},
  });
  link.start();
  await until('the data connection is up', () => link.isUp('data'));

  const body = Buffer.alloc(MIB);
  for (let partition = 0; partition < 8; partition++) link.send('t', partition, append(), [body], body.length);
  link.flush();
  await until('what fitted beside the headers has arrived', () => bytesReceived === 2 * MIB);
  expect(downs).toEqual([]);

  link.send('t', 0, append(), [body], body.length);
  link.flush();
  await until('what comes later arrives as well', () => bytesReceived === 3 * MIB);
});

function append(): AppendRequest {
  return {
    type: 'append',
    from: { id: 2, directory: 'd2', incarnation: 'i2' },
    to: { id: 1, directory: 'd1' },
    term: 1,
    start: 0,
    prevEpoch: -1,
    end: 1,
    bytes: MIB,
    batches: [],
    highWatermark: 0,
    counted: 0,
  };
}
