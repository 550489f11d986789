// Twin and simulator are functions of what they are given: time, chance and order come in from outside.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** What the differential tests need on the native side, and what drives a simulation. */
const TEST_SIDE = /\.test\.ts$|^twin-pair\.ts$|-sequence\.ts$|^microtasks\.ts$/;

const folder = import.meta.dirname;
const sources = readdirSync(folder).filter((file) => file.endsWith('.ts') && !TEST_SIDE.test(file));

test.each(sources)('%s has no clock, timer or chance of its own, and no file', (file) => {
  const text = readFileSync(join(folder, file), 'utf8');
  expect(text).not.toMatch(
    /(?<![.\w])(Date\.|performance\.|setTimeout\((?!ms: number\): void)|setInterval|setImmediate|Math\.random|randomBytes\()|from 'node:(?!assert)/,
  );
});

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(5);
});
