/**
 * What a log's settings say of its segments' time: when the one being written is rolled, and up to which offset the
 * oldest ones may go. Pure: the clock comes in as `now`, milliseconds since 1970 by this machine's clock.
 *
 * The age of a segment is that of its largest timestamp, or of its last append when that is older: a record dated in the
 * future does not keep a segment for ever. Only whole segments go, never the one being written, nothing above the high
 * watermark.
 */
import type { Segment } from '../segment/segment.js';
import type { LogOptions } from './options.js';

export type TimedSegment = Pick<
  Segment,
  'base' | 'end' | 'length' | 'isActive' | 'maxTimestamp' | 'firstAppend' | 'lastAppend'
>;

/**
 * Time from a segment's first append to its roll: `segmentMs` minus a jitter that is fixed per segment, so that thousands
 * of partitions that began together do not roll together.
 */
export function rollAfterMs(options: LogOptions, log: string, base: number): number {
  const jitter = options.segmentJitterMs === 0 ? 0 : hash(`${log} ${base}`) % (options.segmentJitterMs + 1);
  return Math.max(1, options.segmentMs - jitter);
}

/** True when the segment being written is old enough for a new one. */
export function isDueToRoll(segment: TimedSegment, rollAfter: number, now: number): boolean {
  return segment.length > 0 && now - segment.firstAppend >= rollAfter;
}

/**
 * True when the segment being written has nothing left that is kept: once it is rolled, it can be deleted. Not to be asked
 * at every append: a producer that sends old timestamps would get a segment for each batch.
 */
export function hasExpired(segment: TimedSegment, options: LogOptions, now: number): boolean {
  return segment.length > 0 && isExpired(segment, options, now);
}

/** Offset up to which the log may be deleted; its start when nothing may. At most `maxSegments` go at once. */
export function retentionPoint(
  segments: readonly TimedSegment[],
  options: LogOptions,
  log: { readonly start: number; readonly highWatermark: number },
  now: number,
  maxSegments = Number.POSITIVE_INFINITY,
): number {
  if (!deletes(options)) return log.start;
  let bytes = 0;
  for (const segment of segments) bytes += segment.length;
  let point = log.start;
  let count = 0;
  for (const segment of segments) {
    if (segment.isActive || segment.end > log.highWatermark || count === maxSegments) break;
    bytes -= segment.length;
    const isSurplus = options.retentionBytes >= 0 && bytes >= options.retentionBytes;
    if (!isSurplus && !isExpired(segment, options, now)) break;
    point = Math.max(point, segment.end);
    count++;
  }
  return point;
}

/** A log that is only compacted keeps the last record of every key for ever. */
function deletes({ cleanup }: LogOptions): boolean {
  return cleanup.includes('delete');
}

function isExpired(segment: TimedSegment, options: LogOptions, now: number): boolean {
  const { retentionMs } = options;
  if (retentionMs < 0 || !deletes(options)) return false;
  const { maxTimestamp, lastAppend } = segment;
  const written = maxTimestamp < 0 ? lastAppend : Math.min(maxTimestamp, lastAppend);
  return now - written > retentionMs;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
