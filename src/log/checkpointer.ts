/**
 * Writes checkpoints in the background: at an interval, and as soon as the journal holds half of what it may hold.
 *
 *   1. Capture, in one step, the state of every log and the number of the journal file being written (all records in
 *      older files were submitted before, so the captured state covers them).
 *   2. Flush the journal: what was captured is durable.
 *   3. Per changed log: sync its dirty segments, write the indexes of sealed ones, set aside files that truncations
 *      removed, write the producer snapshot that a roll made due and the epoch file, sync the directory. Now the segments
 *      need no journal.
 *   4. Replace the checkpoint file.
 *   5. Recycle the older journal files, delete what was set aside.
 *
 * What can go wrong: a full disk is tried again at the next turn, and the old checkpoint stays in force until then; any
 * other failure fails the store.
 */
import type { Disk, Journal } from '../disk/disk.js';
import { CHECKPOINT_FILE, encodeCheckpoint } from '../journal/checkpoint.js';
import { type LogState, logKey } from '../journal/log-state.js';
import type { CommitQueue } from './commit-queue.js';
import type { SegmentWork } from './log-segments.js';
import type { PartitionLog } from './partition-log.js';
import type { SnapshotWork } from './partition-producers.js';

export const EPOCH_FILE = 'leader-epoch-checkpoint';

const PARALLEL_LOGS = 4;

export interface CheckpointerParts {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly queue: CommitQueue;
  readonly directoryId: string;
  readonly bootId: string;
  readonly journalMaxBytes: number;
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

interface LogWork {
  readonly log: PartitionLog;
  readonly work: SegmentWork;
  readonly state: LogState;
  /** The producer snapshot that is due. */
  readonly snapshot: SnapshotWork | undefined;
}

export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #sequence: number;
  #journalFile: number;
  #coveredTicket = 0;
  #coveredBytes = 0;
  #count = 0;
  readonly #epochFiles = new Map<string, string>();

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#sequence = parts.sequence;
    this.#journalFile = parts.journalFile;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** Checkpoints written since the store was opened, the one at opening not counted. */
  get count(): number {
    return this.#count;
  }

  /** Journal bytes that no checkpoint covers, as the commit queue estimates them. */
  get uncoveredBytes(): number {
    return this.#parts.queue.journalledBytes - this.#coveredBytes;
  }

  /** True when nothing was submitted since the last checkpoint. */
  get isIdle(): boolean {
    return this.#parts.journal.lastTicket === this.#coveredTicket;
  }

  /** One checkpoint. Never two at a time: the caller sees to it. With `closing`, the logs' active indexes are written too. */
  async run(options: { readonly closing?: boolean } = {}): Promise<void> {
    const { disk, journal, queue, logs, states } = this.#parts;
    const closing = options.closing ?? false;
    // Nothing is accepted any more: once it is durable, all of it is committed, if nobody replicates it.
    if (closing) await journal.flush();
    const journalFile = journal.currentFileNumber;
    const ticket = journal.lastTicket;
    const { acceptedBytes } = queue;
    const work: LogWork[] = [];
    for (const log of logs.values()) work.push(takeWork(log, closing));
    const closed = [...states].filter(([key]) => !logs.has(key)).map(([, state]) => state);

    let coveredBytes = 0;
    try {
      await journal.flush();
      // All that was captured is durable, so it is known what of it went past the journal. Direct flushes of what came
      // later are counted with it: too little is taken for covered then, never too much.
      coveredBytes = acceptedBytes - queue.directBytes;
      await this.#makeAllDurable(work, closing);
      const checkpoint = encodeCheckpoint({
        sequence: this.#sequence + 1,
        directoryId: this.#parts.directoryId,
        bootId: this.#parts.bootId,
        journalFile,
        journalLsn: this.#parts.journalLsn,
        journalChecksum: this.#parts.journalChecksum,
        logs: [...closed, ...work.map(({ state }) => state)],
      });
      await disk.replaceFile(CHECKPOINT_FILE, checkpoint, { keepPrevious: true });
    } catch (error) {
      for (const each of work) each.log.segments.returnWork(each.work);
      throw error;
    }

    this.#sequence++;
    this.#count++;
    this.#coveredTicket = ticket;
    this.#coveredBytes = coveredBytes;
    for (; this.#journalFile < journalFile; this.#journalFile++) journal.recycle(this.#journalFile);
    for (const { log, work: done, state } of work) {
      states.set(logKey(state.topicId, state.partition), state);
      await log.segments.finishWork(done);
    }
  }

  /** Makes one log durable in its own files. @returns its state, which then needs no journal */
  async closeLog(log: PartitionLog): Promise<LogState> {
    await this.#parts.journal.flush();
    const work = takeWork(log, true);
    await this.#parts.journal.flush();
    await this.#makeDurable(work, true);
    return work.state;
  }

  /** A few logs at a time: parallel syncs help, many of them would crowd out the journal's. */
  async #makeAllDurable(work: readonly LogWork[], closing: boolean): Promise<void> {
    const rest = work.values();
    const worker = async (): Promise<void> => {
      for (const each of rest) await this.#makeDurable(each, closing);
    };
    const results = await Promise.allSettled(Array.from({ length: PARALLEL_LOGS }, worker));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #makeDurable({ log, work, snapshot }: LogWork, closing: boolean): Promise<void> {
    await log.segments.doWork(work);
    if (snapshot !== undefined) await log.producers.write(snapshot);
    if (closing) await log.segments.saveActiveIndexes();
    const epochs = log.epochFile();
    const text = epochs.toString('latin1');
    if (this.#epochFiles.get(log.directory) !== text) {
      await this.#parts.disk.replaceFile(`${log.directory}/${EPOCH_FILE}`, epochs);
      this.#epochFiles.set(log.directory, text);
    }
  }
}

function takeWork(log: PartitionLog, closing: boolean): LogWork {
  const snapshot = log.captureProducers(closing ? 'now' : 'roll');
  return { log, work: log.segments.takeWork(), state: log.state(), snapshot };
}
