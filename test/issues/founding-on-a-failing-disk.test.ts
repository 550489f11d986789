/**
 * A disk that fails while the founders are written down is a failed disk: the node leaves Raft and goes on, it does not stop
 * as if it had found a contradiction. Found by the cluster simulation, seed 1046.
 */
import { expect, test } from 'vitest';
import { Prng } from '../raft/prng.js';
import { EventLoop } from '../sim/event-loop.js';
import { runToEnd } from '../sim/microtasks.js';
import { SimMachine } from '../sim/sim-machine.js';
import { SimNetwork } from '../sim/sim-network.js';
import { SimNode } from '../sim/sim-node.js';

test('a failed sync of the founding file is a failed disk, and no reason to stop', async () => {
  const loop = new EventLoop();
  const machine = new SimMachine(loop, 'n1', 1, new Prng(1));
  const network = new SimNetwork(loop, new Prng(2));
  network.add(machine);
  const events: string[] = [];
  const listen = { host: 'n1', port: 1 };
  const topics = [{ name: 't' }];
  const options = { nodeId: 1, clusterId: 'c', dataDirectory: '/n1', listen, topics, formatIfMissing: true };
  const node = new SimNode(
    machine,
    network,
    { ...options, allowPlaintext: true },
    {
      onEvent: (_, { event }) => void events.push(event),
      onEnd: (_, error) => void events.push(error.message),
    },
  );
  node.faults = ({ operation, path }) => (operation === 'sync' && path.startsWith('founding') ? 'EIO' : undefined);
  node.start();
  await runToEnd(() => loop.now < 1000 && loop.step());
  expect(events).toEqual(['disk-failed']);
  expect(node.node?.status().diskFailure).toContain('EIO');
});
