/**
 * The parts of one open log that its operations share: appending, deletion, compaction, checkpoint rows.
 */
import type { LogCursors } from './log-cursors.js';
import type { LogGate } from './log-gate.js';
import type { LogHost } from './log-host.js';
import type { LogJournal } from './log-journal.js';
import type { LogSegments } from './log-segments.js';
import type { LogOptions } from './options.js';
import type { PartitionProducers } from './partition-producers.js';

export interface LogParts {
  /** For messages: topic and partition. */
  readonly name: string;
  readonly options: LogOptions;
  /** Somebody else moves the high watermark and the log start. */
  readonly replicated: boolean;
  readonly host: LogHost;
  readonly gate: LogGate;
  readonly cursors: LogCursors;
  readonly journal: LogJournal;
  readonly segments: LogSegments;
  readonly producers: PartitionProducers;
}
