/** The command as people run it: real processes of the compiled program (`npm test` compiles it first). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { NodeStatus } from '../../src/cluster/status.js';
import { dial } from '../../src/rpc/dial.js';
import { FrameType } from '../../src/rpc/protocol.js';
import { batchOf, freePorts, TestClient, until } from '../cluster/harness.js';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

let directory: string;
const running = new Set<ChildProcess>();

beforeAll(() => {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run "npm run build" first ("npm test" does)`);
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'varve-cli-'));
});
afterEach(async () => {
  for (const child of running) {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  await rm(directory, { recursive: true, force: true });
});

function spawnVarve(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Runs a command to its end. */
async function varve(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawnVarve(args);
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (chunk) => (stdout += chunk));
  child.stderr!.on('data', (chunk) => (stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

interface Started {
  readonly child: ChildProcess;
  readonly ready: { readonly port: number; readonly nodeId: number; readonly pid: number };
}

/** Starts a node and waits for its ready line. */
async function startNode(...args: string[]): Promise<Started> {
  const child = spawnVarve(['node', '--log-level', 'warn', ...args]);
  let stderr = '';
  child.stderr!.on('data', (chunk) => (stderr += chunk));
  const lines = createInterface({ input: child.stdout! });
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => {
      throw new Error(`the node ended: ${stderr}`);
    }),
  ])) as [string];
  const ready = JSON.parse(line) as Started['ready'] & { readonly event: string };
  expect(ready.event).toBe('ready');
  return { child, ready };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown[]> {
  const ended = once(child, 'exit');
  child.kill(signal);
  return ended;
}

const CLIENT = {
  kind: 'client',
  channel: 'client',
  clusterId: '',
  nodeId: 0,
  directoryId: '',
  incarnation: '',
} as const;

async function clientOf(port: number): Promise<TestClient> {
  return new TestClient((await dial({ host: '127.0.0.1', port, handshake: CLIENT })).connection);
}

const single = (data: string, ...more: string[]): string[] => [
  ...['--id', '1', '--cluster-id', 'demo', '--data', data, '--listen', '127.0.0.1:0', '--topic', 'events'],
  ...more,
];

describe('varve node', () => {
  test('runs until SIGTERM, ends with 0, and finds everything again', async () => {
    const first = await startNode(...single('d1', '--format-if-missing'));
    const client = await clientOf(first.ready.port);
    await until('the node leads', async () => (await statusOf(first.ready.port)).partitions[0]!.highWatermark > 0);
    await client.produce(batchOf('kept'));
    const { highWatermark } = (await statusOf(first.ready.port)).partitions[0]!;
    expect(await stop(first.child, 'SIGTERM')).toEqual([0, null]);

    const second = await startNode(...single('d1'));
    await until(
      'the node leads in a term of its own',
      async () => (await statusOf(second.ready.port)).partitions[0]!.highWatermark > highWatermark,
    );
    const again = await clientOf(second.ready.port);
    expect(await again.readAll()).toEqual(['kept']);
    expect((await statusOf(second.ready.port)).partitions[0]!.recovery.clean).toBe(true);
    expect(await stop(second.child, 'SIGINT')).toEqual([0, null]);
  });

  test('takes its settings from a file, over which flags win', async () => {
    await writeFile(
      join(directory, 'node.yaml'),
      'id: 1\nclusterId: from-file\ndata: d1\nlisten: 127.0.0.1:0\ntopics:\n  - name: events\n    partitions: 2\nformatIfMissing: true\n',
    );
    const { ready } = await startNode('--config', 'node.yaml', '--cluster-id', 'from-flag');
    expect(ready).toMatchObject({ clusterId: 'from-flag', nodeId: 1 });
    expect((await statusOf(ready.port)).partitions).toHaveLength(2);
  });

  test('without a formatted directory it says what to do', async () => {
    const { code, stdout, stderr } = await varve('node', ...single('nowhere'));
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^varve: DIRECTORY_MISSING: .*varve format --data nowhere --id 1 --cluster-id demo.*\n$/);
    expect(existsSync(join(directory, 'nowhere'))).toBe(false);
  });

  test('will not share a directory, nor take one of another node or cluster', async () => {
    await startNode(...single('d1', '--format-if-missing'));
    expect(await varve('node', ...single('d1'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^varve: DIRECTORY_LOCKED: .*\n$/),
    });
    await varve('format', '--data', 'd2', '--id', '2', '--cluster-id', 'demo');
    expect(await varve('node', ...single('d2'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^varve: DIRECTORY_MISMATCH: .*\n$/),
    });
    await varve('format', '--data', 'd3', '--id', '1', '--cluster-id', 'other');
    expect(await varve('node', ...single('d3'))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^varve: DIRECTORY_MISMATCH: .*\n$/),
    });
  });

  test('a port in use is named', async () => {
    const { ready } = await startNode(...single('d1', '--format-if-missing'));
    const args = single('d2', '--format-if-missing').map((arg) =>
      arg === '127.0.0.1:0' ? `127.0.0.1:${ready.port}` : arg,
    );
    expect(await varve('node', ...args, '--log-level', 'silent')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(`^varve: INVALID_CONFIG: cannot listen on 127.0.0.1:${ready.port}.*\\n$`),
      ),
    });
  });

  test.each<[string, string[], RegExp]>([
    ['an unknown flag', ['--idd', '1'], /INVALID_CONFIG: unknown option '--idd' \(Did you mean --id\?\)/],
    ['a flag that is no number', ['--id', 'one'], /INVALID_CONFIG: .*"one" is not a whole number/],
    ['a missing flag', ['--id', '1'], /INVALID_CONFIG: --cluster-id <name> is missing/],
    [
      'a topic that leaves the directory',
      single('d', '--topic', '../up', '--format-if-missing'),
      /INVALID_TOPIC: "\.\.\/up"/,
    ],
    [
      'a limit of a topic',
      single('d', '--format-if-missing', '--topic', 'a:segmentBytes=1'),
      /INVALID_CONFIG: .*--topic.* segmentBytes: "1"/,
    ],
    [
      'a limit of the store',
      single('d', '--format-if-missing', '--async-max-ms', '0'),
      /INVALID_CONFIG: .*--async-max-ms.* "0" is not from 1/,
    ],
    [
      'a journal below two files',
      single('d', '--format-if-missing', '--journal-max-bytes', '1MiB'),
      /INVALID_CONFIG: store: journalMaxBytes/,
    ],
    ['an unknown setting of a topic', single('d', '--topic', 'a:flsh=sync'), /did you mean "flush"/],
    ['plain text beyond loopback', single('d', '--listen', '0.0.0.0:0'), /INVALID_CONFIG: .*--allow-plaintext/],
    ['a file that is not there', ['--config', 'none.yaml'], /INVALID_CONFIG: cannot read none.yaml/],
    ['a stray word', [...single('d'), 'extra'], /INVALID_CONFIG: too many arguments/],
  ])('%s ends with 2 and one line', async (_, args, line) => {
    const { code, stdout, stderr } = await varve('node', ...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^varve: [^\n]*\n$/);
    expect(stderr).toMatch(line);
    expect(existsSync(join(directory, 'd'))).toBe(false);
  });
});

describe('varve format', () => {
  test('makes a directory that a node takes, once', async () => {
    const made = await varve('format', '--data', 'd1', '--id', '1', '--cluster-id', 'demo');
    expect(made.code).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({ event: 'formatted', nodeId: 1, clusterId: 'demo' });
    expect(await varve('format', '--data', 'd1', '--id', '1', '--cluster-id', 'demo')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^varve: DIRECTORY_MISMATCH: d1 is formatted already.*\n$/),
    });
    await startNode(...single('d1'));
  });

  test('refused, it changes nothing: neither a crashed directory, nor a folder of other things, nor a missing one', async () => {
    const { child, ready } = await startNode(...single('d1', '--format-if-missing'));
    await stop(child, 'SIGKILL');
    await mkdir(join(directory, 'music'));
    await writeFile(join(directory, 'music', 'song'), 'la');
    const before = await readdir(directory, { recursive: true });
    const format = (data: string, clusterId: string) =>
      varve('format', '--data', data, '--id', `${ready.nodeId}`, '--cluster-id', clusterId);
    expect(await format('d1', 'demo')).toMatchObject({ code: 1, stderr: expect.stringContaining('formatted already') });
    expect(await format('music', 'demo')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not empty (song)'),
    });
    expect(await format('d2', '')).toMatchObject({ code: 2, stderr: expect.stringContaining('the cluster id ""') });
    expect(await readdir(directory, { recursive: true })).toEqual(before);
  });
});

describe('varve status', () => {
  test('shows a table, or everything as JSON', async () => {
    const { ready } = await startNode(...single('d1', '--format-if-missing'));
    const broker = `127.0.0.1:${ready.port}`;
    expect((await varve('status', '--broker', broker)).stdout).toMatch(/node 1 of cluster demo[\s\S]*events-0/);
    const { stdout } = await varve('status', '--broker', broker, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ nodeId: 1, pid: ready.pid });
  });

  test('of nobody is one line and code 1', async () => {
    const [port] = await freePorts(1);
    const { code, stderr } = await varve('status', '--broker', `127.0.0.1:${port}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^varve: CONNECTION_LOST: .*ECONNREFUSED.* Is the node running, .*\n$/);
  });
});

test.each(['node', 'format', 'status'])('varve %s --help has an example', async (name) => {
  const { code, stdout } = await varve(name, '--help');
  expect(code).toBe(0);
  expect(stdout).toContain(`$ varve ${name}`);
});

test('what three processes acknowledged survives kill -9 of the leader, which comes back and catches up', async () => {
  const ports = await freePorts(3);
  const peers = ports.map((port, i) => `${i + 1}@127.0.0.1:${port}`).join(',');
  const args = (id: number): string[] => [
    ...['--id', `${id}`, '--cluster-id', 'demo', '--data', `d${id}`, '--listen', `127.0.0.1:${ports[id - 1]}`],
    ...['--peers', peers, '--topic', 'events', '--heartbeat-ms', '40', '--election-ms', '400', '--format-if-missing'],
  ];
  const nodes = new Map<number, Started>();
  for (const id of [1, 2, 3]) nodes.set(id, await startNode(...args(id)));
  const leaderOf = async (): Promise<number> => {
    let leader = 0;
    await until('there is a leader', async () => {
      const [id] = [...nodes.keys()];
      leader = (await statusOf(ports[id! - 1]!)).partitions[0]!.leader;
      return nodes.has(leader);
    });
    return leader;
  };

  const leader = await leaderOf();
  const client = await clientOf(ports[leader - 1]!);
  const acknowledged: string[] = [];
  const attempts: Promise<unknown>[] = [];
  let killed: Promise<unknown> | undefined;
  for (let i = 0; killed === undefined; i++) {
    const value = `value-${i}`;
    attempts.push(
      client.produce(batchOf(value)).then(
        () => acknowledged.push(value),
        () => {},
      ),
    );
    if (acknowledged.length >= 300) killed = stop(nodes.get(leader)!.child, 'SIGKILL');
    if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  await killed;
  await Promise.all(attempts);
  expect(acknowledged.length).toBeLessThan(attempts.length);
  nodes.delete(leader);

  const next = await leaderOf();
  const survivor = await clientOf(ports[next - 1]!);
  await until('the new leader answers', () =>
    survivor.readAll().then(
      () => true,
      () => false,
    ),
  );
  const stored = new Set(await survivor.readAll());
  expect(acknowledged.filter((value) => !stored.has(value))).toEqual([]);

  nodes.set(leader, await startNode(...args(leader)));
  await survivor.produce(batchOf('after'));
  await until('the old leader has it all', async () => {
    const [old, now] = await Promise.all([statusOf(ports[leader - 1]!), statusOf(ports[next - 1]!)]);
    return old.partitions[0]!.highWatermark === now.partitions[0]!.logEnd && now.partitions[0]!.role === 'leader';
  });
  survivor.connection.destroy();
});

async function statusOf(port: number): Promise<NodeStatus> {
  const { connection } = await clientOf(port);
  try {
    return (await connection.request(FrameType.Status, [])).header[0] as NodeStatus;
  } finally {
    connection.destroy();
  }
}
