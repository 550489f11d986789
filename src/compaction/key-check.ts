/**
 * Records of a compacted log have keys: one without could neither be replaced nor removed. What a producer sends is looked
 * through before it is stored, as far as it can be at once: zstd has no synchronous decompression on older Node.js, and
 * then such a batch is taken unseen. Compaction keeps records without a key, so nothing is lost by it.
 */
import { VarveError } from '../errors.js';
import { forEachRecord, isSyncDecodable } from '../record/decode.js';
import { batchSizeAt } from '../record/record-batch.js';
import type { RecordInput } from '../record/types.js';

/**
 * Checks a run of whole, valid batches.
 * @throws VarveError INVALID_BATCH for a record without a key, and what decoding throws
 */
export function checkKeys(buf: Buffer, start: number, end: number, name: string): void {
  for (let pos = start; pos < end; pos += batchSizeAt(buf, pos)) {
    if (!isSyncDecodable(buf, pos)) continue;
    let index = 0;
    forEachRecord(buf, pos, end, (_offset, _timestamp, _bytes, _keyStart, keyLength) => {
      if (keyLength < 0) throw keyMissing(name, `record ${index} of the batch at position ${pos}`);
      index++;
    });
  }
}

/** @throws VarveError INVALID_BATCH */
export function checkRecordKeys(records: readonly RecordInput[], name: string): void {
  const index = records.findIndex((record) => record?.key == null);
  if (index >= 0) throw keyMissing(name, `record ${index}`);
}

function keyMissing(name: string, what: string): VarveError {
  return new VarveError(
    'INVALID_BATCH',
    `${name}: ${what} has no key, and the log is compacted by key (cleanup): give it one, an empty one counts`,
  );
}
