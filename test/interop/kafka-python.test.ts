/**
 * Batches written here are read by kafka-python, and batches written by kafka-python are read here, in every codec. Its
 * codecs are other libraries than ours: Python's zlib, and the C libraries of lz4, snappy and zstd.
 */
import { describe, expect, test } from 'vitest';
import { decodeBatchAsync } from '../../src/record/decode.js';
import { codecAt, isControlAt } from '../../src/record/record-batch.js';
import { COMPRESSIONS } from '../../src/record/types.js';
import { validateProducedBatch } from '../../src/record/validate-batch.js';
import { buildBatch, expected, plain } from '../record/records.js';
import { runPython, whyNoPython } from './python.js';
import { compactedSegment } from './compacted-sample.js';
import { sampleRecords, sampleSegment } from './samples.js';

interface ReadBatch {
  readonly baseOffset: number;
  readonly codec: number;
  readonly isControl: boolean;
  readonly crcValid: boolean;
  readonly records: unknown[];
}

const reason = whyNoPython(['kafka.record.default_records', 'lz4.frame', 'snappy', 'zstandard']);

function ask<Answer>(requests: readonly object[]): Answer[] {
  const lines = runPython('kafka_python.py', requests.map((request) => `${JSON.stringify(request)}\n`).join(''));
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Answer);
}

function read(bytes: Buffer): { batches: ReadBatch[]; validBytes: number } {
  const [answer] = ask<{ batches: ReadBatch[]; validBytes: number }>([{ op: 'read', bytes: bytes.toString('hex') }]);
  return answer!;
}

describe.skipIf(reason !== undefined)('kafka-python', () => {
  test.each(COMPRESSIONS)('reads batches written here with %s', async (compression) => {
    // Sizes of one block and of several, for the codecs that have blocks. Its own zstd stops at 1 MiB.
    for (const [count, valueBytes] of [
      [1, 5000],
      [50, 200],
      [400, 2000],
    ] as const) {
      const records = sampleRecords(count, count, valueBytes);
      const batch = await buildBatch(records, compression);
      const { batches, validBytes } = read(batch);
      expect(validBytes).toBe(batch.length);
      expect(batches).toHaveLength(1);
      expect(batches[0]).toMatchObject({ crcValid: true, codec: codecAt(batch, 0) });
      expect(batches[0]!.records).toEqual(expected(records));
      if (count > 1) expect(codecAt(batch, 0)).toBe(COMPRESSIONS.indexOf(compression));
    }
  });

  test('reads a whole segment written here: every codec, control batches, offsets and epochs stamped', async () => {
    const segment = await sampleSegment(5_000_000_000, 3);
    const { batches, validBytes } = read(segment.bytes);
    expect(validBytes).toBe(segment.bytes.length);
    expect(batches.every((batch) => batch.crcValid)).toBe(true);
    expect(batches.filter((batch) => batch.isControl)).toHaveLength(3);
    const data = batches.filter((batch) => !batch.isControl);
    expect(data).toHaveLength(segment.batches.length);
    data.forEach((batch, i) => {
      expect(batch.records).toEqual(expected(segment.batches[i]!.records, batch.baseOffset));
    });
    const offsets = batches.flatMap((batch) => batch.records.map((record) => (record as { offset: number }).offset));
    expect(offsets).toEqual(
      Array.from({ length: segment.endOffset - segment.baseOffset }, (_, i) => segment.baseOffset + i),
    );
  });

  test('reads a compacted segment: gaps, empty batches, delete horizons, producers without records', async () => {
    const { bytes, records } = await compactedSegment();
    const { batches, validBytes } = read(bytes);
    expect(validBytes).toBe(bytes.length);
    expect(batches.every((batch) => batch.crcValid)).toBe(true);
    expect(batches.filter((batch) => batch.isControl)).toHaveLength(3);
    expect(batches.some((batch) => batch.records.length === 0)).toBe(true);
    expect(batches.flatMap((batch) => (batch.isControl ? [] : batch.records))).toEqual(plain(records));
  });

  test('sees that a byte has changed', async () => {
    const batch = await buildBatch(sampleRecords(1, 3));
    batch[batch.length - 1]! ^= 1;
    const { batches } = read(batch);
    expect(batches[0]!.crcValid).toBe(false);
  });

  test.each(COMPRESSIONS)('writes batches with %s that are valid and read here', async (compression) => {
    const codec = COMPRESSIONS.indexOf(compression);
    const samples = (
      [
        [2, 5000],
        [50, 200],
        [400, 2000],
      ] as const
    ).map(([count, bytes]) => sampleRecords(7, count, bytes));
    const answers = ask<{ bytes: string }>(
      samples.map((records) => ({ op: 'write', codec, records: expected(records) })),
    );
    for (const [i, { bytes }] of answers.entries()) {
      const batch = Buffer.from(bytes, 'hex');
      expect(validateProducedBatch(batch, 0, batch.length, 1 << 22)).toBe(batch.length);
      expect(codecAt(batch, 0)).toBe(codec);
      expect(isControlAt(batch, 0)).toBe(false);
      expect(plain(await decodeBatchAsync(batch))).toEqual(expected(samples[i]!));
    }
  });
});
