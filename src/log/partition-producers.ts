/**
 * The producers and transactions of one log: their state in memory, and the files that make opening independent of the
 * size of the data.
 *
 * A snapshot is taken at the high watermark, when a checkpoint finds that the log was rolled since the last one, before
 * retention removes what an older one would need, and at a clean close. Nothing below the high watermark is ever cut, so
 * no truncation makes a snapshot wrong: none has to be deleted before new bytes are stored, and none of an older
 * history can be mistaken for one of this. What lies above is undone in memory (producer-state.ts).
 *
 * Opening: 1. snapshots beyond the log end (records were lost) are deleted; 2. the newest that checks out is loaded, and
 * with it the high watermark is known to have been there; 3. the batches behind it are replayed. Without a usable one the
 * whole log is. `emptyBelow` of the log's checkpoint row stands for a snapshot of nothing: a log that nobody uses with
 * producer ids writes no files and replays only what no checkpoint covers.
 */
import type { Disk, Journal } from '../disk/disk.js';
import type { AbortedTransaction } from '../index/txn-index.js';
import type { LogState } from '../journal/log-state.js';
import { baseOffsetAt, hasProducerAt } from '../record/record-batch.js';
import { parseTxnIndexFileName } from '../segment/file-names.js';
import type { SegmentList } from '../segment/segment-list.js';
import { AbortedTransactions, type TxnFilesWork } from './aborted-transactions.js';
import { replayBatches } from './batch-replay.js';
import type { AppendedRange } from './log.js';
import {
  decodeSnapshot,
  encodeSnapshot,
  type ProducerSnapshot,
  parseSnapshotFileName,
  snapshotFileName,
} from './producer-snapshot.js';
import { ProducerState } from './producer-state.js';

/** The newest, and the one before it should the newest not read back. */
const KEPT_SNAPSHOTS = 2;
const NO_SNAPSHOT = -1;

export interface ProducersGround {
  readonly disk: Disk;
  readonly directory: string;
  readonly state: LogState;
  readonly segments: SegmentList;
  readonly replicated: boolean;
  readonly now: number;
}

/** A snapshot that is to be written. */
export interface SnapshotWork {
  readonly offset: number;
  readonly bytes: Buffer;
  readonly txnFiles: TxnFilesWork;
}

export class PartitionProducers {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #topicId: string;
  readonly #partition: number;
  readonly #segments: SegmentList;
  readonly #state: ProducerState;
  readonly #aborted: AbortedTransactions;
  /** Offsets of the snapshot files, newest last. */
  #snapshots: number[];
  #emptyBelow: number;
  #highWatermark: number;

  private constructor(
    ground: ProducersGround,
    state: ProducerState,
    aborted: AbortedTransactions,
    snapshots: number[],
    emptyBelow: number,
    highWatermark: number,
  ) {
    this.#disk = ground.disk;
    this.#directory = ground.directory;
    this.#topicId = ground.state.topicId;
    this.#partition = ground.state.partition;
    this.#segments = ground.segments;
    this.#state = state;
    this.#aborted = aborted;
    this.#snapshots = snapshots;
    this.#emptyBelow = emptyBelow;
    this.#highWatermark = highWatermark;
  }

  static async open(ground: ProducersGround): Promise<PartitionProducers> {
    const { disk, directory, state: row, segments, now } = ground;
    const names = (await disk.readDirectory(directory)).map(({ name }) => name);
    const offsets = names.map(parseSnapshotFileName).filter((offset) => offset !== undefined);
    const emptyBelow = Math.min(row.producersEmptyBelow ?? 0, row.end);
    const snapshots = offsets.filter((offset) => offset <= row.end);
    const useless = offsets.filter((offset) => offset > row.end).map(snapshotFileName);
    const first = segments.all[0]!.base;
    // Batches between a snapshot and the first segment are gone, and what they said of a producer with them: it counts as
    // unknown, and may begin anywhere (KIP-360), rather than be refused by a state that is behind.
    const usable = snapshots.filter((offset) => offset >= first && offset >= emptyBelow);
    let snapshot: ProducerSnapshot | undefined;
    for (let i = usable.length - 1; i >= 0 && snapshot === undefined; i--) {
      const offset = usable[i]!;
      const bytes = await disk.readFile(`${directory}/${snapshotFileName(offset)}`);
      const { topicId, partition } = row;
      snapshot = bytes === undefined ? undefined : decodeSnapshot(bytes, { topicId, partition, offset });
      if (snapshot !== undefined) continue;
      useless.push(snapshotFileName(offset));
      snapshots.splice(snapshots.indexOf(offset), 1);
    }
    const from = snapshot?.offset ?? Math.max(first, emptyBelow);
    const txnFiles = (snapshot?.txnFiles ?? []).filter(({ base }) => base >= first);
    const stray = names.filter((name) => (parseTxnIndexFileName(name) ?? first) < first);
    const removed = [...useless, ...stray].map((name) => `${directory}/${name}`);
    // Durable before anything is stored at the offsets that they speak of.
    if (removed.length > 0) await disk.removeFiles(removed);

    const state = new ProducerState(now, snapshot?.entries);
    const aborted = new AbortedTransactions(disk, directory, segments, from, txnFiles);
    const known = Math.max(row.hwFloor, row.logStart, snapshot?.offset ?? 0);
    const highWatermark = ground.replicated ? Math.min(known, row.end) : row.end;
    await replayBatches(disk, segments.all, from, row.end, (bytes, position) => {
      if (!hasProducerAt(bytes, position)) return;
      const transaction = state.apply(bytes, position);
      if (transaction !== undefined) aborted.add(transaction);
      state.commit(Math.min(highWatermark, baseOffsetAt(bytes, position)));
    });
    state.commit(highWatermark);
    return new PartitionProducers(ground, state, aborted, snapshots, emptyBelow, highWatermark);
  }

  /** As of opening: at least what the checkpoint says, and what a snapshot proves. */
  get highWatermark(): number {
    return this.#highWatermark;
  }

  /** False for a producer that was forgotten. */
  knows(producerId: number): boolean {
    return this.#state.get(producerId) !== undefined;
  }

  /** @see ProducerState.check */
  check(bytes: Buffer, start: number, end: number, name: string): AppendedRange | undefined {
    return this.#state.check(bytes, start, end, name);
  }

  /** @see ProducerState.checkMarker */
  checkMarker(producerId: number, producerEpoch: number, coordinatorEpoch: number, name: string): void {
    this.#state.checkMarker(producerId, producerEpoch, coordinatorEpoch, name);
  }

  /** A batch with a producer id was stored at the log end. */
  apply(bytes: Buffer, position: number): void {
    const transaction = this.#state.apply(bytes, position);
    if (transaction !== undefined) this.#aborted.add(transaction);
  }

  truncate(offset: number): void {
    this.#state.truncate(offset);
    this.#aborted.truncate(offset);
  }

  /** The log was emptied: what the producers wrote is gone, and each of them may begin anywhere (KIP-360). */
  reset(logStart: number): void {
    this.#state.clear();
    this.#aborted.truncate(0);
    this.#emptyBelow = 0;
    this.commit(logStart);
  }

  commit(highWatermark: number): void {
    this.#highWatermark = highWatermark;
    this.#state.commit(highWatermark);
  }

  /** The high watermark, or the first offset of a transaction that has not ended below it. */
  get lastStableOffset(): number {
    return Math.min(this.#highWatermark, this.#state.firstUnstableOffset);
  }

  /** Aborted transactions with records in [from, to), below the last stable offset; by first offset. */
  abortedBetween(from: number, to: number): Promise<AbortedTransaction[]> {
    return this.#aborted.between(from, to);
  }

  /** What the checkpoint row says: batches below this leave no trace in the state. */
  get emptyBelow(): number {
    if (this.#state.isEmpty && this.#aborted.isEmpty) this.#emptyBelow = this.#highWatermark;
    return this.#emptyBelow;
  }

  /**
   * The snapshot that is due, as of this moment.
   * @param need 'roll': one is due when the log was rolled since the last; 'now': when the last lies below the high
   *   watermark
   */
  capture(need: 'roll' | 'now'): SnapshotWork | undefined {
    const offset = this.#highWatermark;
    const last = this.#snapshots.at(-1) ?? NO_SNAPSHOT;
    const { base } = this.#segments.all[this.#segments.indexOf(offset)]!;
    const due = this.#aborted.hasRepairs || (need === 'now' ? offset > last : base > last);
    if (!due || this.emptyBelow === offset) return undefined;
    const txnFiles = this.#aborted.capture(offset);
    const bytes = encodeSnapshot({
      topicId: this.#topicId,
      partition: this.#partition,
      offset,
      entries: this.#state.committedEntries(),
      txnFiles: txnFiles.files,
    });
    return { offset, bytes, txnFiles };
  }

  /** Writes it, durably. The batches below it must be durable, and the journal up to the moment of the capture. */
  async write({ offset, bytes, txnFiles }: SnapshotWork): Promise<void> {
    await this.#aborted.write(txnFiles);
    await this.#disk.replaceFile(`${this.#directory}/${snapshotFileName(offset)}`, bytes);
    this.#aborted.written(txnFiles);
    const snapshots = [...this.#snapshots.filter((each) => each !== offset), offset];
    const old = snapshots.splice(0, Math.max(0, snapshots.length - KEPT_SNAPSHOTS));
    this.#snapshots = snapshots;
    if (old.length > 0) await this.#disk.removeFiles(old.map((each) => `${this.#directory}/${snapshotFileName(each)}`));
  }

  /** To be called before segments that end at or below `base` are removed: what they said must be in a snapshot. */
  async saveBefore(base: number, journal: Journal): Promise<void> {
    const last = this.#snapshots.at(-1) ?? NO_SNAPSHOT;
    const work = last < base ? this.capture('now') : undefined;
    if (work === undefined) return;
    await journal.flush();
    await this.write(work);
  }

  /** The segments below `base` are gone. */
  async removeBelow(base: number): Promise<void> {
    const paths = this.#aborted.removeBelow(base);
    if (paths.length > 0) await this.#disk.removeFiles(paths);
  }

  expire(now: number, idleMs: number): void {
    this.#state.expire(now, idleMs);
  }
}
