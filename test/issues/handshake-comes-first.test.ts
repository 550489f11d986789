/**
 * A node that leads thousands of partitions has frames to send as soon as a peer connects. The answer to the handshake
 * leaves before them, or the peer takes the connection for broken, for ever.
 */
import { expect, test } from 'vitest';
import { dial } from '../../src/rpc/dial.js';
import { Listener } from '../../src/rpc/listener.js';
import { FrameType } from '../../src/rpc/protocol.js';

test('the handshake is answered before the owner of the connection says anything', async () => {
  const identity = { clusterId: 'test', nodeId: 1, directoryId: 'd', incarnation: 'i' };
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: 0,
    identity,
    onConnection: (connection) => {
      connection.send(FrameType.Raft, []);
    },
  });
  const types: number[] = [];
  const { connection, peer } = await dial({
    host: '127.0.0.1',
    port: listener.port,
    handshake: { ...identity, nodeId: 2, kind: 'node', channel: 'data' },
    onOpen: (dialled) => {
      dialled.connection.onFrame = ({ type }) => types.push(type);
    },
  });
  expect(peer.nodeId).toBe(1);
  await new Promise<void>((resolve) => {
    connection.onClose = () => resolve();
    void listener.close();
  });
  expect(types).toEqual([FrameType.Raft]);
});
