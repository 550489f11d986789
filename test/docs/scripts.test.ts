// The scripts of package.json work after `npm ci`, which compiles nothing.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly scripts: Readonly<Record<string, string>>;
};

test('every script that runs what the compiler makes compiles first', () => {
  const compiled = Object.keys(scripts).filter((name) => /\bdist\/|tools\/profile/.test(scripts[name]!));
  expect(compiled).toContain('bench:store');
  for (const name of compiled) {
    expect(scripts[`pre${name}`], `pre${name}`).toMatch(/^npm run build$|^node scripts\/prestart\.mjs$/);
  }
});
