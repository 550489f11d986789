/**
 * What looking at a data directory finds: plain data, printed by `varve inspect`.
 *
 * A finding is `damage` when bytes that were promised are wrong or gone, a `note` when it is worth knowing and costs
 * nothing (a torn write that recovery cuts, an index that is rebuilt).
 */
import type { LogPosition, RecoveryReport } from '../log/log.js';
import type { DamagedRange } from '../segment/segment.js';

export interface Finding {
  readonly severity: 'damage' | 'note';
  /** A file, and where it helps the position in it. */
  readonly where: string;
  readonly what: string;
  readonly advice: string;
}

export interface CheckpointInspection {
  readonly file: string;
  readonly bytes: number;
  readonly sequence: number;
  readonly logs: number;
  /** The first journal file that is still needed. */
  readonly journalFile: number;
  /** The machine has not been restarted since; undefined where that is not known. */
  readonly sameBoot: boolean | undefined;
}

export interface JournalFileInspection {
  readonly name: string;
  readonly bytes: number;
  /** `covered`: the checkpoint no longer needs it. `spare`: fresh, or recycled and not written yet. */
  readonly use: 'needed' | 'covered' | 'spare';
}

export interface JournalGroupInspection {
  readonly file: number;
  readonly position: number;
  readonly lsn: number;
  readonly records: readonly {
    readonly type: string;
    readonly log: string;
    readonly bytes: number;
    readonly lastOffset: number;
    readonly generation: number;
  }[];
}

export interface JournalInspection {
  readonly files: readonly JournalFileInspection[];
  readonly groups: number;
  /** By type of record. */
  readonly records: Readonly<Record<string, number>>;
  /** Where the chain ends; undefined where no file is in use, or it cannot be read to its end. */
  readonly end: { readonly file: string; readonly position: number; readonly why: string } | undefined;
}

export interface IndexInspection {
  /**
   * `missing` and `unusable` ones are rebuilt from the log. `wrong`: an entry says something else than the batches.
   * `rebuilt`: what opening would write, from the batches; there is no such file now, or another one.
   */
  readonly state: 'right' | 'missing' | 'unusable' | 'wrong' | 'unchecked' | 'rebuilt';
  readonly entries: number;
}

export interface SegmentInspection {
  readonly file: string;
  readonly base: number;
  readonly tag: number;
  readonly end: number;
  /** Bytes of whole batches, and of the file. */
  readonly length: number;
  readonly fileBytes: number;
  /** `sealed`: rolled and checkpointed; `rolled`: ended since; `active`: appended to next. */
  readonly state: 'sealed' | 'rolled' | 'active';
  /** The rest is counted only where every batch was read. */
  readonly verified: boolean;
  readonly batches: number;
  readonly controlBatches: number;
  readonly records: number;
  readonly firstEpoch: number;
  readonly lastEpoch: number;
  /** −1: none. */
  readonly minTimestamp: number;
  readonly maxTimestamp: number;
  readonly damaged: readonly DamagedRange[];
  readonly index: IndexInspection;
  readonly timeIndex: IndexInspection;
  /** The `.seal` against the headers of all batches. `none`: it is not sealed yet. */
  readonly seal: Exclude<IndexInspection['state'], 'rebuilt'> | 'none';
}

export interface PartitionInspection {
  readonly name: string;
  readonly directory: string;
  readonly topicId: string;
  readonly logStart: number;
  readonly end: number;
  readonly highWatermarkFloor: number;
  readonly term: number;
  readonly vote: number;
  readonly generation: number;
  readonly relaxed: boolean;
  readonly epochs: readonly (readonly [epoch: number, start: number])[];
  /** `leader-epoch-checkpoint` against what the batches say. */
  readonly epochFile: 'right' | 'missing' | 'old' | 'unusable';
  readonly durableMark: LogPosition | undefined;
  readonly segments: readonly SegmentInspection[];
  readonly snapshots: number;
  readonly txnIndexes: number;
  /** What opening would report of the log. */
  readonly recovery: RecoveryReport;
}

export interface DirectoryInspection {
  readonly path: string;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly directoryId: string;
  readonly formatVersion: number;
  /** The process that has it open; 0: some process; undefined: none, as far as can be seen. */
  readonly openIn: number | undefined;
  /** It changed while it was looked at: findings may be of no meaning. */
  readonly changing: boolean;
  readonly cleanMark: number | undefined;
  readonly checkpoint: CheckpointInspection | undefined;
  readonly previousCheckpoint: CheckpointInspection | undefined;
  readonly reserveBytes: number;
  readonly journal: JournalInspection;
  /** Closed cleanly: opening has nothing to do. Undefined: opening would be refused, and the findings say why. */
  readonly clean: boolean | undefined;
  readonly partitions: readonly PartitionInspection[];
  /** Segments whose batches were not read. */
  readonly skipped: { readonly segments: number; readonly bytes: number };
  readonly findings: readonly Finding[];
}

/** A batch, as `--batches` shows it. */
export interface BatchInspection {
  readonly partition: string;
  readonly file: string;
  readonly position: number;
  readonly bytes: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly epoch: number;
  readonly records: number;
  readonly compression: string;
  readonly isControl: boolean;
  readonly isTransactional: boolean;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

export interface InspectOptions {
  /** Only this one: '<topic>-<number>', or the name of its directory. */
  readonly partition?: string;
  /** Read every batch, or none. Default: every batch if there are at most `VERIFY_BYTES` of them. */
  readonly verify?: boolean;
  /** Only batches that hold this offset are handed to `onBatch`. */
  readonly offset?: number;
  /** Called for each batch of the partitions that are looked at, in order; the bytes are those of the batch. */
  readonly onBatch?: (batch: BatchInspection, bytes: Buffer) => void | Promise<void>;
  readonly onGroup?: (group: JournalGroupInspection) => void;
}
