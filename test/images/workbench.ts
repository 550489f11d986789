/**
 * A traced store to work with: every action is noted in the trace before it happens, every acknowledgement when it comes
 * (history.ts). Calls that fail do not throw: errors are kept, so that a workload goes on under injected faults.
 */
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace } from '../../src/disk/trace.js';
import { VarveError } from '../../src/errors.js';
import { ControlKind, type Log } from '../../src/log/log.js';
import type { StoreOptions } from '../../src/log/options.js';
import { type OpenLogOptions, Store } from '../../src/log/partition-store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { decodeControlBatch, encodeControlBatch } from '../../src/record/control-batch.js';
import { batchSizeAt, isControlAt } from '../../src/record/record-batch.js';
import { producedBatch } from '../log/producer-model.js';
import type { Action, BatchMark, Note, Shown } from './history.js';
import { readBatches } from './stored-batches.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const TIMESTAMP = 1_700_000_000_000;
const READ_BYTES = 8 * MIB;

/** As small as allowed, so that files are; no timers. */
export const STORE_OPTIONS: Partial<StoreOptions> = {
  create: true,
  clusterId: 'images',
  journalFileBytes: 64 * KIB,
  journalMaxBytes: 16 * MIB,
  checkpointIntervalMs: 3_600_000,
};

export interface LogSpec {
  readonly name: string;
  readonly options: OpenLogOptions;
}

/** One log of a workload: replicated, so that truncations and watermarks are the workload's, unless it says otherwise. */
export function logSpec(name: string, options: OpenLogOptions = {}): LogSpec {
  const topicId = Buffer.from(name.padEnd(16, '.')).toString('hex').slice(0, 32);
  return { name, options: { topicId, replicated: true, segmentBytes: MIB, ...options } };
}

/** Opens a store as the machine's boot `bootId` would. */
export async function openStoreAt(
  root: string,
  bootId: string,
  options: Partial<StoreOptions>,
  trace?: Trace,
): Promise<Store> {
  const disk = await openDisk(root, { trace });
  return Store.open({ disk, path: root, bootId }, options);
}

export class Workbench {
  readonly trace = new Trace();
  readonly errors: Error[] = [];
  /** Those of them that closing met: it fails when not everything can be made durable, for want of space too. */
  readonly closeErrors: Error[] = [];
  readonly #root: string;
  readonly #bootId: string;
  #store: Store | undefined;
  #seq = 0;
  #payload = 0;

  constructor(root: string, bootId: string) {
    this.#root = root;
    this.#bootId = bootId;
  }

  async open(options: Partial<StoreOptions> = {}): Promise<void> {
    await this.attempt(async () => {
      this.#store = await openStoreAt(this.#root, this.#bootId, { ...STORE_OPTIONS, ...options }, this.trace);
    });
  }

  async log(spec: LogSpec): Promise<BenchLog> {
    const log = await this.attempt(() => this.#opened().openLog(spec.name, 0, spec.options));
    return new BenchLog(this, spec.name, log, spec.options.replicated ?? false);
  }

  /** Noted as the watermarks that a later opening must know of. */
  async checkpoint(...logs: readonly BenchLog[]): Promise<void> {
    const seq = this.#seq;
    const floors = logs.map((log) => [log.name, log.highWatermark] as const);
    await this.attempt(async () => {
      const { checkpoints } = this.#opened().stats();
      await this.#opened().checkpoint();
      // One that found no space is made later.
      if (this.#opened().stats().checkpoints === checkpoints) return;
      this.note({ note: 'ack', seq });
      for (const [log, offset] of floors) this.note({ note: 'floor', log, offset });
    });
  }

  /** A store that refused for want of space takes appends again. */
  async whenSpace(): Promise<void> {
    await this.attempt(() => this.#opened().whenSpace());
  }

  async close(): Promise<void> {
    const seq = this.#seq;
    const before = this.errors.length;
    await this.attempt(async () => {
      await this.#opened().close();
      // One that had failed before closes as well, and promises nothing.
      if (this.#opened().failed === undefined) this.note({ note: 'ack', seq });
    });
    this.closeErrors.push(...this.errors.slice(before));
  }

  async closeLog(log: Log): Promise<void> {
    const seq = this.#seq;
    const before = this.errors.length;
    await this.attempt(async () => {
      await log.close();
      if (this.#opened().failed === undefined) this.note({ note: 'ack', seq });
    });
    this.closeErrors.push(...this.errors.slice(before));
  }

  submit<T>(log: string, action: Action, call: () => T): T | undefined {
    const seq = ++this.#seq;
    this.note({ note: 'submit', seq, log, action });
    try {
      return call();
    } catch (error) {
      this.#failed(error);
      this.refused(seq, error);
      return undefined;
    }
  }

  /** A full disk means that nothing has happened; any other error, that nobody knows. */
  refused(seq: number, error: unknown): void {
    if (error instanceof VarveError && error.code === 'DISK_FULL') this.note({ note: 'refused', seq });
  }

  /** Number of the last action. */
  get seq(): number {
    return this.#seq;
  }

  ack(seq: number): void {
    this.note({ note: 'ack', seq });
  }

  note(note: Note): void {
    this.trace.note(JSON.stringify(note));
  }

  async attempt<T>(call: () => Promise<T> | T): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  /** A value that occurs once, of this many bytes. */
  value(bytes: number): Buffer {
    return Buffer.alloc(Math.max(bytes, 1), `payload ${++this.#payload} `);
  }

  #opened(): Store {
    if (this.#store === undefined) throw new VarveError('CLOSED', 'the store could not be opened');
    return this.#store;
  }

  #failed(error: unknown): void {
    this.errors.push(error instanceof Error ? error : new Error(String(error)));
  }
}

export class BenchLog {
  readonly name: string;
  readonly #bench: Workbench;
  readonly #log: Log | undefined;
  readonly #pending: { readonly seq: number; readonly end: number; readonly generation: number }[] = [];
  readonly #sequences = new Map<number, number>();
  #epoch = 0;

  constructor(bench: Workbench, name: string, log: Log | undefined, replicated: boolean) {
    this.#bench = bench;
    this.name = name;
    this.#log = log;
    if (!replicated) bench.note({ note: 'watermark', log: name, offset: Number.MAX_SAFE_INTEGER });
    if (log === undefined) return;
    this.#epoch = Math.max(log.lastEpoch, 0);
    log.onProgress = () => this.#progress(log);
  }

  get end(): number {
    return this.#log?.end ?? 0;
  }

  get highWatermark(): number {
    return this.#log?.highWatermark ?? 0;
  }

  /** Appends one run of batches with values of these sizes. */
  append(...sizes: readonly number[]): void {
    const log = this.#log;
    if (log === undefined) return;
    const run = sizes.map((size) => oneBatch(this.#bench.value(size), size % 3));
    this.#submitAppend(log, marks(run, log.end, this.#epoch), () => {
      const bytes = Buffer.concat(run);
      log.appendProduced(bytes, 0, bytes.length, this.#epoch);
    });
  }

  /** Appends one batch of an idempotent producer, with the sequence that comes next. */
  appendBy(producerId: number, bytes: number): void {
    const log = this.#log;
    if (log === undefined) return;
    const sequence = this.#sequences.get(producerId) ?? 0;
    const batch = producedBatch({ producerId, epoch: 0, sequence, count: 2, bytes });
    this.#submitAppend(log, marks([batch], log.end, this.#epoch), () => {
      log.appendProduced(batch, 0, batch.length, this.#epoch);
      this.#sequences.set(producerId, sequence + 2);
    });
  }

  /** Through the embedded API. */
  async appendEmbedded(size: number): Promise<void> {
    const log = this.#log;
    if (log === undefined) return;
    const value = this.#bench.value(size);
    const promise = this.#submitAppend(log, marks([oneBatch(value, 0)], log.end, this.#epoch), () =>
      log.append([{ value, timestamp: TIMESTAMP }]),
    );
    const seq = this.#bench.seq;
    await this.#bench.attempt(async () => {
      await promise?.catch((error: unknown) => {
        this.#bench.refused(seq, error);
        throw error;
      });
      if (promise !== undefined && log.options.flush === 'sync') this.#bench.ack(seq);
    });
  }

  /** A control batch that the log makes, or one that a leader made. */
  control(made: 'here' | 'by-a-leader'): void {
    const log = this.#log;
    if (log === undefined) return;
    const value = this.#bench.value(30);
    if (made === 'here') {
      const base = log.end;
      this.#submitAppend(log, [{ base, end: base + 1, epoch: this.#epoch, bytes: -1, crc: -1 }], () =>
        log.appendControl(ControlKind.Configuration, value, this.#epoch),
      );
      return;
    }
    const batch = encodeControlBatch(ControlKind.Configuration, value, log.end, this.#epoch, TIMESTAMP);
    this.#submitAppend(log, readBatches(batch), () => log.appendReplicated(batch, 0, batch.length, this.#epoch));
  }

  /** Later batches are of the next epoch. */
  newEpoch(): void {
    this.#epoch++;
  }

  truncate(to: number): void {
    const log = this.#log;
    if (log === undefined || to >= log.end) return;
    const action: Action = { do: 'truncate', to, generation: log.generation + 1 };
    this.#bench.submit(this.name, action, () => log.truncate(to));
  }

  vote(term: number, vote: number): void {
    const log = this.#log;
    if (log === undefined) return;
    this.#bench.submit(this.name, { do: 'vote', term, vote }, () => {
      const { seq } = this.#bench;
      log.saveHardState({ term, vote }, () => this.#bench.ack(seq));
    });
  }

  /** The high watermark moves to what is durable, or to this offset below. */
  commit(to = Number.POSITIVE_INFINITY): void {
    const log = this.#log;
    if (log === undefined) return;
    const offset = Math.min(to, log.durable, log.written);
    this.#bench.note({ note: 'watermark', log: this.name, offset: Math.max(offset, log.highWatermark) });
    log.advanceHighWatermark(offset);
  }

  async deleteBefore(before: number): Promise<void> {
    const log = this.#log;
    if (log === undefined || before <= log.start || before > log.highWatermark) return;
    const deleted = this.#bench.submit(this.name, { do: 'delete', before }, () => log.deleteBefore(before));
    const { seq } = this.#bench;
    await this.#bench.attempt(async () => {
      await deleted;
      this.#bench.ack(seq);
    });
  }

  async flush(): Promise<void> {
    const log = this.#log;
    if (log === undefined) return;
    const { seq } = this.#bench;
    await this.#bench.attempt(async () => {
      await log.flush();
      this.#bench.ack(seq);
    });
  }

  async close(): Promise<void> {
    if (this.#log !== undefined) await this.#bench.closeLog(this.#log);
  }

  #submitAppend<T>(log: Log, batches: readonly BatchMark[], call: () => T): T | undefined {
    const { generation } = log;
    const result = this.#bench.submit(this.name, { do: 'append', batches }, call);
    if (log.end >= batches.at(-1)!.end)
      this.#pending.push({ seq: this.#bench.seq, end: batches.at(-1)!.end, generation });
    return result;
  }

  #progress(log: Log): void {
    let seq = 0;
    for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
      const isCut = next.generation !== log.generation;
      if (!isCut && next.end > log.durable) break;
      if (!isCut) seq = next.seq;
      this.#pending.shift();
    }
    if (seq > 0) this.#bench.ack(seq);
  }
}

function oneBatch(value: Buffer, moreRecords: number): Buffer {
  const builder = new BatchBuilder();
  builder.append(TIMESTAMP, null, value);
  for (let i = 0; i < moreRecords; i++) builder.append(TIMESTAMP + i, 'key', 'small');
  return builder.finish();
}

/** The batches as they will stand in the log. */
function marks(run: readonly Buffer[], base: number, epoch: number): BatchMark[] {
  let next = base;
  return run.map((batch) => {
    const [read] = readBatches(batch);
    const mark = { ...read!, base: next, end: next + (read!.end - read!.base), epoch };
    next = mark.end;
    return mark;
  });
}

/** What a log shows, every batch read through its views and checked. */
export function shownBy(log: Log): Shown {
  const batches: BatchMark[] = [];
  const configurations: string[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, READ_BYTES, 'end');
    for (const view of views) {
      batches.push(...readBatches(view));
      configurations.push(...configurationsIn(view));
    }
    if (nextOffset <= offset) throw new Error(`reading at ${offset} got nowhere`);
    offset = nextOffset;
  }
  for (const { base, epoch } of batches) {
    if (log.epochAt(base) !== epoch)
      throw new Error(`epochAt(${base}) is ${log.epochAt(base)}, the batch's is ${epoch}`);
  }
  // One at most lies below the log start: the one that the log begins with, whose segment may be gone.
  const known = log.configurations.map(({ offset, value }) => `${offset} ${value.toString('hex')}`);
  const below = log.configurations.filter(({ offset }) => offset < log.start).length;
  if (below > 1 || known.slice(below).join() !== configurations.join())
    throw new Error(`the configurations are ${known.join()}, those in the log ${configurations.join()}`);
  return {
    start: log.start,
    end: log.end,
    highWatermark: log.highWatermark,
    term: log.hardState.term,
    vote: log.hardState.vote,
    generation: log.generation,
    batches,
  };
}

function configurationsIn(view: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
    if (!isControlAt(view, at)) continue;
    const { offset, type, value } = decodeControlBatch(view, at);
    if (type === ControlKind.Configuration) found.push(`${offset} ${value.toString('hex')}`);
  }
  return found;
}
