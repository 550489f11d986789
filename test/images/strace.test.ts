// What the store tells of itself (trace) is checked from outside: strace makes the Nth fdatasync, fsync or msync of a process
// fail, and afterwards no thread of it tries another one.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { Scratch } from './scratch.js';

const CHILD = fileURLToPath(new URL('strace-child.mjs', import.meta.url));
const BUILT = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url));
const SYNCS = 'fdatasync,fsync,msync';

const scratch = new Scratch();
afterAll(() => scratch.close());

/** Why it cannot run here; undefined when it can. */
const reason = (() => {
  if (!existsSync(BUILT)) return 'the package is not built (npm run build)';
  const { status, error } = spawnSync('strace', ['-f', '-e', 'inject=fsync:error=EIO:when=1', 'true'], {
    stdio: 'ignore',
  });
  if (error !== undefined) return 'strace is not installed';
  return status === 0 ? undefined : 'strace may not trace processes here';
})();
if (reason !== undefined) console.warn(`syncs under strace skipped: ${reason}`);

interface Outcome {
  readonly acknowledged: number;
  readonly codes: readonly string[];
}

/** Runs the child; the syncs of the process in order, and what it said. `when`: which sync of each thread fails, 0: none. */
function traced(
  directory: string,
  syscall: string,
  when: number,
): { readonly syncs: string[]; readonly outcome: Outcome } {
  const log = join(scratch.root, 'strace.log');
  const inject = when === 0 ? [] : ['-e', `inject=${syscall}:error=EIO:when=${when}`];
  const arguments_ = ['-f', '-q', '-e', `trace=${SYNCS}`, ...inject, '-o', log, process.execPath, CHILD, directory];
  const { status, stdout, stderr } = spawnSync('strace', arguments_, { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  // A call that another thread came between begins in one line and ends in another.
  const lines = readFileSync(log, 'utf8').split('\n');
  const syncs = lines.filter((line) => /\b(fdatasync|fsync|msync)\(/.test(line) || line.includes('INJECTED'));
  return { syncs, outcome: JSON.parse(stdout) as Outcome };
}

const MEETINGS_MAX = 3;

/**
 * A single sync of another thread, which makes the journal's next file ahead of need: it may have been on its way to the
 * kernel before it could be told. Met by chance, so then the run is made again; a store that goes on is met every time.
 */
function isUnderWay(failed: string, later: readonly string[]): boolean {
  const threadOf = (line: string): string => line.split(' ')[0]!;
  return later.length === 1 && threadOf(later[0]!) !== threadOf(failed);
}

test.skipIf(reason !== undefined).each(['fdatasync', 'fsync', 'msync'])(
  'after an EIO of %s no sync is tried',
  async (syscall) => {
    let hits = 0;
    let meetings = 0;
    for (let when = 1; when <= 6; when++) {
      const directory = scratch.directory();
      const { syncs, outcome } = traced(directory, syscall, when);
      const failed = syncs.findIndex((line) => line.includes('INJECTED'));
      if (failed < 0) break;
      hits++;
      expect(outcome.codes, syncs[failed]).toContain('DISK_FAILED');
      expect(outcome.codes.filter((code) => code !== 'DISK_FAILED' && code !== 'CLOSED')).toEqual([]);
      const later = syncs.slice(failed + 1);
      if (isUnderWay(syncs[failed]!, later) && ++meetings < MEETINGS_MAX) {
        when--;
        continue;
      }
      expect(later, `after ${syncs[failed]}`).toEqual([]);
      const store = await openStore(directory, { create: true });
      expect((await store.openLog('t', 0)).end).toBeGreaterThanOrEqual(outcome.acknowledged);
      await store.close();
    }
    expect(hits).toBeGreaterThan(0);
  },
);

test.skipIf(reason !== undefined)('without an error the same process syncs often', () => {
  const { syncs, outcome } = traced(scratch.directory(), 'fsync', 0);
  expect(outcome).toEqual({ acknowledged: 24, codes: [] });
  expect(syncs.length).toBeGreaterThan(40);
});
