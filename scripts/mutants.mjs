/**
 * `npm run mutants`: the proof that the tests would notice. Each mutant is a bug planted in a copy of the sources (released
 * code has no switch for it); the tests that are named with it must pass without it and fail with it.
 *
 *   npm run mutants                          every mutant, killed by its named test
 *   npm run mutants -- --only NAME,NAME
 *   npm run mutants -- --unit                also: does it pass the ordinary tests? (some minutes each)
 *
 * Exit code 0: every mutant was killed; 1: one survived, or a test fails without any; 2: a flag or the table is wrong.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { clusterMutants } from '../test/mutants/cluster-mutants.mjs';
import { raftMutants } from '../test/mutants/raft-mutants.mjs';
import { storeMutants } from '../test/mutants/store-mutants.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The ordinary tests of what a mutant changes: no simulation, no crash images. */
const UNIT_TESTS = {
  store: ['disk', 'index', 'journal', 'log', 'record', 'segment'].map((folder) => `test/${folder}/`),
  raft: ['test/raft/', '--exclude', 'test/raft/simulation.test.ts'],
  cluster: ['test/cluster/', 'test/client/'],
};
const RUN_MS = 15 * 60_000;

function fail(message, code) {
  console.error(`mutants: ${message}`);
  process.exit(code);
}

function run(folder, command, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: RUN_MS,
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, ...env, NO_COLOR: '1' },
  });
  if (error && error.code !== 'ETIMEDOUT') throw error;
  return { status: status ?? 'timeout', output: `${stdout}${stderr}` };
}

/** A copy of the tracked files, which shares the dependencies, and the addon unless native sources are to change. */
function copyOfSources(native) {
  const folder = mkdtempSync(join(tmpdir(), 'varve-mutant-'));
  const { output } = run(root, 'git', ['ls-files', '-z']);
  for (const file of output.split('\0').filter(Boolean)) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  if (!native) symlinkSync(join(root, 'build'), join(folder, 'build'));
  return folder;
}

function plant(folder, { name, file, changes }) {
  const path = join(folder, file);
  let text = readFileSync(path, 'utf8');
  for (const [find, replace] of changes) {
    if (text.split(find).length !== 2) fail(`${name}: this must occur exactly once in ${file}:\n${find}`, 2);
    text = text.replace(find, () => replace);
  }
  writeFileSync(path, text);
}

function vitest(folder, { files, test, env }) {
  return run(folder, 'npx', ['vitest', 'run', ...files, ...(test === undefined ? [] : ['-t', test])], env);
}

/** Killed by a test that ran and failed; a mutant that does not compile proves nothing. */
function verdictOf({ status, output }) {
  if (status === 0) return 'SURVIVED';
  if (status === 'timeout') return 'killed (timeout)';
  return /\bTests\s+.*\d+ failed/.test(output) ? 'killed' : 'BROKEN';
}

/** The test that failed; of a simulation what stopped it, and the line that plants the bug again and replays the seed. */
function firstFailure(output, name) {
  const test = /(?:FAIL|×)\s+(.*)/.exec(output)?.[1]?.trim() ?? '';
  const [, seed, why] = /seed \d+ failed; replay: (\w+_SEED=\d+).*\n(.*)/.exec(output) ?? [];
  return seed === undefined ? test : `${why.slice(0, 200)}\n          ${seed} npm run mutants -- --only ${name}`;
}

function unitTestsOf({ file }) {
  if (file.startsWith('src/raft/')) return UNIT_TESTS.raft;
  return file.startsWith('src/cluster/') ? UNIT_TESTS.cluster : UNIT_TESTS.store;
}

const { values } = parseArgs({ options: { only: { type: 'string' }, unit: { type: 'boolean', default: false } } });
const allMutants = [...storeMutants, ...clusterMutants, ...raftMutants];
const names = values.only?.split(',');
const unknown = names?.find((name) => !allMutants.some((mutant) => mutant.name === name));
if (unknown !== undefined)
  fail(`there is no "${unknown}"; there are ${allMutants.map(({ name }) => name).join(', ')}`, 2);
const chosen = allMutants.filter(({ name }) => names?.includes(name) ?? true);

console.log('without a mutant:');
const killers = [...new Map(chosen.map(({ killer }) => [JSON.stringify(killer), killer])).values()];
for (const killer of killers) {
  const { status, output } = vitest(root, killer);
  console.log(
    `  ${status === 0 ? 'passes' : 'FAILS '}  ${killer.files.join(' ')}${killer.test ? ` -t '${killer.test}'` : ''}`,
  );
  if (status !== 0) fail(`it must pass before it can prove anything:\n${output.slice(-4000)}`, 1);
}

let survivors = 0;
let passUnit = 0;
for (const mutant of chosen) {
  const native = mutant.file.startsWith('native/');
  const folder = copyOfSources(native);
  try {
    plant(folder, mutant);
    if (native) {
      const built = run(folder, 'node', ['scripts/install.mjs', '--force']);
      if (built.status !== 0) fail(`${mutant.name} does not compile:\n${built.output.slice(-4000)}`, 2);
    }
    const result = vitest(folder, mutant.killer);
    const verdict = verdictOf(result);
    let unit = '';
    if (values.unit) {
      const passes = vitest(folder, { files: unitTestsOf(mutant) }).status === 0;
      if (passes) passUnit++;
      unit = passes ? ', passes the ordinary tests' : ', found by the ordinary tests as well';
    }
    if (!verdict.startsWith('killed')) survivors++;
    console.log(`${verdict.padEnd(9)} ${mutant.name}: ${mutant.says}${unit}`);
    console.log(`          by ${firstFailure(result.output, mutant.name) || mutant.killer.files.join(' ')}`);
    if (verdict === 'BROKEN') console.log(result.output.slice(-2000));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
console.log(
  `\n${chosen.length - survivors} of ${chosen.length} killed${values.unit ? `; ${passUnit} pass the ordinary tests` : ''}`,
);
process.exitCode = survivors === 0 ? 0 : 1;
