// The smallest history of each anomaly, and one that is nearly the same and right. The header's note says what it shows.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ANOMALIES } from '../../src/checker/anomaly.js';
import { checkHistoryFile } from '../../src/checker/history-file.js';

const folder = fileURLToPath(new URL('histories/', import.meta.url));
const { anomalies, others } = JSON.parse(readFileSync(`${folder}expectations.json`, 'utf8')) as {
  /** Lines of evidence. */
  readonly anomalies: Readonly<Record<string, readonly number[]>>;
  /** Names of the anomalies. */
  readonly others: Readonly<Record<string, readonly string[]>>;
};

test('every anomaly has a history, and every history an expectation', () => {
  expect(Object.keys(anomalies).sort()).toEqual(Object.keys(ANOMALIES).sort());
  const expected = [...Object.keys(anomalies).flatMap((name) => [name, `${name}.near`]), ...Object.keys(others)];
  const files = readdirSync(folder).filter((file) => file.endsWith('.jsonl'));
  expect(files.map((file) => file.slice(0, -'.jsonl'.length)).sort()).toEqual(expected.sort());
});

test.each(Object.entries(anomalies))('%s is found, alone, with its lines', async (name, lines) => {
  const verdict = await checkHistoryFile(`${folder}${name}.jsonl`);
  expect(verdict.counts).toEqual({ [name]: 1 });
  expect(verdict.anomalies[0]!.lines).toEqual(lines);
  expect(verdict.clean).toBe(false);
});

test.each(Object.keys(anomalies))('%s: the near miss is right', async (name) => {
  const verdict = await checkHistoryFile(`${folder}${name}.near.jsonl`);
  expect(verdict.anomalies).toEqual([]);
  expect(verdict.clean).toBe(true);
});

test.each(Object.entries(others))('%s', async (name, expected) => {
  const verdict = await checkHistoryFile(`${folder}${name}.jsonl`);
  expect(Object.keys(verdict.counts)).toEqual(expected);
});

test('docs/HISTORY.md explains every anomaly', () => {
  const page = readFileSync(fileURLToPath(new URL('../../docs/HISTORY.md', import.meta.url)), 'utf8');
  for (const name of Object.keys(ANOMALIES)) expect(page).toContain(`\n| \`${name}\` |`);
});
