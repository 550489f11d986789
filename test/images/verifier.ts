/**
 * Opens what a crash left with the real store and says everything that is wrong with it. What is right is decided by the
 * notes of the workload (history.ts) and read with a reader of its own (stored-batches.ts); nothing here is recovery's.
 *
 *   opening succeeds, and speaks of no damage
 *   every log shows what the history allows
 *   an append lands at the end of it
 *   the files after close say the same
 *   and so does a second opening
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Trace } from '../../src/disk/trace.js';
import type { Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import type { Store } from '../../src/log/partition-store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { type BatchMark, firstDifference, type History, judge, type Shown } from './history.js';
import { readBatches, readClosedStore } from './stored-batches.js';
import { type LogSpec, openStoreAt, STORE_OPTIONS, shownBy } from './workbench.js';

export interface Case {
  readonly directory: string;
  readonly logs: readonly LogSpec[];
  readonly options?: Partial<StoreOptions> | undefined;
  readonly history: History;
  /** Another one than that of the crash: a power cut. */
  readonly bootId: string;
  /** Records the opening; what the logs show is noted in it. */
  readonly trace?: Trace;
}

const PRODUCER_ID_AT = 43;

/** @returns everything that is wrong, in words */
export async function verify(test: Case): Promise<string[]> {
  const problems: string[] = [];
  let doing = 'opening';
  try {
    const options = { ...STORE_OPTIONS, ...test.options };
    const store = await openStoreAt(test.directory, test.bootId, options, test.trace);
    try {
      const logs = await openLogs(store, test.logs);
      doing = 'reading';
      const shown = new Map<string, Shown>();
      for (const [name, log] of logs) {
        if (log.recovery.damaged.length > 0) {
          problems.push(`${name}: damage after a mere crash: ${JSON.stringify(log.recovery.damaged)}`);
        }
        shown.set(name, shownBy(log));
      }
      for (const [name, what] of shown) {
        for (const problem of judge(name, what, test.history)) problems.push(`${name}: ${problem}`);
        test.trace?.note(JSON.stringify({ note: 'shown', log: name, shown: what }));
      }
      if (problems.length > 0) return problems;
      doing = 'appending what is there again';
      for (const [name, log] of logs) problems.push(...forgottenDuplicate(name, log, shown.get(name)!));
      doing = 'appending';
      if (test.trace === undefined) {
        for (const { name, options: given } of test.logs) {
          shown.set(name, appended(logs.get(name)!, shown.get(name)!, given.replicated ?? false));
        }
      }
      doing = 'closing';
      await store.close();
      doing = 'reading the files after close';
      problems.push(...filesDiffer(test.directory, shown));
      doing = 'opening a second time';
      problems.push(...(await opensTheSame(test, options, shown)));
    } finally {
      await store.close().catch(() => undefined);
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    problems.push(`${doing}: ${code ?? 'error'}: ${message}`);
  }
  return problems;
}

async function openLogs(store: Store, specs: readonly LogSpec[]): Promise<Map<string, Log>> {
  const logs = new Map<string, Log>();
  for (const { name, options } of specs) logs.set(name, await store.openLog(name, 0, options));
  return logs;
}

/** The last batch, if a producer numbered it, is known: sent again it is answered with its offset, and nothing is stored. */
function forgottenDuplicate(name: string, log: Log, shown: Shown): string[] {
  const last = shown.batches.at(-1);
  if (last === undefined) return [];
  // Deletion may have left only its last records.
  const view = log.viewsFrom(Math.max(last.base, log.start), 1, 'end').views.at(-1)!;
  const batch = Buffer.from(view.subarray(view.length - last.bytes));
  if (batch.readBigInt64BE(PRODUCER_ID_AT) < 0) return [];
  const { baseOffset } = log.appendProduced(batch, 0, batch.length, Math.max(log.lastEpoch, 0));
  if (baseOffset === last.base && log.end === shown.end) return [];
  return [`${name}: a batch at ${last.base}, sent again, was stored at ${baseOffset}`];
}

/** Appends a batch; what the log should show then. */
function appended(log: Log, before: Shown, replicated: boolean): Shown {
  const builder = new BatchBuilder();
  builder.append(1, null, 'after the crash');
  const batch = builder.finish();
  const epoch = Math.max(log.lastEpoch, 0);
  const { baseOffset } = log.appendProduced(batch, 0, batch.length, epoch);
  if (baseOffset !== before.end) throw new Error(`${log.topic}: the append landed at ${baseOffset}, not ${before.end}`);
  const mark: BatchMark = { ...readBatches(batch)[0]!, base: baseOffset, end: baseOffset + 1, epoch };
  // One replica alone is its own majority.
  const highWatermark = replicated ? before.highWatermark : mark.end;
  return { ...before, end: mark.end, highWatermark, batches: [...before.batches, mark] };
}

function filesDiffer(directory: string, shown: ReadonlyMap<string, Shown>): string[] {
  const { checkpoint } = JSON.parse(readFileSync(join(directory, 'clean'), 'utf8')) as { checkpoint: number };
  if (!(checkpoint > 0)) return [`the clean mark names checkpoint ${checkpoint}`];
  const stored = readClosedStore(directory);
  return [...shown].flatMap(([name, expected]) => {
    const found = stored.get(`${name}-0`);
    if (found === undefined) return [`${name}: the checkpoint does not name it`];
    const { row } = found;
    const batches = found.batches.filter((batch) => batch.end > row.logStart);
    const generation = expected.generation;
    const { end, term, vote } = row;
    const asShown: Shown = { ...expected, start: row.logStart, end, term, vote, generation, batches };
    const difference = firstDifference({ ...expected, generation }, asShown);
    return difference === undefined ? [] : [`${name}: files after close: ${difference}`];
  });
}

async function opensTheSame(
  test: Case,
  options: Partial<StoreOptions>,
  shown: ReadonlyMap<string, Shown>,
): Promise<string[]> {
  const problems: string[] = [];
  const store = await openStoreAt(test.directory, test.bootId, options);
  for (const [name, log] of await openLogs(store, test.logs)) {
    if (!log.recovery.clean) problems.push(`${name}: opened after close, it says that it was not closed`);
    const difference = firstDifference(shown.get(name)!, shownBy(log));
    if (difference !== undefined) problems.push(`${name}: opened a second time: ${difference}`);
  }
  await store.close();
  return problems;
}
