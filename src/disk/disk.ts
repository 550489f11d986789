/**
 * The disk interface: everything the engine asks of a disk. Decisions (replay, checkpoint, recovery, truncation,
 * retention) are TypeScript above it; bytes are below it: in the native addon for real disks, in a JavaScript twin for
 * the simulator.
 *
 * Fault model. A write may be torn at any byte, and reordered with any other write, until a sync that covers it has
 * returned. A directory entry may be lost until its directory was synced. A failed write or sync is final: it latches
 * (`DISK_FAILED`), and nothing is retried, since the kernel marks pages clean after a failed sync.
 *
 * All paths are relative to the data directory, with '/' between parts. Cold-path calls return promises and run off the
 * event loop; the hot path (`SegmentFile.append`, `Journal.append*`) is synchronous and never waits for the disk, except
 * that growing a segment calls fallocate.
 */

/** When the journal syncs what it was given. Order is one stream whatever the mode: a sync covers all that precedes it. */
export type FlushMode = 'sync' | 'async' | 'none';

export interface DirectoryEntry {
  readonly name: string;
  readonly isDirectory: boolean;
}

export interface FreeSpace {
  /** What this user may still allocate. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Files take whole blocks. */
  readonly blockBytes: number;
}

export interface SegmentStats {
  /** Segments whose file is mapped, those that only views hold included. */
  readonly mappedSegments: number;
  /** Of the files that are mapped. */
  readonly mappedBytes: number;
  /** Descriptors of segment files. */
  readonly openFiles: number;
  /** Mappings that were closed and that views still hold, or a buffer that was not collected yet. */
  readonly heldMappings: number;
  /** Bytes of removed files that are still mapped: used on the disk until the views are gone. */
  readonly pinnedDeletedBytes: number;
}

export interface Disk {
  /** Entries of a directory, sorted by name; an empty list when it does not exist. */
  readDirectory(path: string): Promise<DirectoryEntry[]>;
  /** Makes a directory and its missing parents, and syncs each parent. */
  makeDirectory(path: string): Promise<void>;
  /** Bytes of a file from `position`, at most `length` of them; undefined when the file does not exist. */
  readFile(path: string, position?: number, length?: number): Promise<Buffer | undefined>;
  /** As `readFile`, at once: for small files that are needed in the middle of something (an index at its first use). */
  readFileSync(path: string, position?: number, length?: number): Buffer | undefined;
  /** Size in bytes, undefined when the file does not exist. */
  fileSize(path: string): Promise<number | undefined>;
  /**
   * Durable replacement: temporary file, sync, rename, directory sync. With `keepPrevious` the old one stays as
   * `<path>.previous`.
   */
  replaceFile(path: string, bytes: Uint8Array, options?: { keepPrevious?: boolean }): Promise<void>;
  /**
   * Writes bytes into an existing or new file at `position` and syncs it; never used on mapped files. With `unreferenced`
   * nobody relies on these bytes of the file before the call succeeds: no space at the write is DISK_FULL then, which
   * leaves some of them or none, and the caller gives them up. Without it, and at the sync, no space is a failed write.
   */
  writeFile(
    path: string,
    position: number,
    bytes: Uint8Array,
    options?: { readonly unreferenced?: boolean },
  ): Promise<void>;
  /** Shortens or extends a file that is not mapped, and syncs it. */
  truncateFile(path: string, size: number): Promise<void>;
  /** Renames and syncs the directories involved. */
  rename(from: string, to: string): Promise<void>;
  /** Removes files (not directories), then syncs each directory involved once. Missing files are no error. */
  removeFiles(paths: readonly string[]): Promise<void>;
  /** Syncs one directory. */
  syncDirectory(path: string): Promise<void>;
  /** Of the file system that holds the data directory. */
  freeSpace(): Promise<FreeSpace>;
  /**
   * Keeps this many bytes of space allocated in a file whose content means nothing; a longer one gets shorter. Not synced.
   * @throws VarveError DISK_FULL: then there is no such file
   */
  allocateFile(path: string, bytes: number): Promise<void>;
  /** Removes a file whose content means nothing, at once and without a sync. A missing one is no error. */
  dropFile(path: string): void;
  /**
   * Lets go of deleted files that only garbage still refers to. Costs a garbage collection; the space is free soon after.
   */
  reclaim(): void;

  /** Creates a segment file (which must not exist) and maps it writable. Not synced: the journal covers its bytes. */
  createSegment(path: string, options: SegmentOptions): SegmentFile;
  /**
   * Opens an existing segment. Writable: appends continue at `size`; bytes beyond it are trimmed before the file is mapped,
   * or stay with `keepTail`: somebody may hold a mapping of the file, and a mapped file is never shortened. Read-only:
   * mapped as long as it is.
   */
  openSegment(path: string, options: OpenSegmentOptions): SegmentFile;

  /** What the segments cost now; also after `close`. */
  stats(): SegmentStats;

  /** Starts the journal thread. Once per open disk. */
  openJournal(options: JournalOptions): Journal;

  /** Releases the lock and stops the threads. Views that are still held stay valid. */
  close(): Promise<void>;
}

export interface SegmentOptions {
  /** Address space to reserve, in bytes: the largest the file may become. */
  readonly reserveBytes: number;
  /**
   * How appends reach the page cache: stored through a mapping, or written by a system call each. The bytes are the same;
   * 'pwrite' is there to be measured. Default 'mapped'.
   */
  readonly writer?: SegmentWriter;
}

export type SegmentWriter = 'mapped' | 'pwrite';

export interface OpenSegmentOptions extends SegmentOptions {
  readonly writable: boolean;
  /** Needed for writing. */
  readonly size?: number;
  readonly keepTail?: boolean;
}

export interface SegmentFile {
  readonly path: string;
  /** Bytes stored so far = where the next append lands. */
  readonly size: number;
  readonly reserveBytes: number;
  /**
   * True once a page of the file could not be read or written; whatever was read since may be zeros instead of data.
   * Check it after reading a view: then the read fails with DISK_FAILED.
   */
  readonly poisoned: boolean;
  /**
   * Copies source[start, end) to the end of the file. Growing in chunks is done here.
   * @returns the position of the first byte
   * @throws VarveError DISK_FULL (nothing changed), DISK_FAILED, CLOSED; INVARIANT_BROKEN beyond reserveBytes
   */
  append(source: Uint8Array, start: number, end: number): number;
  /**
   * A zero-copy view of [position, position + length): a Buffer over the segment's one ArrayBuffer. It stays valid for
   * as long as it is held, whatever happens to the segment. Writing to it kills the process: the pages are read-only.
   * `isMapped` (mapped-buffers.ts) knows it.
   */
  view(position: number, length: number): Buffer;
  /**
   * Reads the pages of [position, position + length), which are stored, on a thread of its own; when it has resolved, views
   * of them do not wait for the disk. Look at `poisoned` afterwards: a page that cannot be read does not reject.
   * @throws VarveError CLOSED
   */
  touch(position: number, length: number): Promise<void>;
  /** Asks the background thread to allocate and touch this many bytes ahead of `size`. */
  prepare(bytes: number): void;
  /**
   * The segment has ended; an append is INVARIANT_BROKEN from now on. Gives the space that was allocated behind `size` back,
   * on the background thread, as far as the file system can. The file stays as long as it is, so mappings of it are safe,
   * and everything that was ever stored stays. Nothing happens to a segment that was opened read-only, or with `keepTail`.
   */
  releaseTail(): Promise<void>;
  /** fdatasync of the file on the background thread. */
  sync(): Promise<void>;
  /** Drops the engine's reference; the mapping lives on while views do. Idempotent. */
  close(): void;
}

/** Who a journal record belongs to. The numbers returned by `registerLog` stand for it afterwards. */
export interface LogIdentity {
  /** 16 bytes. All zeros with partition 0: the data directory itself. */
  readonly topicId: Uint8Array;
  readonly partition: number;
}

export interface JournalOptions {
  /** Directory of the .wal files, which exists. */
  readonly path: string;
  /** 16 bytes; seeds every checksum. */
  readonly directoryId: Uint8Array;
  /** Number of the first file to write: greater than any that exists. */
  readonly firstFileNumber: number;
  /**
   * LSN (a byte count over the whole history of the journal) of the first group to write, and the checksum of the group
   * before it (0 if none).
   */
  readonly startLsn: number;
  readonly previousChecksum: number;
  /** Size of one file. Written with zeros once, then recycled. */
  readonly fileBytes: number;
  /** Largest group, unless one record alone is larger. */
  readonly maxGroupBytes: number;
  /** Bound of `async`: the oldest unsynced async record is synced after this time … */
  readonly asyncMaxMs: number;
  /** … or when this many bytes of them are pending, whichever is first. Kept by the journal thread's own clock. */
  readonly asyncMaxBytes: number;
  /**
   * Direct flush: a run of stored batches of at most two segments that is at least this long is not copied into the
   * journal; those segments are synced instead. 0: never. docs/STORE.md has the rules.
   */
  readonly directFlushBytes: number;
  /** The durable mark of a direct flush is on disk after this time at the latest, even if nothing else is written. */
  readonly directMarkMaxMs: number;
  /** Names of .wal files that are free to be recycled from the start. */
  readonly spareFiles: readonly string[];
  /**
   * Called once per group commit, on the event loop: every ticket ≤ `durableTicket` is on disk. `directBytes`: how many
   * of all bytes so far are in no journal file, because their segments were synced.
   */
  readonly onDurable: (durableTicket: number, directBytes: number) => void;
  /** Called once, when a write or sync failed. Nothing becomes durable afterwards. */
  readonly onFailure: (error: Error) => void;
  /** Called whenever the space for the next file has changed. */
  readonly onSpace?: (space: JournalSpace) => void;
}

/**
 * Whether there is space for the journal's next file. `lacking`: not ahead of need, and it is tried again several times a
 * second. `waiting`: the journal stands still for it; what is pending becomes durable when there is space.
 */
export type JournalSpace = 'enough' | 'lacking' | 'waiting';

/**
 * One ordered stream of records for a whole data directory. Each call that submits a record takes the next ticket:
 * 1, 2, 3 … `onDurable(t)` means that all records up to ticket t, of whatever log, are durable.
 * docs/FORMAT.md draws the bytes.
 */
export interface Journal {
  /**
   * Resolves when the header of the first file is on disk: from then on that file can only be missing if something took it
   * away. Rejects when the journal fails or ends before.
   */
  readonly started: Promise<void>;
  registerLog(identity: LogIdentity): number;
  /**
   * Queues bytes that are already stored in `segment` at [position, position + length): the journal thread reads them
   * from the mapping. `lastOffset` is the offset of the last record in them.
   */
  appendStored(
    log: number,
    segment: SegmentFile,
    segmentBaseOffset: number,
    position: number,
    length: number,
    lastOffset: number,
    epoch: number,
    generation: number,
    hwFloor: number,
    mode: FlushMode,
  ): number;
  /** Queues a small record (hard state, truncation, …): `payload` is copied. */
  append(log: number, type: number, generation: number, epoch: number, payload: Uint8Array, mode: FlushMode): number;
  /** Syncs everything submitted so far, whatever its mode; resolves when it is durable. */
  flush(): Promise<void>;
  /** Ticket of the last submitted record; 0 before the first. */
  readonly lastTicket: number;
  /** Hands a file, whose records are all covered by a durable checkpoint, back for recycling. Never the current one. */
  recycle(fileNumber: number): void;
  /**
   * Number of the last file that a sync has covered, or of the first one: files below it only change by recycling, and once
   * `started` has resolved, its own header is on disk.
   */
  readonly currentFileNumber: number;
  stats(): JournalStats;
  /**
   * From now on a full disk, which is waited out otherwise, fails the journal with DISK_FULL. For whoever is about to
   * close: what fits is still written and synced.
   */
  stopWaiting(): void;
  /** Writes and syncs what is pending, then stops the thread. */
  close(): Promise<void>;
}

/** Counters since the journal was opened. Times are milliseconds. */
export interface JournalStats {
  /** Syncs by the journal's thread: one fdatasync per group that asked for it, and those of segments (msync). */
  readonly syncs: number;
  /** Of those, the ones of segments: one or two per direct flush. */
  readonly directSyncs: number;
  readonly directFlushes: number;
  /** Bytes that direct flushes made durable; they are in no journal file. */
  readonly directBytes: number;
  readonly records: number;
  /** Bytes of batches and payloads accepted. */
  readonly payloadBytes: number;
  /** Bytes written to journal files, headers and padding included. */
  readonly writtenBytes: number;
  readonly pendingBytes: number;
  /** Counts of fdatasync latencies: bucket i counts those < 2^i × 16 µs; the last one counts the rest. */
  readonly syncLatencyBuckets: readonly number[];
  readonly syncMsTotal: number;
  readonly fileRolls: number;
}
