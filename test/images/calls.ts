/**
 * An error at the Nth call: a workload is run again and again, and each time another one of the calls with which the store
 * changes its files fails, until a run gets by without. Afterwards: typed errors, no sync after a failed one, nothing
 * acknowledged is lost, and what a failed sync may have lost is written again before it is trusted.
 */
import { Trace, type TraceEvent, type TraceFault } from '../../src/disk/trace.js';
import { VarveError } from '../../src/errors.js';
import { DiskModel } from './disk-model.js';
import { History, type Note } from './history.js';
import { makeImage } from './image-kinds.js';
import { seeded } from './random.js';
import { imageOf, type Scratch } from './scratch.js';
import { verify } from './verifier.js';
import { Workbench } from './workbench.js';
import type { Workload } from './workloads.js';

export const CALL_ERRORS = ['EIO', 'ENOSPC', 'EINTR', 'short write'] as const satisfies readonly TraceFault['error'][];
export type CallError = (typeof CALL_ERRORS)[number];

const BOOT = 'first boot';
const NEXT_BOOT = 'second boot';
/** A store that waits for space shows it by standing still this long. */
const STANDSTILL_MS = 150;
const SEED = 1;

/** What a call that found no space means for the store. */
const HARMLESS_WHEN_FULL = new Set(['create', 'open', 'mkdir', 'rename', 'allocate']);

export type Outcome = 'unharmed' | 'full' | 'latched' | 'not opened';

export interface CallRun {
  readonly outcome: Outcome;
  /** The call that failed first; undefined when there was none: the workload has no Nth call. */
  readonly failed: string | undefined;
  readonly problems: readonly string[];
}

export async function runWithFault(
  workload: Workload,
  fault: { readonly error: CallError; readonly call: number; readonly repeat: boolean },
  scratch: Scratch,
): Promise<CallRun> {
  const directory = scratch.directory();
  const bench = new Workbench(directory, BOOT);
  bench.trace.fail(fault);
  await untilDone(bench, workload.run(bench, seeded(SEED, workload.name)));
  bench.trace.heal();
  const killed = imageOf(directory);
  const before = bench.trace.take();
  await bench.close();
  const events = [...before, ...bench.trace.take()];
  const first = events.find(({ kind }) => kind === 'fault');
  const problems = [...judgeErrors(bench, fault, first), ...judgeSyncs(events)];
  if (first !== undefined) {
    const history = new History();
    for (const { kind, text } of events) if (kind === 'note') history.add(JSON.parse(text) as Note);
    const { logs, options } = workload;
    problems.push(...(await verify({ directory, logs, options, history, bootId: BOOT })));
    problems.push(...(await judgeRewriting(workload, before, killed, scratch)));
  }
  scratch.remove(directory);
  return { outcome: outcomeOf(bench, events), failed: first && `${first.text} ${first.path}`, problems };
}

/** A store waits while the disk has no space for its journal: then space returns. */
async function untilDone(bench: Workbench, running: Promise<void>): Promise<void> {
  let [injected, seq] = [-1, -1];
  const timer = setInterval(() => {
    const stands = bench.seq === seq && bench.trace.injected > 0;
    if (stands && bench.trace.injected === injected) return;
    if (stands) bench.trace.heal();
    [injected, seq] = [bench.trace.injected, bench.seq];
  }, STANDSTILL_MS);
  try {
    await running;
  } finally {
    clearInterval(timer);
  }
}

function judgeErrors(
  bench: Workbench,
  fault: { readonly error: CallError; readonly repeat: boolean },
  first: TraceEvent | undefined,
): string[] {
  const problems: string[] = [];
  const { errors, closeErrors } = bench;
  for (const error of errors) {
    const code = error instanceof VarveError ? error.code : 'no VarveError';
    if (code !== 'DISK_FULL' && code !== 'DISK_FAILED' && code !== 'CLOSED') problems.push(`${code}: ${error.message}`);
  }
  const find = (code: string) => {
    return errors.find((error) => error instanceof VarveError && error.code === code && !closeErrors.includes(error));
  };
  if ((fault.error === 'EINTR' || fault.error === 'short write') && errors.length > 0) {
    problems.push(`${fault.error} did harm: ${errors[0]!.message}`);
  }
  if (fault.error === 'EIO' && find('DISK_FULL')) problems.push('EIO was taken for a full disk');
  // The journal's first file is made after the opening, which no longer can refuse: the store says that it failed.
  const isFirstFile = first?.path.endsWith('/00000000000000000001.wal');
  const isHarmless = !fault.repeat && HARMLESS_WHEN_FULL.has(first?.text ?? '') && !isFirstFile;
  const harm = fault.error === 'ENOSPC' && isHarmless ? find('DISK_FAILED') : undefined;
  if (harm !== undefined)
    problems.push(`no space for ${first!.text} of ${first!.path} is not harmless: ${harm.message}`);
  return problems;
}

/**
 * After a sync that failed the store latches; that sync is never tried again, and once it has latched no other one is begun.
 * Those that other threads were just about to begin are forgiven: they stand before anything else that the store does. A
 * journal file that found no space before it was used is given up, which fails nothing.
 */
function judgeSyncs(events: readonly TraceEvent[]): string[] {
  const failed = events.findIndex(({ kind, error, path, file }, index) => {
    const used = events.slice(0, index).some((event) => event.file === file && event.bytes !== undefined);
    const givenUp = error === 'ENOSPC' && path.endsWith('.wal') && !used;
    return kind === 'sync-end' && error !== undefined && error !== 'EINTR' && !givenUp;
  });
  if (failed < 0) return [];
  const { path } = events[failed]!;
  const latch = events.findIndex(({ kind }) => kind === 'latch');
  if (latch < 0) return [`the sync of '${path}' failed, and the store did not latch`];
  const settled = events.findIndex(({ kind }, index) => index > latch && kind !== 'sync-begin' && kind !== 'sync-end');
  const wrong = events.filter((event, index) => {
    if (event.kind !== 'sync-begin') return false;
    return (index > failed && event.path === path) || (settled >= 0 && index > settled);
  });
  return wrong.map((event) => `sync of '${event.path}' after the sync of '${path}' had failed`);
}

/**
 * The process is killed, started again, and then the power goes. What the failed call left is on no disk, though every
 * process sees it; so what the restarted store showed must have been written again, and synced.
 */
async function judgeRewriting(
  workload: Workload,
  events: readonly TraceEvent[],
  killed: ReadonlyMap<string, Buffer>,
  scratch: Scratch,
): Promise<string[]> {
  const { logs, options } = workload;
  const model = new DiskModel(new Map());
  const history = new History();
  const step = (event: TraceEvent): void => {
    if (event.kind === 'note') history.add(JSON.parse(event.text) as Note);
    else model.apply(event);
  };
  events.forEach(step);
  const directory = scratch.directory(killed);
  const trace = new Trace();
  const problems = await verify({ directory, logs, options, history, bootId: BOOT, trace });
  scratch.remove(directory);
  if (problems.length > 0) return problems.map((problem) => `killed and restarted: ${problem}`);
  model.nextTrace();
  const recovery = trace.take();
  const shown = recovery.findLastIndex(({ kind }) => kind === 'note');
  recovery.slice(0, shown + 1).forEach(step);
  const image = makeImage(model, 'none', { below: () => 0 })!;
  const cut = scratch.directory(image);
  const lost = await verify({ directory: cut, logs, options, history, bootId: NEXT_BOOT });
  scratch.remove(cut);
  return lost.map((problem) => `killed, restarted, and the power went: ${problem}`);
}

function outcomeOf(bench: Workbench, events: readonly TraceEvent[]): Outcome {
  const codes = new Set(bench.errors.map((error) => (error as VarveError).code));
  if (!events.some(({ kind, text }) => kind === 'note' && text.includes('"submit"')) && codes.size > 0)
    return 'not opened';
  if (codes.has('DISK_FAILED')) return 'latched';
  return codes.has('DISK_FULL') ? 'full' : 'unharmed';
}
