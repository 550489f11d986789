import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const FOLDER = new URL('../../src/raft/', import.meta.url);

describe('the Raft core', () => {
  for (const name of readdirSync(FOLDER)) {
    const source = readFileSync(new URL(name, FOLDER), 'utf8');

    it(`imports nothing from outside its folder in ${name}`, () => {
      const imports = Array.from(
        source.matchAll(/\bfrom '([^']+)'|\bimport\(['"]?([^'")]+)/g),
        (match) => match[1] ?? match[2],
      );
      expect(imports.filter((path) => !/^\.\/[a-z-]+\.js$/.test(path!))).toEqual([]);
    });

    it(`uses no clock, timer or randomness of its own in ${name}`, () => {
      const used =
        /\b(Math\.random|Date|performance|process|set(Timeout|Interval|Immediate)|queueMicrotask|await|Promise)\b/;
      const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      expect(used.exec(code)?.[0]).toBeUndefined();
    });
  }
});
