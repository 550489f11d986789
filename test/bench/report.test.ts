import { describe, expect, test } from 'vitest';
import { adviceFor } from '../../bench/report/advice.js';
import { escapeHtml } from '../../bench/report/charts.js';
import { count, duration, milliseconds, ratio, whole } from '../../bench/report/format.js';
import { resultPage } from '../../bench/report/html.js';
import { resultTables } from '../../bench/report/table.js';
import type { BenchResult } from '../../bench/result.js';
import { floorProblem } from '../../bench/summary.js';
import { CLEAN, cannedResult } from './canned-result.js';

const VOID_ELEMENTS = new Set(['meta', 'br', 'hr', 'img', 'link', 'input']);

/** Names of elements left open or closed out of turn. */
function unbalanced(html: string): string[] {
  const open: string[] = [];
  const wrong: string[] = [];
  const body = html.replace(/<script[\s\S]*?<\/script>|<style[\s\S]*?<\/style>|<!doctype[^>]*>/gi, '');
  for (const [, slash, name] of body.matchAll(/<(\/?)([a-z0-9]+)(?:\s[^>]*)?>/gi)) {
    if (VOID_ELEMENTS.has(name!)) continue;
    if (slash === '') open.push(name!);
    else if (open.pop() !== name) wrong.push(name!);
  }
  return [...wrong, ...open];
}

describe('the page', () => {
  const result = cannedResult();
  const page = resultPage(result);

  test('loads nothing from anywhere', () => {
    expect(page).not.toMatch(/https?:\/\//);
    expect(page).not.toMatch(/\s(src|href)=|@import|url\(/);
    expect(page).not.toMatch(/<script(?! type="application\/json")/);
  });

  test('is well-formed, and fits a phone and the dark', () => {
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(page).toContain('<meta name="viewport" content="width=device-width, initial-scale=1">');
    expect(page).toContain('prefers-color-scheme: dark');
    expect(unbalanced(page)).toEqual([]);
  });

  test('shows what came from outside as text, never as markup', () => {
    expect(page).toContain(escapeHtml(result.command));
    expect(page).not.toContain('<my>');
    expect(page).toContain('Processor &#60;A&#38;B&#62;');
  });

  test('holds the whole result, to be read by a program', () => {
    const [, json] = /<script type="application\/json" id="result">([\s\S]*?)<\/script>/.exec(page)!;
    expect(JSON.parse(json!)).toEqual(JSON.parse(JSON.stringify(result)));
  });

  test('has a bar for every cell of acks × flush and for every floor, a row for every cell and every kill', () => {
    for (const flush of ['sync', 'async', 'none']) {
      for (const acks of ['0', '1', 'all']) expect(page).toContain(`<b>${acks} · ${flush}</b>`);
    }
    expect(page.match(/<b>floor · (disk|memory)<\/b>/g)).toHaveLength(4);
    const rows = page.match(/<tr>/g)!.length;
    expect(rows).toBe(2 + result.kills.length + result.cells.length + result.floors.length);
  });

  test('says at the top that promises were broken, or that the figures are not valid', () => {
    const broken = resultPage({
      ...result,
      failed: true,
      failures: ['7 lost <b>'],
      valid: false,
      problems: ['too slow'],
    });
    expect(broken).toContain('Promises were broken');
    expect(broken).toContain('7 lost &#60;b&#62;');
    expect(broken).toContain('Do not quote these figures');
    expect(page).not.toContain('Promises were broken');
    expect(page).not.toContain('Do not quote');
  });

  test('is made of any part of a matrix', () => {
    const some = { ...result, cells: result.cells.slice(0, 1), kills: [], advice: [] };
    expect(unbalanced(resultPage(some))).toEqual([]);
    expect(resultPage(some)).not.toContain('kill -9 of the leader under load');
  });
});

test('the tables name every cell, every floor and every kill, and stay narrow enough for a terminal', () => {
  const result = cannedResult();
  const text = resultTables(result);
  expect(text.match(/floor: 3 bare servers/g)).toHaveLength(4);
  expect(text.match(/zstd/g)).toHaveLength(6);
  expect(text).toMatch(/37 of 9\.00k/);
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(150);
});

describe('the JSON', () => {
  test('names its schema, and carries for each cell what a reader needs', () => {
    const result = JSON.parse(JSON.stringify(cannedResult())) as BenchResult;
    expect(result).toMatchObject({ schema: 'varve-bench', schemaVersion: 1, valid: true, failed: false });
    expect(result.cells).toHaveLength(34);
    for (const cell of result.cells) {
      expect(Object.keys(cell.settings).sort()).toEqual(['acks', 'batch', 'compression', 'flush', 'recordBytes']);
      expect(cell.summary).toMatchObject({
        recordsPerSecond: { median: expect.any(Number), min: expect.any(Number), max: expect.any(Number), count: 3 },
        mbPerSecond: { median: expect.any(Number) },
        p50Ms: { median: expect.any(Number) },
        p99Ms: { median: expect.any(Number) },
        p999Ms: { median: expect.any(Number) },
        syncsPerSecond: { median: expect.any(Number) },
        recordsPerSync: { median: expect.any(Number) },
        compressionRatio: { median: expect.any(Number) },
        verifiedRecords: expect.any(Number),
        ratioToFloor: { median: expect.any(Number), interval: { low: expect.any(Number), high: expect.any(Number) } },
      });
      for (const round of cell.rounds) expect(round.ratioToFloor).toBeGreaterThan(0);
    }
    for (const name of ['cpu', 'kernel', 'fileSystem', 'disk', 'node', 'gitCommit']) {
      expect(result.environment).toHaveProperty(name);
    }
    expect(result.plan.seed).toBe(1);
  });
});

describe('advice', () => {
  const { plan, cells, floors, kills } = cannedResult();

  test('names the price of a majority, of the disk, of small batches and of each codec', () => {
    const text = adviceFor({ plan, cells, floors, kills }).join('\n');
    expect(text).toMatch(/flush=async takes \d\.\d+ × the records of flush=sync/);
    expect(text).toMatch(/acks=1 takes \d\.\d+ × the records of acks=all/);
    expect(text).toMatch(/batches of up to 256k take \d+\.?\d* × the records of one-record batches/);
    expect(text).toMatch(/zstd stores 1\/4\.20 of the bytes/);
    expect(text).toMatch(/acks=1 lost acknowledged records .*It may/);
  });

  test('compares nothing on fewer than three rounds', () => {
    const once = cells.map((cell) => ({ ...cell, rounds: cell.rounds.slice(0, 1) }));
    const text = adviceFor({ plan, cells: once, floors, kills: [] }).join('\n');
    expect(text).not.toMatch(/×|not distinguishable/);
  });

  test('calls a broken promise one', () => {
    const broken = kills.map((kill) => ({ ...kill, verified: { ...CLEAN, lost: 3 } }));
    expect(adviceFor({ plan, cells, floors, kills: broken }).join('\n')).toMatch(/acks=all lost .*breaks its promise/);
  });
});

describe('a floor that is too low', () => {
  const [floor] = cannedResult().floors;
  const slow = (recordsPerSecond: number, yardstickMs: number) => {
    const rounds = floor!.rounds.map((round) => ({ ...round, recordsPerSecond, yardstickMs }));
    return { ...floor!, rounds };
  };

  test('makes a run invalid on a fast disk', () => {
    expect(floorProblem(slow(50_000, 0.13), 8, 128)).toMatch(/at least 164000 are expected/);
    expect(floorProblem(slow(170_000, 0.13), 8, 128)).toBeUndefined();
  });

  test('says nothing where the disk is slow, or the load small', () => {
    expect(floorProblem(slow(50_000, 0.31), 8, 128)).toBeUndefined();
    expect(floorProblem(slow(50_000, 0.13), 1, 10)).toBeUndefined();
  });
});

test('numbers read as people write them', () => {
  expect([0, 0.4, 12, 1234, 56_789, 1_234_567].map(count)).toEqual(['0', '0.4', '12', '1.23k', '56.8k', '1.23M']);
  expect([0.123, 1.26, 12.6].map(milliseconds)).toEqual(['0.12', '1.3', '13']);
  expect([0.634, 12.34, 200].map(ratio)).toEqual(['0.63', '12.3', '200']);
  expect([5, 59.6, 125].map(duration)).toEqual(['5 s', '1 m 00 s', '2 m 05 s']);
  expect(whole(1_234_567)).toBe('1\u202f234\u202f567');
});
