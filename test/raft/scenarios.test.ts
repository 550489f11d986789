/** Runs testdata/*.txt. After a change that is meant: REWRITE=1 npx vitest run test/raft/scenarios.test.ts, then review. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runScript } from './script.js';

const FOLDER = new URL('testdata/', import.meta.url);

describe('recorded scenarios', () => {
  for (const name of readdirSync(FOLDER).filter((file) => file.endsWith('.txt'))) {
    it(`${name.replace('.txt', '').replaceAll('-', ' ')}: causes the recorded trace`, () => {
      const file = new URL(name, FOLDER);
      const recorded = readFileSync(file, 'utf8');
      const actual = runScript(recorded);
      if (process.env['REWRITE'] === '1') writeFileSync(file, actual);
      else expect(actual).toBe(recorded);
    });
  }
});
