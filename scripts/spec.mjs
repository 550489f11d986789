/**
 * `npm run spec`: the model checker spin visits every state of spec/replication.pml within bounds (docs/SPEC.md). It needs
 * spin and gcc (Debian packages of these names) and installs nothing.
 *
 *   npm run spec                     every claim and every control, some minutes
 *   npm run spec -- --big            the larger bounds too: about an hour and 16 GB of memory
 *   npm run spec -- --only NAME,NAME
 *
 * Exit code 0: each claim held and each control was refuted; 1: not so, or not exhausted; 2: wrong flag; 3: spin or gcc is
 * missing.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runs } from '../spec/runs.mjs';

const specification = fileURLToPath(new URL('../spec/replication.pml', import.meta.url));
const MEMORY_MIB = { short: 6000, big: 24_000 };
const DEPTH_MAX = 100_000;

function fail(message, code) {
  console.error(`spec: ${message}`);
  process.exit(code);
}

function run(folder, command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  return { status, output: `${stdout}${stderr}` };
}

function must(folder, command, args) {
  const { status, output } = run(folder, command, args);
  if (status !== 0) fail(`${command} ${args.join(' ')} failed:\n${output.slice(0, 2000)}`, 1);
}

/** What the model prints on the way to the violation, step by step. */
function counterexample(folder) {
  const { output } = run(folder, './pan', ['-r', 'replication.pml.trail']);
  const lines = output.slice(0, output.indexOf('spin: trail ends')).split('\n');
  return lines.filter((line) => line.trim() !== '' && !/^\s*\d+:\s|^MSC:|^pan:/.test(line));
}

/** Controls are searched breadth first: the counterexample is a shortest one. */
function check({ flags, terms, entries, refuted, big }) {
  const folder = mkdtempSync(join(tmpdir(), 'varve-spec-'));
  try {
    copyFileSync(specification, join(folder, 'replication.pml'));
    const macros = [...flags, `TERMS=${terms}`, `ENTRIES=${entries}`, refuted ? 'BFS' : 'COUNT'].map(
      (flag) => `-D${flag}`,
    );
    must(folder, 'spin', [...macros, '-a', 'replication.pml']);
    const memory = `-DMEMLIM=${big ? MEMORY_MIB.big : MEMORY_MIB.short}`;
    const search = refuted ? ['-DBFS', '-O1'] : ['-O2'];
    must(folder, 'gcc', ['-w', '-DSAFETY', '-DNOREDUCE', memory, ...search, '-o', 'pan', 'pan.c']);
    const began = performance.now();
    const { output } = run(folder, './pan', ['-E', '-w22', `-m${DEPTH_MAX}`]);
    const number = (pattern) => Number(pattern.exec(output)?.[1] ?? Number.NaN);
    return {
      output,
      seconds: (performance.now() - began) / 1000,
      states: number(/([\d.e+]+) states, stored/),
      transitions: number(/([\d.e+]+) transitions/),
      violated: /assertion violated (.*) \(at depth/.exec(output)?.[1],
      exhausted: /errors: 0/.test(output) && !/not completed|out of memory|max search depth too small/i.test(output),
      counts: new Map([...output.matchAll(/^count (\S+) (\d+)$/gm)].map(([, kind, count]) => [kind, Number(count)])),
      trace: existsSync(join(folder, 'replication.pml.trail')) ? counterexample(folder) : [],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A claim must be exhausted, with every kind of step that it is about among the transitions. */
function verdictOf({ refuted, reaches }, result) {
  if (refuted) return result.violated === undefined ? 'NOT REFUTED' : `refuted in ${result.trace.length} steps`;
  if (result.violated !== undefined) return 'VIOLATED';
  if (!result.exhausted) return 'NOT EXHAUSTED';
  const missing = reaches.filter((kind) => !result.counts.get(kind));
  return missing.length > 0 ? `NEVER REACHED: ${missing.join(' ')}` : 'holds';
}

const { values } = parseArgs({ options: { big: { type: 'boolean', default: false }, only: { type: 'string' } } });
const names = values.only?.split(',');
const unknown = names?.find((name) => !runs.some((each) => each.name === name));
if (unknown !== undefined) fail(`there is no "${unknown}"; there are ${runs.map(({ name }) => name).join(', ')}`, 2);
for (const [tool, flag] of [
  ['spin', '-V'],
  ['gcc', '--version'],
]) {
  if (spawnSync(tool, [flag]).error) {
    fail(`skipped: ${tool} is not installed (Debian: apt-get install ${tool})`, 3);
  }
}

const chosen = runs.filter(({ name, big }) => names?.includes(name) ?? (values.big || !big));
const columns = [26, 8, 12, 12, 8];
const row = (...cells) =>
  console.log(
    cells
      .map((cell, i) => `${cell}`.padEnd(columns[i] ?? 0))
      .join(' ')
      .trimEnd(),
  );
let failures = 0;
const traces = [];
row('run', 'bounds', 'states', 'transitions', 'seconds', 'verdict');
for (const each of chosen) {
  const result = check(each);
  const verdict = verdictOf(each, result);
  const asExpected = each.refuted ? verdict.startsWith('refuted') : verdict === 'holds';
  if (!asExpected) failures++;
  const { states, transitions, seconds } = result;
  row(each.name, `${each.terms} × ${each.entries}`, states, transitions, seconds.toFixed(1), verdict);
  if (result.trace.length > 0) traces.push([each, result]);
  else if (!asExpected) console.log(result.output.slice(-1500));
}
console.log('\nbounds: leader epochs × log entries, on 3 voters');
for (const [{ name, says }, { trace, violated }] of traces) {
  console.log(`\n${name}: ${says}\n${trace.map((line) => `  ${line}`).join('\n')}\n  violates: ${violated}`);
}
console.log(`\n${chosen.length - failures} of ${chosen.length} as expected`);
process.exitCode = failures === 0 ? 0 : 1;
