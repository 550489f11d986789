/**
 * Batches written here are read by the decoder of kafkajs, and batches of its encoder are read here, in every codec. It
 * brings gzip itself; the other codecs are plugged in from libraries, by functions that the engine does not use: lz4's
 * own frames, a stream reader of snappy's blocks written out in this file, zstd unbounded.
 */
import { compress as compressZstd, decompress as decompressZstd } from '@mongodb-js/zstd';
import Decoder from 'kafkajs/src/protocol/decoder.js';
import { Codecs } from 'kafkajs/src/protocol/message/compression/index.js';
import Record from 'kafkajs/src/protocol/recordBatch/record/v0/index.js';
import { RecordBatch } from 'kafkajs/src/protocol/recordBatch/v0/index.js';
import decodeMessages from 'kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js';
import lz4 from 'lz4-napi';
import { compress as compressSnappy, uncompress as uncompressSnappy } from 'snappy';
import { beforeAll, describe, expect, test } from 'vitest';
import { decodeBatchAsync } from '../../src/record/decode.js';
import { codecAt } from '../../src/record/record-batch.js';
import { COMPRESSIONS, type RecordInput } from '../../src/record/types.js';
import { validateProducedBatch } from '../../src/record/validate-batch.js';
import { buildBatch, expected, plain } from '../record/records.js';
import { compactedSegment } from './compacted-sample.js';
import { sampleRecords, sampleSegment } from './samples.js';

interface Encoder {
  readonly buffer: Buffer;
}

async function unframeSnappy(stream: Buffer): Promise<Buffer> {
  const blocks: Buffer[] = [];
  for (let pos = 16; pos < stream.length; ) {
    const size = stream.readInt32BE(pos);
    blocks.push((await uncompressSnappy(stream.subarray(pos + 4, pos + 4 + size))) as Buffer);
    pos += 4 + size;
  }
  return Buffer.concat(blocks);
}

beforeAll(() => {
  // Its snappy clients send raw blocks without the frame, so this writes them, too.
  Codecs[2] = () => ({ compress: ({ buffer }: Encoder) => compressSnappy(buffer), decompress: unframeSnappy });
  Codecs[3] = () => ({ compress: ({ buffer }: Encoder) => lz4.compressFrame(buffer), decompress: lz4.decompressFrame });
  Codecs[4] = () => ({ compress: ({ buffer }: Encoder) => compressZstd(buffer), decompress: decompressZstd });
});

/** As a fetch answer carries it: size, then the batches. */
async function read(segment: Buffer) {
  const size = Buffer.alloc(4);
  size.writeInt32BE(segment.length);
  return await decodeMessages(new Decoder(Buffer.concat([size, segment])));
}

function bytes(input: Uint8Array | string | null | undefined): Buffer | null {
  return input == null ? null : Buffer.from(input as Uint8Array);
}

/** kafkajs keeps headers in an object: the samples have at most one of a name, and kafkajs cannot write null. */
function headersOf(record: RecordInput): { [key: string]: Buffer } {
  return Object.fromEntries((record.headers ?? []).map(({ key, value }) => [key, Buffer.from(value!)]));
}

function hex(buffer: Buffer | null): string | null {
  return buffer?.toString('hex') ?? null;
}

/** Bytes as hex: comparing buffers element by element takes seconds. */
function text(record: Awaited<ReturnType<typeof read>>[number]) {
  const headers = Object.entries(record.headers).map(([key, value]) => [key, (value as Buffer).toString('hex')]);
  const { offset, timestamp, key, value } = record;
  return { offset, timestamp, key: hex(key), value: hex(value), headers };
}

function expectedText(records: readonly RecordInput[], baseOffset = 0) {
  return records.map((record, i) =>
    text({
      offset: String(baseOffset + i),
      timestamp: String(record.timestamp),
      key: bytes(record.key),
      value: bytes(record.value),
      headers: headersOf(record),
      isControlRecord: false,
    }),
  );
}

describe('kafkajs', () => {
  test.each(COMPRESSIONS)('reads batches written here with %s', async (compression) => {
    for (const [count, valueBytes] of [
      [1, 5000],
      [50, 200],
      [400, 4000],
    ] as const) {
      const records = sampleRecords(count, count, valueBytes);
      const batch = await buildBatch(records, compression);
      if (count > 1) expect(codecAt(batch, 0)).toBe(COMPRESSIONS.indexOf(compression));
      expect((await read(batch)).map(text)).toEqual(expectedText(records));
    }
  });

  test('reads a whole segment written here: every codec, control batches, offsets stamped', async () => {
    const segment = await sampleSegment(5_000_000_000, 3);
    const records = await read(segment.bytes);
    expect(records.map((record) => Number(record.offset))).toEqual(
      Array.from({ length: segment.endOffset - segment.baseOffset }, (_, i) => segment.baseOffset + i),
    );
    const data = records.filter((record) => !record.isControlRecord);
    expect(records).toHaveLength(data.length + 3);
    let checked = 0;
    for (const { records: inputs } of segment.batches) {
      const part = data.slice(checked, checked + inputs.length);
      expect(part.map(text)).toEqual(expectedText(inputs, Number(part[0]!.offset)));
      checked += inputs.length;
    }
    expect(checked).toBe(data.length);
  });

  test('reads a compacted segment: gaps, empty batches, delete horizons, producers without records', async () => {
    const segment = await compactedSegment();
    const data = (await read(segment.bytes)).filter((record) => !record.isControlRecord);
    const told = data.map(({ offset, timestamp, key, value }) => [offset, timestamp, hex(key), hex(value)]);
    const wanted = segment.records.map(({ offset, timestamp, key, value }) => [
      String(offset),
      String(timestamp),
      key === null ? null : hex(key),
      value === null ? null : hex(value),
    ]);
    expect(told).toEqual(wanted);
  });

  test.each(COMPRESSIONS)('writes batches with %s that are valid and read here', async (compression) => {
    for (const [count, valueBytes] of [
      [2, 5000],
      [50, 200],
      [400, 4000],
    ] as const) {
      const records = sampleRecords(count, count, valueBytes);
      const times = records.map((record) => record.timestamp!);
      const { buffer } = await RecordBatch({
        compression: COMPRESSIONS.indexOf(compression),
        firstTimestamp: times[0],
        maxTimestamp: Math.max(...times),
        lastOffsetDelta: count - 1,
        records: records.map((record, i) =>
          Record({
            offsetDelta: i,
            timestampDelta: times[i]! - times[0]!,
            key: bytes(record.key),
            value: bytes(record.value),
            headers: headersOf(record),
          }),
        ),
      });
      expect(validateProducedBatch(buffer, 0, buffer.length, 1 << 22)).toBe(buffer.length);
      expect(codecAt(buffer, 0)).toBe(COMPRESSIONS.indexOf(compression));
      const found = await decodeBatchAsync(buffer, 0, buffer.length, { checkCrc: true });
      expect(plain(found)).toEqual(expected(records));
    }
  });
});
