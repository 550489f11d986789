// kill -9 of a real process in the middle of appends, checkpoints and segment rolls.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openStore } from '../../src/log/store.js';
import { temporaryDirectory } from './crash-image.js';

const CHILD = fileURLToPath(new URL('./kill-child.mjs', import.meta.url));

/** Runs the child until `enough` more records are acknowledged, then kills it. @returns how many it acknowledged in all */
async function appendAndKill(path: string, flush: string, enough: number): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, [CHILD, path, flush], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let start = -1;
  let acknowledged = 0;
  for await (const line of createInterface({ input: child.stdout! })) {
    const [what, value] = line.split(' ');
    if (what === 'open') start = Number(value);
    // A line that the kill cut in two is not counted.
    if (what === 'acknowledged' && value !== undefined) acknowledged = Math.max(acknowledged, Number(value));
    if (start >= 0 && acknowledged >= start + enough && !child.killed) child.kill('SIGKILL');
  }
  const [code, signal] = await exited;
  expect([code, signal], 'the child ended by itself: was the package built (npm run build)?').toEqual([
    null,
    'SIGKILL',
  ]);
  return acknowledged;
}

test.each(['sync', 'async', 'none'] as const)(
  'kill -9 loses nothing that was acknowledged under flush %s',
  async (flush) => {
    const path = temporaryDirectory();
    for (let round = 0; round < 3; round++) {
      const acknowledged = await appendAndKill(path, flush, 2000);
      const store = await openStore(path);
      const log = await store.openLog('t', 0, { flush });
      expect(log.recovery).toMatchObject({
        clean: false,
        pageCacheSurvived: true,
        damaged: [],
        mayHaveForgotten: flush !== 'sync',
      });
      expect(log.end).toBeGreaterThanOrEqual(acknowledged);
      for (let offset = 0; offset < log.end; ) {
        const { records, nextOffset } = await log.read(offset);
        for (const record of records) {
          expect(record.offset).toBe(offset++);
          const value = String(record.value);
          expect(value).toMatch(/^record \d+\.*$/);
          expect(value.length).toBe(200 + (Number.parseInt(value.slice('record '.length), 10) % 3000));
        }
        expect(offset).toBe(nextOffset);
      }
      // Every other round goes on after a clean stop, the others after the crash.
      await store.close();
    }
  },
  300_000,
);
