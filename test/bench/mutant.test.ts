// A bug can only be planted while the code is what it was made for: found out here, not when the kill test is run.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MUTANTS, plantMutant } from '../../bench/kill/mutant.js';
import { temporaryDirectory } from '../log/crash-image.js';

test.each(Object.keys(MUTANTS))('%s can be planted', (name) => {
  const program = plantMutant(name, join(temporaryDirectory(), name));
  expect(existsSync(program)).toBe(true);
});
