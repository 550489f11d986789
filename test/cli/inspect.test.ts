/** `varve inspect` as scripts run it: exit codes, JSON, and lines for people. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { crashImage, temporaryDirectory } from '../log/crash-image.js';

const PROGRAM = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));

function inspect(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, 'inspect', ...args], { encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

async function store(): Promise<string> {
  const path = temporaryDirectory();
  const opened = await openStore(path, { create: true, journalFileBytes: 1024 * 1024 });
  const log = await opened.openLog('events', 0);
  await log.append([{ key: 'k', value: 'first' }]);
  await log.append([{ key: null, value: Buffer.from([0xff]) }], { compression: 'lz4' });
  await opened.close();
  return path;
}

test('0 when all is right, 1 when damage was found, 2 when it could not be looked at', async () => {
  const path = await store();
  const sound = inspect(path);
  expect(sound).toMatchObject({ code: 0, stderr: '' });
  expect(sound.stdout).toContain('No damage was found.');

  const partition = join(path, readdirSync(path).find((name) => name.startsWith('events-0.'))!);
  const file = join(partition, '00000000000000000000.log');
  const bytes = readFileSync(file);
  bytes[65]! ^= 1;
  writeFileSync(file, bytes);
  const rotten = inspect(path);
  expect(rotten.code).toBe(1);
  expect(rotten.stdout).toMatch(/DAMAGE .*00000000000000000000\.log, position 0: a batch's CRC32C does not match/);

  for (const args of [
    [join(path, 'nothing')],
    [partition],
    [path, '--partition', 'x-1'],
    [path, '--offset', '1'],
    [path, '--partition', 'events-0', '--offset', '9999'],
    [path, '--offset', 'x', '--partition', 'events-0'],
    [],
  ]) {
    const refused = inspect(...args);
    expect(refused.code, args.join(' ')).toBe(2);
    expect(refused.stderr, args.join(' ')).toMatch(/^varve: [A-Z_]+: .+\n$/);
    expect(refused.stdout).toBe('');
  }
});

test('--json is one object; with --records one per line, the directory last', async () => {
  const path = await store();
  const whole = JSON.parse(inspect(path, '--json').stdout) as { partitions: { name: string; end: number }[] };
  expect(whole.partitions).toMatchObject([{ name: 'events-0', end: 2 }]);

  const lines = inspect(path, '--json', '--records')
    .stdout.trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.map((line) => Object.keys(line)[0])).toEqual(['batch', 'record', 'batch', 'record', 'directory']);
  expect(lines[1]!.record).toMatchObject({ offset: 0, key: 'k', value: 'first' });
  expect(lines[3]!.record).toMatchObject({ offset: 1, key: null, value: { base64: '/w==' } });
});

test('after kill -9 nothing that was acknowledged from memory is said to be missing', async () => {
  const path = temporaryDirectory();
  const opened = await openStore(path, { create: true, journalFileBytes: 1024 * 1024 });
  const log = await opened.openLog('events', 0, { flush: 'async' });
  await log.append([{ value: 'in memory' }]);
  const killed = crashImage(path);
  await opened.close();
  const { code, stdout } = inspect(killed);
  expect(code).toBe(0);
  expect(stdout).toContain('nothing of it is missing');
  expect(stdout).not.toContain('may be gone');
});

test('the lines for people: batches, records, the journal', async () => {
  const path = await store();
  const { stdout } = inspect(path, '--records', '--journal');
  expect(stdout).toMatch(/^journal file \d+ position 4096, LSN 0: 1 record$/m);
  expect(stdout).toMatch(/^events-0 0{20}\.log position 0: offsets 0 to 0, 1 record, \d+ bytes, epoch 0, /m);
  expect(stdout).toMatch(/^ {2}0 \S+ "k" = "first"$/m);
  expect(inspect(path, '--partition', 'events-0', '--offset', '1').stdout).toMatch(/offsets 1 to 1/);
});
