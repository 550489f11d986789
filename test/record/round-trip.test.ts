import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchBuffers } from '../../src/record/batch-buffers.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { codecFor } from '../../src/record/codecs.js';
import { decodeBatch, decodeBatchAsync, forEachRecord, isSyncDecodable } from '../../src/record/decode.js';
import { readBatchHeader, stampBatch } from '../../src/record/record-batch.js';
import { COMPRESSIONS } from '../../src/record/types.js';
import { validateProducedBatch } from '../../src/record/validate-batch.js';
import { buildBatch, expected, fill, plain, recordInputs } from './records.js';

const ANY = 1 << 30;

describe.each(COMPRESSIONS)('a batch compressed with %s', (compression) => {
  test('gives back every record as it went in', async () => {
    await fc.assert(
      fc.asyncProperty(recordInputs, async (inputs) => {
        const batch = await buildBatch(inputs, compression);
        expect(validateProducedBatch(batch, 0, batch.length, ANY)).toBe(batch.length);
        const records = await decodeBatchAsync(batch, 0, batch.length, { checkCrc: true });
        expect(plain(records)).toEqual(expected(inputs));
        if (isSyncDecodable(batch, 0)) expect(plain(decodeBatch(batch))).toEqual(expected(inputs));
      }),
      { numRuns: 150 },
    );
  });

  test('is compressed when that pays, and left alone when it does not', async () => {
    const repetitive = [{ timestamp: 1, value: 'varve '.repeat(500) }];
    const packed = await buildBatch(repetitive, compression);
    expect(readBatchHeader(packed, 0).codec).toBe(COMPRESSIONS.indexOf(compression));
    const tiny = await buildBatch([{ timestamp: 1, value: 'x' }], compression);
    expect(readBatchHeader(tiny, 0).codec).toBe(0);
    expect(plain(decodeBatch(tiny))).toEqual(expected([{ timestamp: 1, value: 'x' }]));
  });

  test('survives sizes around the block sizes of the codec', async () => {
    const codec = codecFor(compression);
    const limits = { maxBytes: 64 << 20, maxRatio: 1000, ratioFreeBytes: 64 << 20 };
    const noise = Buffer.alloc(5 << 20);
    for (let i = 0, x = 1; i < noise.length; i++, x = (Math.imul(x, 1103515245) + 12345) | 0)
      noise[i] = (x >>> 16) & 0x3f;
    for (const block of [32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20, 4 << 20]) {
      for (const size of [block - 1, block, block + 1]) {
        const input = noise.subarray(0, size);
        const packed = await codec.compress(input);
        expect((await codec.decompress(packed, limits)).equals(input)).toBe(true);
        if (codec.compressSync && codec.decompressSync) {
          expect(codec.decompressSync(codec.compressSync(input), limits).equals(input)).toBe(true);
        }
      }
    }
  });
});

describe('a batch', () => {
  test('keeps its CRC when the leader stamps base offset and epoch', async () => {
    const batch = await buildBatch([
      { timestamp: 5, value: 'a' },
      { timestamp: 6, value: 'b' },
    ]);
    for (const offset of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 3]) {
      stampBatch(batch, 0, offset, 17);
      const header = readBatchHeader(batch, 0);
      expect(header).toMatchObject({ baseOffset: offset, lastOffset: offset + 1, epoch: 17, recordCount: 2 });
      expect(decodeBatch(batch, 0, batch.length, { checkCrc: true }).map((record) => record.offset)).toEqual([
        offset,
        offset + 1,
      ]);
    }
  });

  test('carries the first timestamp as base and the largest as maximum', async () => {
    const batch = await buildBatch([{ timestamp: 500 }, { timestamp: 900 }, { timestamp: 100 }]);
    expect(readBatchHeader(batch, 0)).toMatchObject({ baseTimestamp: 500, maxTimestamp: 900 });
  });

  test('tells null from empty', async () => {
    const [record] = decodeBatch(await buildBatch([{ timestamp: 0, key: '', value: null }]));
    expect(record!.key).toHaveLength(0);
    expect(record!.value).toBeNull();
  });

  test('gives all records the maximum timestamp when the log-append-time bit is set', async () => {
    const batch = await buildBatch([{ timestamp: 500 }, { timestamp: 900 }]);
    batch.writeInt16BE(0x08, 21);
    expect(decodeBatch(batch).map((record) => record.timestamp)).toEqual([900, 900]);
  });

  test('decodes to copies when copies are asked for, to views otherwise', async () => {
    const batch = await buildBatch([{ timestamp: 0, value: 'abc' }]);
    const [view] = decodeBatch(batch);
    const [copy] = decodeBatch(batch, 0, batch.length, { copy: true });
    batch.fill(0, 61);
    expect(view!.value!.toString()).not.toBe('abc');
    expect(copy!.value!.toString()).toBe('abc');
  });

  test('is walked no further once the visitor returns false', async () => {
    const batch = await buildBatch([{ timestamp: 0 }, { timestamp: 0 }, { timestamp: 0 }]);
    let visits = 0;
    forEachRecord(batch, 0, batch.length, () => ++visits < 2);
    expect(visits).toBe(2);
  });
});

describe('the builder', () => {
  test('announces exactly the size that an uncompressed batch has', () => {
    fc.assert(
      fc.property(recordInputs, (inputs) => {
        const builder = fill(new BatchBuilder(), inputs);
        const { sizeBytes, count } = builder;
        expect(count).toBe(inputs.length);
        expect(builder.finish()).toHaveLength(sizeBytes);
      }),
      { numRuns: 200 },
    );
  });

  test('is empty after a batch, and later batches do not touch those handed out', () => {
    const builder = new BatchBuilder();
    const batches: Buffer[] = [];
    for (let i = 0; i < 20; i++) {
      // Sizes on both sides of the one up to which batches are copied out.
      for (let j = 0; j <= i * 8; j++) builder.append(i, `key ${i}`, `value ${i} ${j}`.padEnd(60, '.'));
      batches.push(builder.finish());
      expect(builder.count).toBe(0);
    }
    batches.forEach((batch, i) => {
      const records = decodeBatch(batch, 0, batch.length, { checkCrc: true });
      expect(records).toHaveLength(i * 8 + 1);
      for (const [j, record] of records.entries()) {
        expect(record.value!.toString()).toBe(`value ${i} ${j}`.padEnd(60, '.'));
      }
    });
  });

  test('finishes a batch in place that is the same, and is there until the next record', () => {
    fc.assert(
      fc.property(recordInputs, recordInputs, (first, second) => {
        const builder = new BatchBuilder();
        for (const inputs of [first, second]) {
          const batch = fill(builder, inputs).finishInPlace();
          expect(batch.equals(fill(new BatchBuilder(), inputs).finish())).toBe(true);
          expect(builder.count).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('takes new records while the last batch is being compressed', async () => {
    const builder = new BatchBuilder({ buffers: new BatchBuffers() });
    const pending: Promise<Buffer>[] = [];
    for (let i = 0; i < 8; i++) {
      for (let j = 0; j < 200; j++) builder.append(i, null, `batch ${i} record ${j}`);
      pending.push(builder.finishCompressed('lz4'));
    }
    const batches = await Promise.all(pending);
    for (const [i, batch] of batches.entries()) {
      const records = await decodeBatchAsync(batch, 0, batch.length, { checkCrc: true });
      expect(records.map((record) => record.value!.toString())).toEqual(
        Array.from({ length: 200 }, (_, j) => `batch ${i} record ${j}`),
      );
    }
  });

  test('refuses what cannot be encoded and keeps the batch so far', () => {
    const builder = new BatchBuilder();
    builder.append(1, 'k', 'v');
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    expect(() => builder.append(1.5, 'k', 'v')).toThrow(refused);
    expect(() => builder.append(Number.NaN, 'k', 'v')).toThrow(refused);
    expect(() => builder.append(1, 'k', 7 as unknown as string)).toThrow(refused);
    expect(() => builder.append(1, {} as unknown as string, 'v')).toThrow(refused);
    expect(() => builder.append(1, 'k', 'v', [{ key: 'h', value: 'text' as unknown as Buffer }])).toThrow(refused);
    expect(plain(decodeBatch(builder.finish()))).toEqual(expected([{ timestamp: 1, key: 'k', value: 'v' }]));
    expect(() => builder.finish()).toThrow(refused);
  });
});

describe('the stock of batch buffers', () => {
  test('reuses what came from it once, and ignores everything else', () => {
    const buffers = new BatchBuffers();
    const first = buffers.take(10_000);
    buffers.give(first.subarray(0, 100));
    buffers.give(first);
    expect(buffers.stockBytes).toBe(10_000);
    expect(buffers.take(9_000).buffer).toBe(first.buffer);
    expect(buffers.take(9_000).buffer).not.toBe(first.buffer);
    buffers.give(Buffer.alloc(10_000));
    expect(buffers.stockBytes).toBe(0);
  });

  test('keeps no more than its limit', () => {
    const buffers = new BatchBuffers(25_000);
    for (const buf of [buffers.take(10_000), buffers.take(10_000), buffers.take(10_000)]) buffers.give(buf);
    expect(buffers.stockBytes).toBe(20_000);
  });
});
