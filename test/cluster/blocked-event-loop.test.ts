// A process that stands still for longer than an election timeout (work, garbage collection, SIGSTOP) finds an expired timer and, in
// its sockets, the heartbeats that came meanwhile. The heartbeats count first, and a late tick counts once.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import type { NodeStatus, PartitionStatus } from '../../src/cluster/status.js';
import { dial } from '../../src/rpc/dial.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { batchOf, freePorts, TestClient, TestCluster, until } from './harness.js';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const ELECTION_MS = 1000;

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('an event loop that stood still for three election timeouts elects nobody', async () => {
  const cluster = await TestCluster.start(3);
  onTestFinished(() => cluster.close());
  const client = await cluster.client(await cluster.leader());
  await cluster.settled();
  const terms = cluster.replicas().map(({ term }) => term);
  for (let i = 0; i < 3; i++) {
    standStill(3 * 400);
    // Goes through all of them, so whatever the timers did has happened.
    await client.produce(batchOf(`${i}`));
  }
  await cluster.settled();
  expect(cluster.replicas().map(({ term }) => term)).toEqual(terms);
});

test('a follower that was stopped for longer than its election timeout does not ask for votes', async () => {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first ("npm test" does)`);
  const directory = await mkdtemp(join(tmpdir(), 'varve-stopped-'));
  const ports = await freePorts(3);
  const peers = ports.map((port, i) => `${i + 1}@127.0.0.1:${port}`).join(',');
  const children = ports.map((port, i): ChildProcess => {
    const place = ['--data', join(directory, `${i + 1}`), '--listen', `127.0.0.1:${port}`, '--format-if-missing'];
    const who = ['--id', `${i + 1}`, '--cluster-id', 'test', '--peers', peers, '--topic', 'events'];
    const args = ['node', '--log-level', 'silent', '--election-ms', `${ELECTION_MS}`, ...who, ...place];
    return spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  });
  onTestFinished(async () => {
    for (const child of children) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    await rm(directory, { recursive: true, force: true });
  });
  await Promise.all(children.map((child) => once(child.stdout!, 'data')));
  const clients = await Promise.all(ports.map(clientOf));
  const partition = async (client: TestClient): Promise<PartitionStatus> =>
    ((await client.connection.request(FrameType.Status, [])).header as [NodeStatus])[0].partitions[0]!;
  let leader = -1;
  await until('there is a leader', async () => {
    const roles = await Promise.all(clients.map(async (client) => (await partition(client)).role));
    leader = roles.indexOf('leader');
    return leader >= 0;
  });
  await until('it takes records', () => clients[leader]!.produce(batchOf('a')).then(Boolean, () => false));
  const { term } = await partition(clients[leader]!);

  const follower = children.findIndex((_, i) => i !== leader);
  for (let i = 0; i < 3; i++) {
    children[follower]!.kill('SIGSTOP');
    // Longer than any of its timeouts would be from the last heartbeat on, shorter than the silence that ends a connection.
    standStill(1.8 * ELECTION_MS);
    children[follower]!.kill('SIGCONT');
    const base = await clients[leader]!.produce(batchOf(`${i}`));
    await until('the follower goes on', async () => (await partition(clients[follower]!)).logEnd > base);
  }
  const after = await Promise.all(clients.map(partition));
  expect(after.map((each) => [each.term, each.leader])).toEqual(after.map(() => [term, leader + 1]));
});

async function clientOf(port: number): Promise<TestClient> {
  const nobody = { clusterId: 'test', nodeId: 0, directoryId: '', incarnation: '' };
  const handshake = { ...nobody, kind: 'client' as const, channel: 'client' as const };
  const { connection } = await dial({ host: '127.0.0.1', port, handshake });
  onTestFinished(() => connection.destroy());
  return new TestClient(connection);
}
