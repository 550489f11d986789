/**
 * Writes checkpoints in the background: at an interval, and as soon as the journal holds half of what it may hold.
 *
 *   1. Capture the number of the journal file being written, then the state of every log that has changed since the last
 *      checkpoint (all records in older files were submitted before, so the captured states cover them). What an unchanged
 *      log costs is one comparison; its row is still there from the last time. A checkpoint in part takes only some of the
 *      changed ones, those first whose last state is oldest: the others keep their rows, and the journal from there on.
 *   2. Flush the journal: what was captured is durable.
 *   3. Per changed log: sync its dirty segments, write the indexes of sealed ones, set aside files that truncations
 *      removed, write the producer snapshot that a roll made due and the epoch file, sync the directory. Now the segments
 *      need no journal.
 *   4. Replace the checkpoint file.
 *   5. Recycle the journal files that no row needs, delete what was set aside.
 *
 * What can go wrong: a full disk is tried again at the next turn, and the old checkpoint stays in force until then; any
 * other failure fails the store.
 */
import type { Disk, Journal } from '../disk/disk.js';
import { type Environment, turn } from '../environment.js';
import { assembleCheckpoint, CHECKPOINT_FILE, encodeLogState } from '../journal/checkpoint.js';
import { type LogState, logKey } from '../journal/log-state.js';
import type { CommitQueue } from './commit-queue.js';
import { inParallel } from './in-parallel.js';
import type { PartitionLog } from './partition-log.js';
import type { SnapshotWork } from './partition-producers.js';
import type { SegmentWork } from './segment-writeback.js';

export const EPOCH_FILE = 'leader-epoch-checkpoint';

const PARALLEL_LOGS = 4;
/** A checkpoint in part takes at least so many changed logs, and of more this part. */
const PART_LOGS = 32;
const PARTS = 8;
/** How long a checkpoint of many logs keeps the event loop at a time. */
const SLICE_MS = 2;

export interface CheckpointerParts {
  readonly environment: Environment;
  readonly disk: Disk;
  readonly journal: Journal;
  readonly queue: CommitQueue;
  readonly directoryId: string;
  readonly bootId: string;
  readonly journalLsn: number;
  readonly journalChecksum: number;
  /** Sequence and first journal file of the checkpoint that opening the store wrote. */
  readonly sequence: number;
  readonly journalFile: number;
  /** The logs that are open. */
  readonly logs: ReadonlyMap<string, PartitionLog>;
  /** The logs that are not. Closing a log puts it here. */
  readonly states: Map<string, LogState>;
}

/**
 * A place in the stream of records: what was submitted before it is not in `journalFile` or a later one, or a state has
 * it.
 */
interface Place {
  readonly journalFile: number;
  /** Of what was submitted before it: bytes in the journal. Known once that is durable. */
  coveredBytes: number;
}

interface LogWork {
  readonly log: PartitionLog;
  readonly work: SegmentWork;
  readonly state: LogState;
  /** Of the log when its state was taken. */
  readonly stateKey: string;
  /** The producer snapshot that is due. */
  readonly snapshot: SnapshotWork | undefined;
}

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #sequence: number;
  #journalFile: number;
  /** Up to where the last checkpoint covers everything. */
  #covered: Place;
  #coveredTicket = 0;
  #count = 0;
  #takenCount = 0;
  readonly #epochFiles = new Map<string, string>();
  /** `stateKey` of each log when the last checkpoint took it. */
  readonly #stateKeys = new WeakMap<PartitionLog, string>();
  /** Up to where the row of each log covers it. Missing: as far as the last checkpoint does. */
  readonly #places = new WeakMap<PartitionLog, Place>();
  /** Encoded rows, by the state they say. */
  readonly #rows = new WeakMap<LogState, Buffer>();

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#sequence = parts.sequence;
    this.#journalFile = parts.journalFile;
    this.#covered = { journalFile: parts.journalFile, coveredBytes: 0 };
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Checkpoints written since the store was opened, the one at opening not counted. */
  get count(): number {
    return this.#count;
  }

  /** Logs that checkpoints took a new state of, because something had changed: the sum over all checkpoints. */
  get takenCount(): number {
    return this.#takenCount;
  }

  /** Journal bytes that no checkpoint covers, as the commit queue estimates them. */
  get uncoveredBytes(): number {
    return this.#parts.queue.journalledBytes - this.#covered.coveredBytes;
  }

  /** True when nothing was submitted that the last checkpoint does not cover. */
  get isIdle(): boolean {
    return this.#parts.journal.lastTicket === this.#coveredTicket;
  }

  /** The log was just opened: if it is what its row says, the next checkpoint need not take it. */
  opened(log: PartitionLog, state: LogState): void {
    if (
      log.recovery.clean &&
      !log.segments.writeback.hasNews &&
      encodeLogState(log.state()).equals(this.#rowOf(state))
    ) {
      this.#stateKeys.set(log, log.stateKey);
    }
  }

  /**
   * One checkpoint. Never two at a time: the caller sees to it.
   * @param options `closing`: the logs' active indexes are written too. `inPart`: not all changed logs are taken if there
   *   are many, but those that hold back the oldest journal file
   */
  async run(options: { readonly closing?: boolean; readonly inPart?: boolean } = {}): Promise<void> {
    const { environment, disk, journal, queue, logs, states } = this.#parts;
    const { closing = false, inPart = false } = options;
    // What it says of the journal's file is then true.
    await journal.started;
    // Nothing is accepted any more: once it is durable, all of it is committed, if nobody replicates it.
    if (closing) await journal.flush();
    const journalFile = journal.currentFileNumber;
    const ticket = journal.lastTicket;
    const { acceptedBytes } = queue;
    const slice = new TimeSlice(environment);
    // Taken over one by one, with turns of the event loop between: a state that is captured later covers more than the
    // journal file above asks for, and replay passes over what a state covers.
    const place: Place = { journalFile, coveredBytes: 0 };
    const work: LogWork[] = [];
    const unchanged: PartitionLog[] = [];
    const changed: PartitionLog[] = [];
    for (const log of [...logs.values()]) {
      if (slice.isOver) await slice.next();
      if (closing || log.stateKey !== this.#stateKeys.get(log)) {
        changed.push(log);
        continue;
      }
      const snapshot = log.captureProducers('roll');
      if (snapshot === undefined) unchanged.push(log);
      else work.push(this.#take(log, snapshot));
    }
    const left = inPart ? this.#leaveNewest(changed) : [];
    for (const log of changed) {
      if (slice.isOver) await slice.next();
      work.push(this.#take(log, log.captureProducers(closing ? 'now' : 'roll')));
    }
    const kept = [...unchanged, ...left].map((log) => states.get(keyOf(log))!);
    for (const [key, state] of states) if (!logs.has(key)) kept.push(state);
    const covered = left.length === 0 ? place : left.map((log) => this.#placeOf(log)).reduce(older);

    try {
      await journal.flush();
      // All that was captured is durable, so it is known what of it went past the journal. Direct flushes of what came
      // later are counted with it: too little is taken for covered then, never too much.
      place.coveredBytes = acceptedBytes - queue.directBytes;
      await this.#makeAllDurable(work, closing);
      const rows: Buffer[] = [];
      for (const state of kept) {
        rows.push(this.#rowOf(state));
        if (slice.isOver) await slice.next();
      }
      for (const { state } of work) {
        rows.push(this.#rowOf(state));
        if (slice.isOver) await slice.next();
      }
      const assembly = assembleCheckpoint(
        {
          sequence: this.#sequence + 1,
          directoryId: this.#parts.directoryId,
          bootId: this.#parts.bootId,
          journalFile: covered.journalFile,
          journalLsn: this.#parts.journalLsn,
          journalChecksum: this.#parts.journalChecksum,
          journalStarted: true,
        },
        rows,
      );
      let assembled = assembly.next();
      for (; !assembled.done; assembled = assembly.next()) if (slice.isOver) await slice.next();
      const checkpoint = assembled.value;
      await disk.replaceFile(CHECKPOINT_FILE, checkpoint, { keepPrevious: true });
    } catch (error) {
      for (const each of work) each.log.segments.writeback.giveBack(each.work);
      throw error;
    }

    this.#sequence++;
    this.#count++;
    if (left.length === 0) this.#coveredTicket = ticket;
    // What they have now may come to depend on it.
    for (const log of left) this.#places.set(log, this.#placeOf(log));
    this.#covered = covered;
    for (; this.#journalFile < covered.journalFile; this.#journalFile++) journal.recycle(this.#journalFile);
    for (const log of unchanged) this.#places.set(log, place);
    for (const { log, work: done, state, stateKey } of work) {
      this.#places.set(log, place);
      states.set(logKey(state.topicId, state.partition), state);
      await log.segments.writeback.finish(done);
      this.#stateKeys.set(log, stateKey);
    }
  }

  #take(log: PartitionLog, snapshot: SnapshotWork | undefined): LogWork {
    this.#takenCount++;
    return takeWork(log, snapshot);
  }

  #placeOf(log: PartitionLog): Place {
    return this.#places.get(log) ?? this.#covered;
  }

  /** Takes out of `changed` what need not be taken now: the logs whose rows are the newest. @returns them */
  #leaveNewest(changed: PartitionLog[]): PartitionLog[] {
    const count = Math.max(PART_LOGS, Math.ceil(changed.length / PARTS));
    if (count >= changed.length) return [];
    changed.sort((a, b) => this.#placeOf(a).journalFile - this.#placeOf(b).journalFile);
    return changed.splice(count);
  }

  #rowOf(state: LogState): Buffer {
    let row = this.#rows.get(state);
    if (row === undefined) {
      row = encodeLogState(state);
      this.#rows.set(state, row);
    }
    return row;
  }

  /** Makes one log durable in its own files. @returns its state, which then needs no journal */
  async closeLog(log: PartitionLog): Promise<LogState> {
    await this.#parts.journal.flush();
    const work = takeWork(log, log.captureProducers('now'));
    try {
      await this.#parts.journal.flush();
      await this.#makeDurable(work, true);
    } catch (error) {
      log.segments.writeback.giveBack(work.work);
      throw error;
    }
    return work.state;
  }

  /** A few logs at a time: parallel syncs help, many of them would crowd out the journal's. */
  async #makeAllDurable(work: readonly LogWork[], closing: boolean): Promise<void> {
    await inParallel(work, PARALLEL_LOGS, (each) => this.#makeDurable(each, closing));
  }

  async #makeDurable({ log, work, snapshot }: LogWork, closing: boolean): Promise<void> {
    await log.segments.writeback.run(work);
    if (snapshot !== undefined) await log.producers.write(snapshot);
    if (closing) await log.segments.saveActiveIndexes();
    // Written when the log was closed, or as soon as it holds something.
    if (log.isUntouched && log.recovery.clean) return;
    const epochs = log.epochFile();
    const text = epochs.toString('latin1');
    if (this.#epochFiles.get(log.directory) !== text) {
      await this.#parts.disk.replaceFile(`${log.directory}/${EPOCH_FILE}`, epochs);
      this.#epochFiles.set(log.directory, text);
    }
  }
}

function keyOf({ topicId, partition }: PartitionLog): string {
  return logKey(topicId, partition);
}

function older(a: Place, b: Place): Place {
  return b.journalFile < a.journalFile || (b.journalFile === a.journalFile && b.coveredBytes < a.coveredBytes) ? b : a;
}

function takeWork(log: PartitionLog, snapshot: SnapshotWork | undefined): LogWork {
  const { stateKey } = log;
  return { log, work: log.segments.writeback.take(), state: log.state(), stateKey, snapshot };
}

/** Leaves the event loop its turn, after a while of work. */
class TimeSlice {
  readonly #environment: Environment;
  #until: number;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#until = environment.monotonic() + SLICE_MS;
  }

  get isOver(): boolean {
    return this.#environment.monotonic() >= this.#until;
  }

  async next(): Promise<void> {
    await turn(this.#environment);
    this.#until = this.#environment.monotonic() + SLICE_MS;
  }
}
