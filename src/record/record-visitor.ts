/**
 * The records inside a batch (after decompression, if there is a codec):
 *
 *   +--------+-----------+------------+------------+--------+-----+--------+-------+---------+------------------+
 *   | length | attributes| timestamp  | offset     | key    | key | value  | value | header  | headers:         |
 *   | varint | i8, unused| delta      | delta      | length |     | length |       | count   | key length, key, |
 *   |        |           | varlong    | varint     | varint |     | varint |       | varint  | value length,    |
 *   |        |           |            |            |        |     |        |       |         | value            |
 *   +--------+-----------+------------+------------+--------+-----+--------+-------+---------+------------------+
 *
 * `length` counts the bytes after itself. A key or value length of −1 is null, which is not the same as empty.
 *
 * Walking them allocates nothing per record: the visitor gets numbers. Every length is checked against the bytes that
 * are really there before it is used. Errors: CORRUPT_BATCH, with the position.
 */
import { VarveError } from '../errors.js';
import {
  baseOffsetAt,
  baseTimestampAt,
  attributesAt,
  LOG_APPEND_TIME_BIT,
  lastOffsetDeltaAt,
  maxTimestampAt,
  recordCountAt,
} from './record-batch.js';
import type { Header } from './types.js';
import { VarintReader } from './varint.js';

/** The smallest record: length, attributes, two deltas, two lengths, header count. */
const MIN_RECORD_BYTES = 7;

/**
 * Called for each record. A length of −1 stands for null. The headers, `headerCount` of them, lie at
 * bytes[headersStart, headersEnd) and have been checked: `readHeaders` decodes them. Return false to stop.
 */
export type RecordVisitor = (
  offset: number,
  timestamp: number,
  bytes: Buffer,
  keyStart: number,
  keyLength: number,
  valueStart: number,
  valueLength: number,
  headerCount: number,
  headersStart: number,
  headersEnd: number,
) => unknown;

/**
 * Walks the records of the batch whose header lies at header[headerPos …]; the uncompressed records are
 * bytes[start, end), all of which they must fill.
 */
export function visitRecords(
  header: Buffer,
  headerPos: number,
  bytes: Buffer,
  start: number,
  end: number,
  visit: RecordVisitor,
): void {
  const count = recordCountAt(header, headerPos);
  if (count < 0 || count * MIN_RECORD_BYTES > end - start) {
    throw corrupt(start, `${count} records cannot lie in ${end - start} bytes`);
  }
  const baseOffset = baseOffsetAt(header, headerPos);
  const lastOffsetDelta = lastOffsetDeltaAt(header, headerPos);
  const isLogAppendTime = (attributesAt(header, headerPos) & LOG_APPEND_TIME_BIT) !== 0;
  const maxTimestamp = maxTimestampAt(header, headerPos);
  const baseTimestamp = baseTimestampAt(header, headerPos);
  const reader = new VarintReader(bytes, start, end);
  let previousDelta = -1;

  for (let i = 0; i < count; i++) {
    const recordStart = reader.pos;
    const length = reader.next();
    const recordEnd = reader.pos + length;
    if (length < MIN_RECORD_BYTES - 1 || recordEnd > end) {
      throw corrupt(recordStart, `record ${i} of ${count} is ${length} bytes long, ${end - reader.pos} are there`);
    }
    reader.pos++; // attributes: none are defined
    const timestampDelta = reader.next();
    const timestamp = isLogAppendTime ? maxTimestamp : baseTimestamp + timestampDelta;
    const offsetDelta = reader.next();
    if (offsetDelta <= previousDelta || offsetDelta > lastOffsetDelta) {
      throw corrupt(
        recordStart,
        `record ${i} of ${count} has offset delta ${offsetDelta} after ${previousDelta}; the last is to be ${lastOffsetDelta}`,
      );
    }
    previousDelta = offsetDelta;
    if (!Number.isSafeInteger(timestamp))
      throw corrupt(recordStart, `record ${i} of ${count} has no possible timestamp`);

    const keyLength = reader.next();
    const keyStart = reader.pos;
    skip(reader, keyLength, recordEnd, 'key');
    const valueLength = reader.next();
    const valueStart = reader.pos;
    skip(reader, valueLength, recordEnd, 'value');

    const headerCount = reader.next();
    const headersStart = reader.pos;
    // A header takes at least two bytes.
    if (headerCount < 0 || headerCount * 2 > recordEnd - headersStart) {
      throw corrupt(headersStart, `record ${i} of ${count} claims ${headerCount} headers`);
    }
    for (let h = 0; h < headerCount; h++) {
      const length = reader.next();
      if (length < 0) throw corrupt(reader.pos, 'a header key cannot be null');
      skip(reader, length, recordEnd, 'header key');
      skip(reader, reader.next(), recordEnd, 'header value');
    }
    if (reader.pos !== recordEnd) {
      throw corrupt(
        recordStart,
        `record ${i} of ${count}: its parts end at ${reader.pos}, its length says ${recordEnd}`,
      );
    }
    const offset = baseOffset + offsetDelta;
    if (
      visit(
        offset,
        timestamp,
        bytes,
        keyStart,
        keyLength,
        valueStart,
        valueLength,
        headerCount,
        headersStart,
        recordEnd,
      ) === false
    ) {
      return;
    }
  }
  if (reader.pos !== end) throw corrupt(reader.pos, `${end - reader.pos} bytes follow the last of ${count} records`);
}

/** Decodes headers that `visitRecords` has checked. Values are views. */
export function readHeaders(bytes: Buffer, count: number, start: number, end: number): Header[] {
  const reader = new VarintReader(bytes, start, end);
  const headers: Header[] = [];
  for (let i = 0; i < count; i++) {
    const keyLength = reader.next();
    const keyEnd = reader.pos + keyLength;
    const key = bytes.toString('utf8', reader.pos, keyEnd);
    reader.pos = keyEnd;
    const valueLength = reader.next();
    const value = valueLength < 0 ? null : bytes.subarray(reader.pos, reader.pos + valueLength);
    if (valueLength > 0) reader.pos += valueLength;
    headers.push({ key, value });
  }
  return headers;
}

function skip(reader: VarintReader, length: number, recordEnd: number, what: string): void {
  if (length < -1 || length > recordEnd - reader.pos) {
    throw corrupt(reader.pos, `a ${what} of ${length} bytes in a record that ends at ${recordEnd}`);
  }
  if (length > 0) reader.pos += length;
}

function corrupt(pos: number, what: string): VarveError {
  return new VarveError('CORRUPT_BATCH', `records at position ${pos}: ${what}`);
}
