import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compiled } from '../../bench/package-root.js';
import type { BenchResult } from '../../bench/result.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'varve-test-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the compiled command; `onOutput` may look at what it says meanwhile. */
function varve(args: readonly string[], onOutput?: (stderr: string, pid: number) => void): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [compiled('src/cli/main.js'), 'bench', ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
      onOutput?.(stderr, child.pid!);
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

const TINY = ['--size', '1k', '--batch', '256k', '--compression', 'none', '--seconds', '0.3', '--warmup', '0.1'];

/** Processes that were started with something of this test's folder on their command line. */
function leftOver(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(folder) && Number(pid) !== process.pid ? [line] : [];
      } catch {
        return [];
      }
    });
}

describe('varve bench, on a real cluster', () => {
  test('measures a cell against its floor, reads every record back, and survives a kill of the leader', async () => {
    const args = ['--acks', 'all', '--flush', 'sync', ...TINY, '--rounds', '2', '--dir', join(folder, 'data')];
    const { code, stdout, stderr } = await varve([...args, '--json', 'out.json', '--html', 'out.html']);
    expect({ code, stderr: code === 0 ? '' : stderr + stdout }).toEqual({ code: 0, stderr: '' });

    const result = JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8')) as BenchResult;
    expect(result).toMatchObject({ schema: 'varve-bench', schemaVersion: 1, failed: false, failures: [] });
    expect(result.cells).toHaveLength(1);
    const [cell] = result.cells;
    expect(cell!.rounds).toHaveLength(2);
    for (const round of cell!.rounds) {
      expect(round.recordsPerSecond).toBeGreaterThan(0);
      expect(round.verified.verified).toBeGreaterThan(0);
      expect(round.verified).toMatchObject({ lost: 0, duplicates: 0, outOfOrder: 0, corrupt: 0, foreign: 0, holes: 0 });
      expect(round.ratioToFloor).toBeGreaterThan(0);
      expect(round.syncsPerSecond).toBeGreaterThan(0);
    }
    expect(result.floors.map(({ kind, storage }) => `${kind} ${storage}`).sort()).toEqual([
      'server disk',
      'sync-loop disk',
      'sync-loop disk',
    ]);
    expect(result.kills).toHaveLength(1);
    const [kill] = result.kills;
    expect(kill).toMatchObject({ acks: 'all', flush: 'sync', mustLoseNothing: true, verified: { lost: 0 } });
    expect(kill!.acknowledgedBeforeKill).toBeGreaterThanOrEqual(5000);
    expect(kill!.inFlightAtKill).toBeGreaterThan(0);
    expect(readFileSync(join(folder, 'out.html'), 'utf8')).toContain('</html>');
    expect(stdout).toMatch(/floor: 3 bare servers, disk/);
    expect(readdirSync(join(folder, 'data'))).toEqual([]);
    expect(leftOver()).toEqual([]);
  });

  test('tells what acks, flush and codec do, with what is in the log as its witness', async () => {
    const cells = ['--acks', '0,1', '--flush', 'async', '--compression', 'zstd', '--size', '100', '--batch', '16k'];
    const args = [...cells, '--seconds', '0.3', '--warmup', '0.1', '--rounds', '1', '--no-kill'];
    const { code, stderr } = await varve([...args, '--json', 'out.json', '--dir', join(folder, 'data')]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const result = JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8')) as BenchResult;
    expect(result.cells.map(({ settings }) => settings.acks)).toEqual([0, 1]);
    for (const { rounds, floor } of result.cells) {
      expect(floor).toBe('memory');
      expect(rounds[0]!.compressionRatio).toBeGreaterThan(1.5);
      expect(rounds[0]!.verified.lost).toBe(0);
    }
    // Without --html and with --json, only the JSON is written.
    expect(readdirSync(folder).sort()).toEqual(['data', 'out.json']);
  });

  test('ends its nodes and removes their data when it is interrupted', async () => {
    let signalled = false;
    const { code, signal } = await varve([...TINY, '--rounds', '50', '--dir', join(folder, 'data')], (stderr, pid) => {
      if (signalled || !stderr.includes('[2/')) return;
      signalled = true;
      process.kill(pid, 'SIGINT');
    });
    expect({ code, signal }).toEqual({ code: 130, signal: null });
    expect(readdirSync(join(folder, 'data'))).toEqual([]);
    expect(leftOver()).toEqual([]);
  });
});

describe('a bad flag', () => {
  test.each([
    [['--acks', '2'], /--acks: "2" is none of 0, 1, all/],
    [['--size', 'big'], /--size: "big" is no size/],
    [['--preset', 'fast'], /there is no preset "fast"/],
    [['--payload', '/nowhere/events.ndjson'], /cannot read the payload file \/nowhere\/events\.ndjson/],
    [['--frobnicate'], /unknown option '--frobnicate'/],
  ])('%j is refused with a sentence, exit code 2, and nothing left behind', async (args, message) => {
    const { code, stderr } = await varve([...args, '--dir', join(folder, 'data')]);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(join(folder, 'data')) ? readdirSync(join(folder, 'data')) : []).toEqual([]);
  });
});
