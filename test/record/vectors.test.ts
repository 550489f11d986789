/**
 * Batches as another program (kafka-python 2.0.2) wrote them, byte for byte: what is stored today must be readable for as
 * long as the format has this name.
 */
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../src/disk/addon.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { decodeBatchAsync } from '../../src/record/decode.js';
import { EPOCH_AT } from '../../src/record/record-batch.js';
import { COMPRESSIONS, type Compression } from '../../src/record/types.js';
import { validateProducedBatch } from '../../src/record/validate-batch.js';
import { expected, fill, plain } from './records.js';

const LAYERS = 'layer upon layer upon layer upon layer upon layer upon layer upon layer';
const INPUTS = [
  {
    timestamp: 1_700_000_000_000,
    key: 'key',
    value: LAYERS,
    headers: [
      { key: 'trace', value: Buffer.from([1, 2]) },
      { key: 'empty', value: Buffer.alloc(0) },
      { key: 'null', value: null },
    ],
  },
  { timestamp: 1_700_000_000_123, key: null, value: `${LAYERS}!` },
  { timestamp: 1_699_999_999_000, key: '', value: null },
];

const VECTORS: { readonly [name in Compression]: readonly string[] } = {
  none: [
    '0000000000000000000000f40000000002a07a8ac40000000000020000018bcfe568000000018bcfe5687bffffffffffffffffffffffff',
    'ffff00000003ce01000000066b65798e016c617965722075706f6e206c617965722075706f6e206c617965722075706f6e206c61796572',
    '2075706f6e206c617965722075706f6e206c617965722075706f6e206c61796572060a74726163650401020a656d70747900086e756c6c',
    '01a00100f601020190016c617965722075706f6e206c617965722075706f6e206c617965722075706f6e206c617965722075706f6e206c',
    '617965722075706f6e206c617965722075706f6e206c6179657221000e00cf0f04000100',
  ],
  gzip: [
    '0000000000000000000000890000000002be86971e0001000000020000018bcfe568000000018bcfe5687bffffffffffffffffffffffff',
    'ffff000000031f8b0800f4f8036b02ff3bc7c8c0c0c0969d5ad9c7989358995aa4505a909fa74009938daba4283139958591892b35b7a0',
    'a4928123af342787710123c3374626c609d4b24691818fe13c3f0b032303009d012d79c3000000',
  ],
  snappy: [
    '00000000000000000000009100000000024ef71cdc0002000000020000018bcfe568000000018bcfe5687bffffffffffffffffffffffff',
    'ffff0000000382534e415050590000000001000000010000004cc30154ce01000000066b65798e016c617965722075706f6e20ee0b0078',
    '060a74726163650401020a656d70747900086e756c6c01a00100f601020190fe670011672421000e00cf0f04000100',
  ],
  lz4: [
    '00000000000000000000009200000000022b9f94740003000000020000018bcfe568000000018bcfe5687bffffffffffffffffffffffff',
    'ffff0000000304224d186840c300000000000000f24a000000ff07ce01000000066b65798e016c617965722075706f6e200b0029ff1006',
    '0a74726163650401020a656d70747900086e756c6c01a00100f601020190670035a021000e00cf0f0400010000000000',
  ],
  zstd: [
    '0000000000000000000000840000000002a34abfe30004000000020000018bcfe568000000018bcfe5687bffffffffffffffffffffffff',
    'ffff0000000328b52ffd20c3550200f403ce01000000066b65798e016c617965722075706f6e20060a74726163650401020a656d707479',
    '00086e756c6c01a00100f60102019021000e00cf0f040001000200971a5027964a13',
  ],
};

function vector(compression: Compression): Buffer {
  return Buffer.from(VECTORS[compression].join(''), 'hex');
}

describe.each(COMPRESSIONS)('the batch of another program with %s', (compression) => {
  test('is valid and decodes to its records', async () => {
    const batch = vector(compression);
    expect(validateProducedBatch(batch, 0, batch.length, 1 << 20)).toBe(batch.length);
    expect(plain(await decodeBatchAsync(batch))).toEqual(expected(INPUTS));
  });
});

test('the same records, uncompressed, are the same bytes here', () => {
  const batch = fill(new BatchBuilder(), INPUTS).finish();
  // That program stamps epoch 0 where Kafka's own producer, and this one, say "none yet".
  expect(batch.readInt32BE(EPOCH_AT)).toBe(-1);
  batch.writeInt32BE(0, EPOCH_AT);
  expect(batch.toString('hex')).toBe(vector('none').toString('hex'));
});

test('CRC32C is the one of the standard', () => {
  expect(crc32c(Buffer.from('..123456789.'), 2, 11)).toBe(0xe3069283);
});
