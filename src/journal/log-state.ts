/**
 * What must be known of one partition's log to open it without reading it: a row of the checkpoint. The durable mark is
 * the end of the last segment in the list: (that segment, its length, `end`, the last epoch).
 */
import { type ConfigurationRow, isConfigurationRow } from './configuration-history.js';
import type { SegmentName } from '../segment/file-names.js';
import type { DamagedRange } from '../segment/segment.js';

const TOPIC_ID_PATTERN = /^[0-9a-f]{32}$/;

export interface SegmentState extends SegmentName {
  /** Bytes of whole batches. A segment holds the offsets from its base to the next one's base, the last one to `end`. */
  readonly length: number;
  readonly damaged?: readonly DamagedRange[];
  /** Of its records; −1: none has one. Missing: not known. */
  readonly maxTimestamp?: number;
  /** It ended, and its index files are on disk: nothing needs to be looked at to open it. */
  readonly sealed?: true;
  /** When its first and last bytes were stored, by this machine's clock (ms since 1970). Missing: not known. */
  readonly firstAppend?: number;
  readonly lastAppend?: number;
}

export interface LogState {
  readonly topic: string;
  readonly partition: number;
  /** 32 hex digits. */
  readonly topicId: string;
  readonly term: number;
  readonly vote: number;
  /** The term in which this replica lost something that it may have acknowledged. Missing: it did not. */
  readonly forgot?: number;
  readonly logStart: number;
  readonly end: number;
  /** The high watermark was at least this. */
  readonly hwFloor: number;
  readonly generation: number;
  /** Acknowledgements may have been given from memory. */
  readonly relaxed: boolean;
  /** Compaction has judged all records below this offset: none has a later record of its key below it. Missing: 0. */
  readonly compactedTo?: number;
  /** Compaction may have removed tombstones below this offset. Missing: 0. */
  readonly tombstonesRemovedTo?: number;
  /** In offset order; empty for a log that never held anything. */
  readonly segments: readonly SegmentState[];
  /** Leader epochs and the offsets they start at, both rising. */
  readonly epochs: readonly (readonly [epoch: number, start: number])[];
  /** The membership history (configuration-history.ts); offsets rise, values are base64. Missing: empty. */
  readonly configurations?: readonly ConfigurationRow[];
  /** Batches below this leave no trace in the producer state. Default 0. */
  readonly producersEmptyBelow?: number;
}

/** Whether a value that was read from a file has the shape of a row. */
export function isLogState(value: unknown): value is LogState {
  if (typeof value !== 'object' || value === null) return false;
  const {
    topic,
    partition,
    topicId,
    relaxed,
    segments,
    epochs,
    configurations = [],
    ...rest
  } = value as Partial<LogState>;
  const { term, vote, forgot = 0, logStart, end, hwFloor, generation } = rest;
  const numbers = [partition, term, vote, forgot, logStart, end, hwFloor, generation];
  return (
    numbers.every(isNatural) &&
    typeof topic === 'string' &&
    TOPIC_ID_PATTERN.test(String(topicId)) &&
    typeof relaxed === 'boolean' &&
    Array.isArray(segments) &&
    segments.every(isSegmentState) &&
    Array.isArray(epochs) &&
    epochs.every((epoch) => Array.isArray(epoch) && epoch.length === 2 && epoch.every(isNatural)) &&
    Array.isArray(configurations) &&
    configurations.every((row, i) => isConfigurationRow(row) && (i === 0 || configurations[i - 1]![0] < row[0]))
  );
}

function isSegmentState(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { base, tag, length, damaged = [] } = value as Partial<SegmentState>;
  return [base, tag, length].every(isNatural) && Array.isArray(damaged);
}

function isNatural(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function newLogState(topic: string, partition: number, topicId: string): LogState {
  return {
    topic,
    partition,
    topicId,
    term: 0,
    vote: 0,
    logStart: 0,
    end: 0,
    hwFloor: 0,
    generation: 0,
    relaxed: false,
    segments: [],
    epochs: [],
  };
}

/** Identifies a log within a data directory. */
export function logKey(topicId: string, partition: number): string {
  return `${topicId}-${partition}`;
}
