// The quick start compiles against the published types and runs, against three nodes.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TestCluster } from '../cluster/harness.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

let project: string;

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), 'varve-quickstart-'));
  await mkdir(join(project, 'node_modules', '@types'), { recursive: true });
  await symlink(root, join(project, 'node_modules', 'varve'));
  await symlink(join(root, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
  await writeFile(join(project, 'package.json'), '{"type":"module"}');
  const compilerOptions = {
    target: 'ES2023',
    module: 'NodeNext',
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    types: ['node'],
  };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  await copyFile(join(root, 'examples/quickstart.ts'), join(project, 'quickstart.ts'));
  await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], { cwd: project });
});

afterEach(() => rm(project, { recursive: true, force: true }));

it('writes to a replicated topic and reads it back', async () => {
  const cluster = await TestCluster.start(3);
  try {
    const { host, port } = cluster.peers[0]!;
    const { stdout } = await run(process.execPath, ['quickstart.js', `${host}:${port}`], { cwd: project });
    const [leader, written, ...records] = stdout.trim().split('\n');
    expect(leader).toMatch(/^node [123] leads events-0$/);
    expect(written).toBe('wrote 10 records');
    expect(records).toEqual(Array.from({ length: 10 }, (_, n) => `+${n} sensor-1 ${(20 + n / 2).toFixed(1)} °C`));
  } finally {
    await cluster.close();
  }
});

it('says what is wrong and ends with 1 when there is no such topic', async () => {
  const cluster = await TestCluster.start(1);
  try {
    const { host, port } = cluster.peers[0]!;
    const failed = run(process.execPath, ['quickstart.js', `${host}:${port}`, 'nowhere'], { cwd: project });
    await expect(failed).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/^UNKNOWN_TOPIC: .*nowhere/) });
  } finally {
    await cluster.close();
  }
});
