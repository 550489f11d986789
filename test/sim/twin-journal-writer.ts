/**
 * The journal's writer: native/src/journal.cc as a chain of events. The names are the same, so that the two can be read
 * side by side.
 *
 * Order, grouping, when it syncs, and what a failure means: see native/src/journal.h.
 */
import type { JournalOptions, JournalStats } from '../../src/disk/disk.js';
import { VarveError } from '../../src/errors.js';
import {
  BLOCK_BYTES,
  type EncodedIdentity,
  encodeFileEnd,
  encodeFileHeader,
  type FileEnd,
  JournalGroup,
  type PendingRecord,
  unreadablePage,
} from './journal-encoding.js';
import { type DirectRun, TwinDirectFlush } from './twin-direct-flush.js';
import { type TwinJournalFile, TwinJournalFiles } from './twin-journal-files.js';
import type { TwinProcess } from './twin-process.js';

/** Relaxed records are written when this much is pending. */
const WRITE_BYTES = 1024 * 1024;
/** Of a file: its header, and the block that ends it. */
const BESIDE_GROUPS = 2 * BLOCK_BYTES;
const MAX_FILE_BYTES = 2 ** 40;
const MAX_GROUP_BYTES = 2 ** 30;
const LATENCY_BUCKETS = 16;

type Progress = (durableTicket: number, failure: VarveError | undefined, stopped: boolean, directBytes: number) => void;

/** Async records that are not durable: since when, and how many bytes. */
interface AsyncMark {
  readonly since: number | undefined;
  readonly bytes: number;
}

interface LeftFile {
  readonly file: TwinJournalFile;
  readonly position: number;
  readonly end: Omit<FileEnd, 'durableLsn'>;
}

const NO_RUN: DirectRun = { end: 0, direct: false };
const NO_ASYNC: AsyncMark = { since: undefined, bytes: 0 };

export class TwinJournalWriter {
  readonly files: TwinJournalFiles;
  readonly #process: TwinProcess;
  readonly #path: string;
  readonly #options: JournalOptions;
  readonly #progress: Progress;
  readonly #directoryId: Uint8Array;
  readonly #group: JournalGroup;
  readonly #direct: TwinDirectFlush;
  readonly #logs: EncodedIdentity[] = [];

  // What was submitted.
  #queue: PendingRecord[] = [];
  #queueBytes = 0;
  #queueAsync = NO_ASYNC;
  #takenAsync = NO_ASYNC;
  #submittedTicket = 0;
  /** Everything up to it is to be synced. */
  #syncTicket = 0;
  #durableTicket = 0;
  #wake: (() => void) | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #draining = false;
  #abandoned = false;

  // What the writer has in hand.
  #taken: PendingRecord[] = [];
  #takenNext = 0;
  #collectedTicket = 0;
  /** `#syncTicket` when it was collected. */
  #wantedTicket = 0;
  /** The same, of the oldest that is not durable: later ones do not put its sync off. */
  #dueTicket = 0;
  /** The run that `#takenNext` is in; past when its end is not beyond that. */
  #nextRun: DirectRun = NO_RUN;
  /** Records up to it go into the journal whatever their size. */
  #journalTicket = 0;
  #file!: TwinJournalFile;
  #filePosition = 0;
  /** Its header goes with the next group. */
  #fileIsFresh = false;
  /** The file before, until it says that this one is on disk. */
  #left: LeftFile | undefined;
  #currentFileNumber: number;
  #lsn: number;
  #durableLsn: number;
  #checksum: number;
  #writtenTicket = 0;
  #writtenPayloadBytes = 0;

  // Counters.
  #records = 0;
  #payloadBytes = 0;
  #durablePayloadBytes = 0;
  #writtenBytes = 0;
  #syncs = 0;
  #syncMsTotal = 0;
  #fileRolls = 0;
  #started = false;
  #directSyncs = 0;
  #directFlushes = 0;
  #directBytes = 0;
  #ended = false;
  readonly #latencyBuckets: number[] = new Array(LATENCY_BUCKETS).fill(0);

  constructor(process: TwinProcess, path: string, options: JournalOptions, progress: Progress) {
    const fileBytes = Math.floor(options.fileBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (options.directoryId.length !== 16)
      throw new VarveError('INVALID_ARGUMENT', 'directoryId must be 16 bytes long');
    if (fileBytes < 2 * BLOCK_BYTES || fileBytes > MAX_FILE_BYTES) {
      throw new VarveError('INVALID_ARGUMENT', 'fileBytes must be from 8192 to 2^40');
    }
    this.#process = process;
    this.#path = path;
    this.#options = options;
    this.#progress = progress;
    this.#directoryId = Buffer.from(options.directoryId);
    this.#direct = new TwinDirectFlush(options.directFlushBytes);
    this.files = new TwinJournalFiles(process, path, fileBytes, options.spareFiles, () => this.report());
    this.#group = new JournalGroup(
      this.#directoryId,
      Math.min(options.maxGroupBytes, MAX_GROUP_BYTES, fileBytes - BESIDE_GROUPS),
    );
    this.#currentFileNumber = options.firstFileNumber;
    this.#lsn = options.startLsn;
    this.#durableLsn = options.startLsn;
    this.#checksum = options.previousChecksum;
    try {
      process.callNow('open', path, 0);
      process.fileSystem.directory(path, 'open');
    } catch (error) {
      throw process.systemFailure('open', path, error);
    }
    void this.#run();
  }

  // ---- for whoever submits ----

  get currentFileNumber(): number {
    return this.#currentFileNumber;
  }

  /** The header of the first file is on disk. */
  get started(): boolean {
    return this.#started;
  }

  get logCount(): number {
    return this.#logs.length;
  }

  registerLog(identity: EncodedIdentity): number {
    return this.#logs.push(identity) - 1;
  }

  /** Takes the record over and numbers it. */
  submit(record: PendingRecord): number {
    this.#process.checkHealth();
    if (this.#draining || this.#abandoned) throw new VarveError('CLOSED', 'the journal is closed');
    const ticket = ++this.#submittedTicket;
    record.ticket = ticket;
    this.#queue.push(record);
    this.#queueBytes += record.length;
    this.#records++;
    this.#payloadBytes += record.length;
    if (record.mode === 'sync') {
      this.#syncTicket = ticket;
    } else if (record.mode === 'async') {
      const { since, bytes } = this.#queueAsync;
      this.#queueAsync = { since: since ?? this.#process.scheduler.now(), bytes: bytes + record.length };
    }
    this.#wakeIfDue();
    return ticket;
  }

  /** Everything submitted so far is to be synced. @returns the last ticket of it */
  requestFlush(): number {
    this.#syncTicket = this.#submittedTicket;
    this.#wakeIfDue();
    return this.#submittedTicket;
  }

  /** Writes and syncs what is pending, then ends. */
  requestStop(): void {
    this.#draining = true;
    this.files.stopWaiting();
    this.#wakeIfDue();
  }

  /** Ends after the group at hand; resolves when no file is being prepared. */
  abandon(): Promise<void> {
    this.#abandoned = true;
    this.#wakeIfDue();
    return this.files.end();
  }

  stats(): JournalStats {
    return {
      syncs: this.#syncs,
      directSyncs: this.#directSyncs,
      directFlushes: this.#directFlushes,
      directBytes: this.#directBytes,
      records: this.#records,
      payloadBytes: this.#payloadBytes,
      writtenBytes: this.#writtenBytes,
      pendingBytes: this.#payloadBytes - this.#durablePayloadBytes,
      syncLatencyBuckets: [...this.#latencyBuckets],
      syncMsTotal: this.#syncMsTotal,
      fileRolls: this.#fileRolls,
    };
  }

  // ---- the writer ----

  async #run(): Promise<void> {
    let failure: VarveError | undefined;
    try {
      await this.#openFirstFile();
      while (await this.#waitForWork()) await this.#commit();
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      failure = error;
    }
    this.#finish(failure);
  }

  /** Durable by itself: the end of the chain must be on disk even if no group ever follows. */
  async #openFirstFile(): Promise<void> {
    this.#file = await this.files.take(this.#options.firstFileNumber);
    this.#process.checkHealth();
    const block = Buffer.alloc(BLOCK_BYTES);
    const place = { fileNumber: this.#file.number, lsn: this.#lsn, previousChecksum: this.#checksum };
    encodeFileHeader(block, this.#directoryId, place);
    await this.#write(this.#file, 0, block);
    await this.#syncFile(this.#file);
    this.#filePosition = BLOCK_BYTES;
    this.#writtenBytes += BLOCK_BYTES;
    this.#started = true;
    this.report();
  }

  #asyncDeadline(): number {
    const since = this.#takenAsync.since ?? this.#queueAsync.since;
    return since === undefined ? Number.POSITIVE_INFINITY : since + this.#options.asyncMaxMs;
  }

  #markDeadline(): number {
    return (this.#direct.oldestMark ?? Number.POSITIVE_INFINITY) + this.#options.directMarkMaxMs;
  }

  #workIsDue(): boolean {
    const asyncBytes = this.#takenAsync.bytes + this.#queueAsync.bytes;
    const deadline = this.#asyncDeadline();
    const asyncIsDue = this.#process.scheduler.now() >= deadline || asyncBytes >= this.#options.asyncMaxBytes;
    if ((deadline < Number.POSITIVE_INFINITY && asyncIsDue) || this.#draining) this.#syncTicket = this.#submittedTicket;
    return (
      this.#process.scheduler.now() >= this.#markDeadline() ||
      (this.#draining && this.#direct.oldestMark !== undefined) ||
      this.#syncTicket > this.#durableTicket ||
      this.#takenNext < this.#taken.length ||
      this.#queueBytes >= WRITE_BYTES
    );
  }

  /** False when the writer is to end. */
  async #waitForWork(): Promise<boolean> {
    while (!this.#abandoned && !this.#workIsDue()) {
      if (this.#draining) return false;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#armTimer();
      });
      await this.#process.call('wake', this.#path, 0, () => {});
    }
    if (this.#abandoned) return false;
    this.#collect();
    return true;
  }

  #wakeIfDue(): void {
    if (this.#wake === undefined) return;
    if (this.#abandoned || this.#draining || this.#workIsDue()) {
      const wake = this.#wake;
      this.#wake = undefined;
      wake();
    } else {
      this.#armTimer();
    }
  }

  #armTimer(): void {
    const deadline = Math.min(this.#asyncDeadline(), this.#markDeadline());
    if (deadline >= this.#timerAt || deadline === Number.POSITIVE_INFINITY) return;
    this.#timerAt = deadline;
    this.#process.scheduler.after(deadline - this.#process.scheduler.now(), () => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      if (!this.#process.isDead) this.#wakeIfDue();
    });
  }

  /** Takes over what was submitted. */
  #collect(): void {
    this.#taken = this.#taken.slice(this.#takenNext).concat(this.#queue);
    this.#takenNext = 0;
    this.#queue = [];
    this.#queueBytes = 0;
    this.#collectedTicket = this.#submittedTicket;
    this.#wantedTicket = this.#syncTicket;
    if (this.#dueTicket <= this.#durableTicket) this.#dueTicket = this.#syncTicket;
    this.#nextRun = NO_RUN;
    this.#takenAsync = {
      since: this.#takenAsync.since ?? this.#queueAsync.since,
      bytes: this.#takenAsync.bytes + this.#queueAsync.bytes,
    };
    this.#queueAsync = NO_ASYNC;
  }

  /** One step: a direct flush, or a group and its sync. */
  async #commit(): Promise<void> {
    const isTime = this.#process.scheduler.now() >= this.#markDeadline() || this.#takenNext === this.#taken.length;
    const marksAreDue = this.#direct.oldestMark !== undefined && isTime;
    if (!marksAreDue && this.#nextRunIsDirect()) await this.#flushDirectly();
    else await this.#writeGroup(marksAreDue);
  }

  #nextRunIsDirect(): boolean {
    const next = this.#taken[this.#takenNext];
    if (next === undefined) return false;
    if (this.#nextRun.end <= this.#takenNext) {
      this.#nextRun = this.#direct.nextRun(this.#taken, this.#takenNext, this.#wantedTicket);
    }
    return this.#nextRun.direct && next.ticket > this.#journalTicket;
  }

  async #flushDirectly(): Promise<void> {
    // What precedes the run is durable before it; the journal may hold groups that nobody waited for.
    if (this.#durableLsn < this.#lsn) await this.#sync();
    const records = this.#taken.slice(this.#takenNext, this.#nextRun.end);
    if (!(await this.#syncSegments(records))) {
      this.#journalTicket = records.at(-1)!.ticket;
      return;
    }
    let payloadBytes = 0;
    const now = this.#process.scheduler.now();
    for (const record of records) {
      this.#direct.note(record);
      this.#direct.addMark(record, now);
      payloadBytes += record.length;
    }
    this.#writtenTicket = records.at(-1)!.ticket;
    this.#writtenPayloadBytes += payloadBytes;
    this.#takenNext = this.#nextRun.end;
    this.#directFlushes++;
    this.#directBytes += payloadBytes;
    this.#becomeDurable();
  }

  /** False when a directory cannot be had just now: then the records go into the journal. */
  async #syncSegments(records: readonly PendingRecord[]): Promise<boolean> {
    const segments = new Set(records.map((record) => record.segment!));
    for (const segment of segments) if (!(await segment.syncEntry())) return false;
    for (const segment of segments) {
      const began = this.#process.scheduler.now();
      await segment.syncNow();
      if (segment.poisoned) throw unreadablePage(segment);
      this.#countSync(began);
      this.#directSyncs++;
    }
    return true;
  }

  async #writeGroup(marksAreDue: boolean): Promise<void> {
    let asksForSync = false;
    let lastTicket = this.#writtenTicket;
    let payloadBytes = 0;
    for (const mark of this.#direct.marks()) this.#group.add(mark, this.#logs[mark.log]!);
    for (let next = this.#taken[this.#takenNext]; next !== undefined; next = this.#taken[this.#takenNext]) {
      if (!this.#group.accepts(next) || this.#nextRunIsDirect()) break;
      this.#takenNext++;
      asksForSync ||= next.mode === 'sync';
      lastTicket = next.ticket;
      payloadBytes += next.length;
      this.#direct.note(next);
      this.#group.add(next, this.#logs[next.log]!);
    }
    if (!this.#group.isEmpty) {
      await this.#makeRoom();
      await this.#writeSealed();
      this.#group.clear();
      this.#direct.marksWritten();
    }
    this.#writtenTicket = lastTicket;
    this.#writtenPayloadBytes += payloadBytes;
    if ((marksAreDue && this.#durableLsn < this.#lsn) || this.#syncIsDue(asksForSync)) await this.#sync();
  }

  #syncIsDue(groupAsks: boolean): boolean {
    if (this.#writtenTicket <= this.#durableTicket) return false;
    const isDue = (ticket: number): boolean => ticket > this.#durableTicket && ticket <= this.#writtenTicket;
    return groupAsks || isDue(this.#dueTicket) || isDue(this.#syncTicket);
  }

  /** A group larger than a whole file goes into a fresh one and makes it longer. */
  async #makeRoom(): Promise<void> {
    const fits = this.#filePosition + this.#group.paddedBytes + BLOCK_BYTES <= this.#file.bytes;
    if (!fits && this.#filePosition !== BLOCK_BYTES) await this.#roll();
  }

  async #roll(): Promise<void> {
    // A file that is left behind is complete: a reader can rely on a later file's header.
    if (this.#durableLsn < this.#lsn) await this.#sync();
    const next = await this.files.take(this.#file.number + 1);
    this.#left = {
      file: this.#file,
      position: this.#filePosition,
      end: {
        lsn: this.#lsn,
        fileNumber: this.#file.number,
        nextFileNumber: next.number,
        previousChecksum: this.#checksum,
      },
    };
    this.#file = next;
    this.#filePosition = BLOCK_BYTES;
    this.#fileIsFresh = true;
    this.#fileRolls++;
  }

  async #writeSealed(): Promise<void> {
    const bytes = this.#group.seal({
      fileNumber: this.#file.number,
      lsn: this.#lsn,
      durableLsn: this.#durableLsn,
      previousChecksum: this.#checksum,
      withFileHeader: this.#fileIsFresh,
    });
    await this.#write(this.#file, this.#fileIsFresh ? 0 : this.#filePosition, bytes);
    const paddedBytes = this.#group.paddedBytes;
    // A group that makes the file longer makes room for its end as well.
    const endAt = this.#filePosition + paddedBytes;
    if (endAt + BLOCK_BYTES > this.#file.bytes) {
      await this.#write(this.#file, endAt, Buffer.alloc(BLOCK_BYTES));
      this.#file.bytes = endAt + BLOCK_BYTES;
    }
    this.#checksum = this.#group.checksum;
    this.#lsn += paddedBytes;
    this.#filePosition += paddedBytes;
    this.#fileIsFresh = false;
    this.#writtenBytes += bytes.length;
    // Early, because it is made slowly.
    if (this.#filePosition >= this.#file.bytes / 4) this.files.request(this.#file.number + 1);
  }

  async #sync(): Promise<void> {
    const began = this.#process.scheduler.now();
    await this.#syncFile(this.#file);
    if (this.#left !== undefined) await this.#endLeftFile(this.#left);
    // A sync that failed elsewhere ends all promises, this one included.
    this.#process.checkHealth();
    this.#durableLsn = this.#lsn;
    this.#currentFileNumber = this.#file.number;
    this.#direct.marksDurable();
    this.#countSync(began);
    this.#becomeDurable();
  }

  /** Everything written so far is on disk. Not before: the end of the file that was left says so. */
  async #endLeftFile(left: LeftFile): Promise<void> {
    this.#process.checkHealth();
    const block = encodeFileEnd(this.#directoryId, { ...left.end, durableLsn: this.#lsn });
    await this.#write(left.file, left.position, block);
    const began = this.#process.scheduler.now();
    await this.#syncFile(left.file);
    this.#left = undefined;
    this.#writtenBytes += BLOCK_BYTES;
    this.#countSync(began);
  }

  #becomeDurable(): void {
    if (this.#writtenTicket === this.#collectedTicket) this.#takenAsync = NO_ASYNC;
    this.#durableTicket = this.#writtenTicket;
    this.#durablePayloadBytes = this.#writtenPayloadBytes;
    this.#progress(this.#durableTicket, undefined, false, this.#directBytes);
  }

  #countSync(began: number): void {
    const tookMs = this.#process.scheduler.now() - began;
    this.#syncs++;
    this.#syncMsTotal += tookMs;
    this.#latencyBuckets[latencyBucket(tookMs)]!++;
  }

  async #write({ path, file }: TwinJournalFile, position: number, bytes: Uint8Array): Promise<void> {
    try {
      await this.#process.call('write', path, bytes.length, () => {
        this.#process.fileSystem.takeSpace(position + bytes.length - file.size, 'write');
        file.write(position, bytes);
      });
    } catch (error) {
      throw this.#process.finalFailure('write', path, error);
    }
  }

  async #syncFile({ path, file }: TwinJournalFile): Promise<void> {
    this.#process.checkHealth();
    try {
      await this.#process.syncFile(path, file);
    } catch (error) {
      throw this.#process.finalFailure('fdatasync', path, error);
    }
  }

  #finish(failure: VarveError | undefined): void {
    if (failure !== undefined) this.#process.fail(failure);
    this.#group.clear();
    this.#taken = [];
    this.#takenNext = 0;
    this.#queue = [];
    this.#ended = true;
    // What failed beside the journal is told as well.
    this.#progress(this.#durableTicket, failure ?? this.#process.failure, true, this.#directBytes);
  }

  /** Space has changed, or something failed beside the journal: whoever listens is told. */
  report(): void {
    if (!this.#ended) this.#progress(this.#durableTicket, this.#process.failure, false, this.#directBytes);
  }
}

function latencyBucket(ms: number): number {
  let bucket = 0;
  for (let bound = 0.016; bucket + 1 < LATENCY_BUCKETS && ms >= bound; bound *= 2) bucket++;
  return bucket;
}
