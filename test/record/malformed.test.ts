import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { VarveError } from '../../src/errors.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { codecFor } from '../../src/record/codecs.js';
import { decodeBatch, decodeBatchAsync, isSyncDecodable } from '../../src/record/decode.js';
import { DEFAULT_DECOMPRESSION_LIMITS } from '../../src/record/limits.js';
import { CRC_AT, CRC_START } from '../../src/record/record-batch.js';
import { COMPRESSIONS, type Compression } from '../../src/record/types.js';
import { validateProducedBatch, validateStoredBatch } from '../../src/record/validate-batch.js';
import { buildBatch, plain, recordInputs } from './records.js';

const ANY = 1 << 30;
/** Errors that bad bytes may become. */
const FAULTS = ['CORRUPT_BATCH', 'UNSUPPORTED_CODEC', 'BATCH_TOO_LARGE', 'INVALID_BATCH'];

function sealCrc(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch, CRC_START, batch.length), CRC_AT);
  return batch;
}

/** Runs it; a VarveError of a fitting code is the outcome, anything else that is thrown fails the test. */
async function outcome(run: () => unknown): Promise<string> {
  try {
    await run();
    return 'accepted';
  } catch (error) {
    expect(error).toBeInstanceOf(VarveError);
    expect(FAULTS).toContain((error as VarveError).code);
    return (error as VarveError).code;
  }
}

const damage = fc.record({
  /** Where, as a fraction of the batch. */
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  flip: fc.integer({ min: 1, max: 255 }),
});

describe.each(COMPRESSIONS)('a damaged batch with %s', (compression) => {
  test('never passes validation when what the CRC covers has changed', async () => {
    await fc.assert(
      fc.asyncProperty(recordInputs, damage, async (inputs, { at, flip }) => {
        const batch = await buildBatch(inputs, compression);
        const pos = CRC_AT + Math.floor(at * (batch.length - CRC_AT));
        batch[pos]! ^= flip;
        expect(await outcome(() => validateProducedBatch(batch, 0, batch.length, ANY))).not.toBe('accepted');
        expect(await outcome(() => validateStoredBatch(batch, 0, batch.length, ANY))).not.toBe('accepted');
      }),
      { numRuns: 200 },
    );
  });

  test('gives a typed error or records, never anything else, even when its CRC was made to match', async () => {
    await fc.assert(
      fc.asyncProperty(recordInputs, fc.array(damage, { minLength: 1, maxLength: 3 }), async (inputs, damages) => {
        const batch = await buildBatch(inputs, compression);
        for (const { at, flip } of damages) {
          const pos = CRC_START + Math.floor(at * (batch.length - CRC_START));
          batch[pos]! ^= flip;
        }
        sealCrc(batch);
        const viaPromise = await outcome(() => decodeBatchAsync(batch));
        if (isKnownCodec(batch) && isSyncDecodable(batch, 0)) {
          expect(await outcome(() => decodeBatch(batch))).toBe(viaPromise);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('is refused at every length it can be cut to', async () => {
    const batch = await buildBatch(
      Array.from({ length: 20 }, (_, i) => ({ timestamp: i, key: `k${i}`, value: 'some text, some text, some text' })),
      compression,
    );
    for (let length = 0; length < batch.length; length++) {
      const cut = Buffer.from(batch.subarray(0, length));
      expect(await outcome(() => validateProducedBatch(cut, 0, cut.length, ANY))).toBe('CORRUPT_BATCH');
      if (length < 61) continue;
      // The same cut with a length and a CRC that match it: the records themselves have to tell.
      cut.writeInt32BE(length - 12, 8);
      sealCrc(cut);
      expect(await outcome(() => decodeBatchAsync(cut))).not.toBe('accepted');
    }
  });
});

function isKnownCodec(batch: Buffer): boolean {
  return (batch.readInt16BE(21) & 7) < COMPRESSIONS.length;
}

describe('random bytes behind a valid header', () => {
  test.each(COMPRESSIONS)('decode to a typed error or to records with %s', async (compression) => {
    const header = (await buildBatch([{ timestamp: 1 }])).subarray(0, 61);
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.integer({ min: 0, max: 2 ** 31 - 1 }),
        async (noise, count) => {
          const batch = Buffer.concat([header, noise]);
          batch.writeInt32BE(batch.length - 12, 8);
          batch.writeInt16BE(COMPRESSIONS.indexOf(compression), 21);
          batch.writeInt32BE(count - 1, 23);
          batch.writeInt32BE(count, 57);
          await outcome(() => decodeBatchAsync(sealCrc(batch)));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('validation', () => {
  async function sample(): Promise<Buffer> {
    return await buildBatch([
      { timestamp: 1, value: 'a' },
      { timestamp: 2, value: 'b' },
    ]);
  }
  function produced(batch: Buffer, limit = batch.length, maxBatchBytes = ANY): () => number {
    return () => validateProducedBatch(batch, 0, limit, maxBatchBytes);
  }
  function error(code: string, message: RegExp): unknown {
    return expect.objectContaining({ code, message: expect.stringMatching(message) });
  }

  test('names the fault of each kind of bad header', async () => {
    const edits: [string, (batch: Buffer) => void, string, RegExp][] = [
      ['magic', (batch) => batch.writeInt8(1, 16), 'CORRUPT_BATCH', /magic 1/],
      ['a negative length', (batch) => batch.writeInt32BE(-5, 8), 'CORRUPT_BATCH', /says it is 7 bytes/],
      ['a length below the header', (batch) => batch.writeInt32BE(48, 8), 'CORRUPT_BATCH', /says it is 60 bytes/],
      ['a length beyond the bytes', (batch) => batch.writeInt32BE(500, 8), 'CORRUPT_BATCH', /512 bytes long/],
      ['an unknown codec', (batch) => batch.writeInt16BE(6, 21), 'UNSUPPORTED_CODEC', /codec 6/],
      ['the control bit', (batch) => batch.writeInt16BE(0x20, 21), 'INVALID_BATCH', /control bit/],
      ['a delete horizon', (batch) => batch.writeInt16BE(0x40, 21), 'INVALID_BATCH', /delete horizon/],
      ['a count that does not match', (batch) => batch.writeInt32BE(3, 57), 'INVALID_BATCH', /3 records/],
      ['a negative count', (batch) => batch.writeInt32BE(-1, 57), 'INVALID_BATCH', /-1 records/],
      ['a time beyond 2^53', (batch) => batch.writeInt32BE(0x7fffffff, 35), 'CORRUPT_BATCH', /max timestamp/],
    ];
    for (const [what, edit, code, message] of edits) {
      const batch = await sample();
      edit(batch);
      expect(produced(sealCrc(batch)), what).toThrow(error(code, message));
    }
  });

  test('says so when its announced end lies beyond the bytes', async () => {
    const batch = await buildBatch([{ value: Buffer.from('x') }], 'none');
    expect(() => validateStoredBatch(batch, 0, batch.length + 7, ANY)).toThrow(
      `said to end at ${batch.length + 7}, the bytes end at ${batch.length}`,
    );
  });

  test('refuses an empty batch from a producer, accepts one that compaction left', async () => {
    const batch = (await sample()).subarray(0, 61);
    batch.writeInt32BE(49, 8);
    batch.writeInt32BE(0, 57);
    batch.writeInt32BE(3, 12);
    sealCrc(batch);
    expect(produced(batch)).toThrow(error('INVALID_BATCH', /0 records/));
    expect(validateStoredBatch(batch, 0, batch.length, ANY)).toBe(61);
    expect(decodeBatch(batch)).toEqual([]);
  });

  test('refuses a batch over the limit before it looks for all of its bytes', async () => {
    const batch = await sample();
    batch.writeInt32BE(5000, 8);
    expect(produced(batch, batch.length, 4096)).toThrow(error('BATCH_TOO_LARGE', /5012 bytes, the limit is 4096/));
  });

  test('refuses offsets and epochs that no leader stamps', async () => {
    const stored = (edit: (batch: Buffer) => void) => async () => {
      const batch = await sample();
      batch.writeInt32BE(1, 12);
      edit(batch);
      validateStoredBatch(sealCrc(batch), 0, batch.length, ANY);
    };
    await expect(stored(() => {})()).resolves.toBeUndefined();
    await expect(stored((batch) => batch.writeInt32BE(-1, 12))()).rejects.toThrow(error('CORRUPT_BATCH', /epoch -1/));
    await expect(stored((batch) => batch.writeInt32BE(-1, 0))()).rejects.toThrow(error('CORRUPT_BATCH', /base offset/));
    await expect(stored((batch) => batch.writeInt32BE(0x200000, 0))()).rejects.toThrow(
      error('CORRUPT_BATCH', /base offset/),
    );
    await expect(stored((batch) => batch.writeInt32BE(-1, 23))()).rejects.toThrow(error('CORRUPT_BATCH', /delta -1/));
    await expect(stored((batch) => batch.writeInt32BE(0, 23))()).rejects.toThrow(error('CORRUPT_BATCH', /2 records/));
  });

  test('works anywhere in a buffer and stays within the limit', async () => {
    const batch = await sample();
    const buf = Buffer.concat([Buffer.alloc(7), batch, batch]);
    const next = 7 + validateProducedBatch(buf, 7, buf.length, ANY);
    expect(validateProducedBatch(buf, next, buf.length, ANY)).toBe(batch.length);
    expect(() => validateProducedBatch(buf, next, buf.length - 1, ANY)).toThrow(error('CORRUPT_BATCH', /bytes long/));
  });
});

describe('a decompression bomb', () => {
  const MIB = 1 << 20;
  const limits = { maxBytes: 2 * MIB, maxRatio: 20, ratioFreeBytes: MIB };
  const names = COMPRESSIONS.filter((name): name is Exclude<Compression, 'none'> => name !== 'none');

  test.each(names)('is refused with %s, whichever bound it breaks', async (compression) => {
    const codec = codecFor(compression);
    const forms = [
      codec.decompress,
      async (...args: Parameters<typeof codec.decompress>) => codec.decompressSync?.(...args),
    ];
    for (const decompress of codec.decompressSync ? forms : forms.slice(0, 1)) {
      const fair = await codec.compress(Buffer.alloc(MIB));
      expect(await decompress(fair, limits)).toHaveLength(MIB);
      const refused = { code: 'BATCH_TOO_LARGE' };
      const large = await codec.compress(Buffer.alloc(3 * MIB));
      await expect(decompress(large, { ...limits, maxRatio: 1e9 })).rejects.toMatchObject(refused);
      const dense = await codec.compress(Buffer.alloc(2 * MIB));
      if (dense.length < (2 * MIB) / 22) await expect(decompress(dense, limits)).rejects.toMatchObject(refused);
    }
  });

  test.each(names)('inside a batch is refused with the default limits with %s', async (compression) => {
    const { maxBytes } = DEFAULT_DECOMPRESSION_LIMITS;
    const header = (await buildBatch([{ timestamp: 1 }])).subarray(0, 61);
    const bomb = await codecFor(compression).compress(Buffer.alloc(maxBytes + (1 << 20)));
    const batch = Buffer.concat([header, bomb]);
    batch.writeInt32BE(batch.length - 12, 8);
    batch.writeInt16BE(COMPRESSIONS.indexOf(compression), 21);
    await expect(decodeBatchAsync(sealCrc(batch))).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  test('made of many small gzip members is refused as well', async () => {
    const bomb = Buffer.concat(Array<Buffer>(8).fill(gzipSync(Buffer.alloc(MIB))));
    await expect(codecFor('gzip').decompress(bomb, limits)).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });

  test('that lies about its size gets no memory for the lie', async () => {
    // Snappy: four bytes that claim 4 GiB. LZ4: a frame that claims 2^60 bytes. Zstandard: a window of 2^41 bytes.
    const snappy = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
    await expect(codecFor('snappy').decompress(snappy, limits)).rejects.toMatchObject({ code: 'UNSUPPORTED_CODEC' });
    const lz4 = await codecFor('lz4').compress(Buffer.alloc(100));
    lz4[13] = 0x10;
    await expect(codecFor('lz4').decompress(lz4, limits)).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
    const zstd = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00]);
    await expect(codecFor('zstd').decompress(zstd, limits)).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' });
  });
});

describe('the records of a batch', () => {
  test('with the right bytes in the wrong number are CORRUPT_BATCH', async () => {
    for (const count of [1, 3, 2 ** 31 - 1]) {
      const batch = await buildBatch([{ timestamp: 1 }, { timestamp: 2 }]);
      batch.writeInt32BE(count, 57);
      expect(() => decodeBatch(sealCrc(batch))).toThrow(expect.objectContaining({ code: 'CORRUPT_BATCH' }));
    }
  });

  test('are not affected by bytes around the batch', () => {
    const builder = new BatchBuilder();
    builder.append(1, 'k', 'v');
    const batch = builder.finish();
    const buf = Buffer.concat([Buffer.alloc(100, 0xff), batch, Buffer.alloc(100, 0xff)]);
    expect(plain(decodeBatch(buf, 100, 100 + batch.length))).toEqual(plain(decodeBatch(batch)));
  });
});
