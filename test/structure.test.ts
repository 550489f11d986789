// House rules that a reader relies on: which way imports point, one place that loads the addon, one error type.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

function* sourceFiles(folder: string): Generator<string> {
  for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
    if (file.endsWith('.ts')) yield join(folder, file);
  }
}

const importPattern = /(?:from|import)\s*\(?\s*'(\.[^']+)'/g;

/** Folder of src/ that each relative import of a file lands in; '' for files directly in src/. */
function importedFolders(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(importPattern)].map((match) => {
    const target = relative(join(root, 'src'), join(root, dirname(file), match[1]!));
    return target.includes('/') ? target.split('/')[0]! : '';
  });
}

/** Each folder may import from itself, from src/ files and from those named here. Types of the Raft vocabulary are shared by the log. */
const allowed: Readonly<globalThis.Record<string, readonly string[]>> = {
  disk: [],
  record: ['disk'],
  index: ['record', 'disk'],
  segment: ['index', 'record', 'disk'],
  journal: ['segment', 'index', 'record', 'disk', 'raft'],
  compaction: ['record', 'disk'],
  log: ['compaction', 'journal', 'segment', 'index', 'record', 'disk', 'raft'],
  inspect: ['log', 'journal', 'segment', 'index', 'record', 'disk'],
  raft: [],
  checker: [],
  rpc: ['disk'],
  cluster: ['rpc', 'raft', 'log', 'record', 'disk'],
  client: ['rpc', 'record', 'disk', 'cluster'],
  cli: ['cluster', 'client', 'inspect', 'checker', 'rpc', 'log', 'record', 'disk', '..'],
};

test.each(Object.keys(allowed))('imports of src/%s point one way', (folder) => {
  for (const file of sourceFiles(`src/${folder}`)) {
    for (const target of importedFolders(file)) {
      if (target === '' || target === folder) continue;
      expect(allowed[folder], `${file} imports from src/${target}`).toContain(target);
    }
  }
});

test('the Raft core imports nothing at all from outside its folder', () => {
  for (const file of sourceFiles('src/raft')) {
    const text = readFileSync(join(root, file), 'utf8');
    for (const match of text.matchAll(/from\s+'([^']+)'/g)) {
      expect(match[1], `${file} imports ${match[1]}`).toMatch(/^\.\/[^/]+\.js$/);
    }
    expect(text, `${file} uses a clock, timer or randomness`).not.toMatch(
      /Date\.now|performance\.now|setTimeout|setInterval|setImmediate|Math\.random/,
    );
  }
});

/** Globals and modules that answer with something else in every run. */
const outside =
  /(?<![.\w:'])(?:Date\b|performance\.|process\.|crypto\.|Math\.random\b|(?:set|clear)(?:Timeout|Interval|Immediate)\b)|'node:(?!crypto'|path'|util'|events')[^']+'|\{[^}]*\brandom\w+[^}]*\} from 'node:crypto'/;

/** Where the outside comes in: what a simulator brings in its own form, and what it leaves alone. */
const doors: readonly string[] = [
  'src/cluster/process-load.ts',
  // At import, from package.json.
  'src/cluster/version.ts',
  'src/log/store.ts',
  // Compression runs on threads: simulated records are not compressed.
  'src/record/codecs.ts',
  'src/rpc/transport.ts',
];

test('a node takes time, chance, files and network from its environment alone', () => {
  for (const folder of ['raft', 'record', 'index', 'segment', 'journal', 'compaction', 'log', 'rpc', 'cluster']) {
    for (const file of sourceFiles(`src/${folder}`)) {
      if (doors.includes(file)) continue;
      const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      expect(outside.exec(code)?.[0], file).toBeUndefined();
    }
  }
});

test.each(doors)('%s is a door to the outside', (file) => {
  expect(readFileSync(join(root, file), 'utf8')).toMatch(outside);
});

test.each([
  'const t = Date.now();',
  'performance.now()',
  'setImmediate(() => {})',
  'Math.random()',
  "import { randomBytes } from 'node:crypto';",
  "import { connect } from 'node:net';",
  "import { setTimeout as sleep } from 'node:timers/promises';",
])('that would be noticed: %s', (code) => {
  expect(code).toMatch(outside);
});

test('only one file loads the addon', () => {
  const loaders = [...sourceFiles('src')].filter((file) =>
    /varve\.node|createRequire/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(loaders).toEqual(['src/disk/addon.ts']);
});

test('the library prints nothing', () => {
  for (const file of sourceFiles('src')) {
    if (file.startsWith('src/cli/')) continue;
    expect(readFileSync(join(root, file), 'utf8'), file).not.toMatch(/\bconsole\.|process\.(stdout|stderr)\.write/);
  }
});

test('native code changes files through posix_file alone, so that a trace misses nothing', () => {
  const folder = join(root, 'native/src');
  const calls =
    /(?<![A-Za-z])::(pwritev?|fallocate|ftruncate|fdatasync|fsync|rename|unlink|open)\(|\bsync_file_range\(/;
  const files = readdirSync(folder).filter((file) => calls.test(readFileSync(join(folder, file), 'utf8')));
  // The lock holds nothing that anybody relies on after a crash; the trace makes the calls in posix_file's place.
  expect(files.sort()).toEqual(['directory_lock.cc', 'posix_file.cc', 'trace.cc', 'trace.h']);
});

/** What scripts/mutants.mjs asks of its table: else a mutant would be noticed as broken only when somebody runs them all. */
test.each(['store', 'cluster'])(
  'each mutant of the %s fits the present sources, and the tests named with it exist',
  async (what) => {
    type Mutant = { name: string; file: string; changes: [string, string][]; killer: { files: string[] } };
    const table = (await import(join(root, `test/mutants/${what}-mutants.mjs`))) as Record<string, Mutant[]>;
    for (const { name, file, changes, killer } of table[`${what}Mutants`]!) {
      const text = readFileSync(join(root, file), 'utf8');
      for (const [find] of changes) expect(text.split(find).length - 1, `${name} in ${file}: ${find}`).toBe(1);
      for (const test of killer.files) expect(existsSync(join(root, test)), `${name}: ${test}`).toBe(true);
    }
  },
);
