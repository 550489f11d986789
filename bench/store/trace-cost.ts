/**
 * What the trace hook costs a store that is opened without one: this build beside a build that has no hook at all
 * (VARVE_NO_TRACE), on the two paths that it lies on: an append into a mapping, and a group commit. Builds the other addon
 * into a temporary directory and runs both in processes of their own, in turn; of a run the median turn and commit counts.
 * In memory where there is a file system for that, so that no disk hides the cost. Prints every round and the median ratio.
 *
 *   npm run build && node dist/bench/store/trace-cost.js [rounds]
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openStore } from '../../src/main.js';
import { packageRoot } from '../package-root.js';
import { median } from '../statistics.js';
import { encodedBatch } from './records.js';

const BATCH_BYTES = 1024;
const APPENDS = 200_000;
const COMMITS = 1500;
const TURN = 512;
const DEFAULT_ROUNDS = 9;
const MEMORY = '/dev/shm';

interface Costs {
  readonly nsPerAppend: number;
  readonly usPerCommit: number;
}

/** In a process of its own: appends that nobody waits for, then single durable appends. */
async function measure(folder: string): Promise<Costs> {
  const store = await openStore(join(folder, 'store'), { create: true });
  const appended = await store.openLog('appended', 0, { flush: 'none' });
  const batch = encodedBatch(BATCH_BYTES);
  const turns: number[] = [];
  for (let done = 0; done < APPENDS; done += TURN) {
    const began = performance.now();
    for (let i = 0; i < TURN; i++) appended.appendProduced(batch, 0, batch.length, 0);
    turns.push((performance.now() - began) / TURN);
    await appended.whenWritable();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await appended.flush();
  const committed = await store.openLog('committed', 0);
  const commits: number[] = [];
  for (let i = 0; i < COMMITS; i++) {
    const began = performance.now();
    await committed.append([{ value: 'x' }]);
    commits.push(performance.now() - began);
  }
  await store.close();
  return { nsPerAppend: median(turns) * 1e6, usPerCommit: median(commits) * 1000 };
}

/** A copy of the package whose addon has no hook; what is compiled from TypeScript is the same files. */
function packageWithoutHook(folder: string): string {
  const root = packageRoot();
  const copy = join(folder, 'package');
  mkdirSync(join(copy, 'build', 'Release'), { recursive: true });
  copyFileSync(join(root, 'package.json'), join(copy, 'package.json'));
  for (const name of ['node_modules', 'native', 'binding.gyp', 'CMakeLists.txt']) {
    symlinkSync(join(root, name), join(copy, name));
  }
  spawnSync('cp', ['-r', join(root, 'dist'), join(copy, 'dist')]);
  const require = createRequire(join(root, 'package.json'));
  const manifest = require.resolve('cmake-js/package.json');
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { bin: Record<string, string> };
  const cmake = [join(dirname(manifest), bin['cmake-js']!), 'build', '--CDVARVE_NO_TRACE=ON', '--log-level', 'warn'];
  const { status } = spawnSync(process.execPath, [...cmake, '--directory', copy, '--out', join(copy, 'build')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error('the addon without the hook could not be built');
  return copy;
}

/** A round in the package at `root`: this file, run from there. */
function round(root: string): Costs {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'varve-trace-cost-'));
  try {
    const script = join(root, 'dist', 'bench', 'store', 'trace-cost.js');
    const { stdout, stderr } = spawnSync(process.execPath, [script, '--measure', folder], { encoding: 'utf8' });
    if (stdout === '') throw new Error(`a round failed: ${stderr}`);
    return JSON.parse(stdout) as Costs;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compare(rounds: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'varve-trace-cost-'));
  try {
    const roots = { hook: packageRoot(), none: packageWithoutHook(folder) };
    const appends: number[] = [];
    const commits: number[] = [];
    for (let i = 0; i < rounds; i++) {
      // Every other round the other way around: what was first must not be what was faster.
      const first = i % 2 === 0 ? round(roots.hook) : undefined;
      const none = round(roots.none);
      const hook = first ?? round(roots.hook);
      appends.push(hook.nsPerAppend / none.nsPerAppend);
      commits.push(hook.usPerCommit / none.usPerCommit);
      const pair = (name: keyof Costs, unit: string) => `${hook[name].toFixed(1)} ÷ ${none[name].toFixed(1)} ${unit}`;
      console.log(`round ${i + 1}: append ${pair('nsPerAppend', 'ns')}, commit ${pair('usPerCommit', 'µs')}`);
    }
    const spread = (ratios: number[]) =>
      `${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)})`;
    console.log(`hook compiled in, not used ÷ not compiled in, median of ${rounds} rounds`);
    console.log(`  append of ${BATCH_BYTES} bytes into a mapping: ${spread(appends)}`);
    console.log(`  group commit of one small batch: ${spread(commits)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) || process.argv[1]?.endsWith('trace-cost.js')) {
  const [what, folder] = process.argv.slice(2);
  if (what === '--measure' && folder !== undefined) console.log(JSON.stringify(await measure(folder)));
  else compare(Number(what ?? DEFAULT_ROUNDS));
}
