// One group commit serves every partition of a data directory: the system's own record of what was called says so, and the
// journal counts the same.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryDirectory } from './crash-image.js';

const child = new URL('group-commit-child.mjs', import.meta.url).pathname;
const hasStrace = spawnSync('strace', ['-V']).status === 0;
if (!hasStrace) console.log('skipped: strace is not installed (Debian: apt-get install strace)');

test('512 partitions with pending bytes become durable by one sync', () => {
  const found = JSON.parse(execFileSync('node', [child, join(temporaryDirectory(), 'store')], { encoding: 'utf8' }));
  expect(found).toEqual({ syncs: 1, durable: 512 });
});

test.runIf(hasStrace)('the system sees one fdatasync, as the journal counts', () => {
  const folder = temporaryDirectory();
  const trace = join(folder, 'trace');
  const calls = 'fdatasync,fsync,sync_file_range,access,faccessat,faccessat2';
  const args = ['-f', '-qq', '-e', `trace=?${calls.replaceAll(',', ',?')}`, '-o', trace];
  execFileSync('strace', [...args, 'node', child, join(folder, 'store')], { encoding: 'utf8' });
  const lines = readFileSync(trace, 'utf8').split('\n');
  const begin = lines.findIndex((line) => line.includes('flush-begins'));
  const end = lines.findIndex((line) => line.includes('flush-ended'));
  expect(begin).toBeGreaterThan(0);
  expect(end).toBeGreaterThan(begin);
  // A call that another thread's output interrupts is a line "unfinished" and one "resumed".
  const syncs = lines.slice(begin, end).filter((line) => /\bf(data)?sync\(/.test(line));
  expect(syncs).toHaveLength(1);
  expect(syncs[0]).toContain('fdatasync(');
});
