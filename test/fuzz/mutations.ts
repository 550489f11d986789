// Changes to real bytes, as disks, crashes and strangers make them.
import fc from 'fast-check';

/** Places are fractions, so that one list of changes fits bytes of any length. */
export type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly mask: number }
  | { readonly kind: 'number'; readonly at: number; readonly value: number; readonly bytes: 1 | 2 | 4 | 8 }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'remove' | 'repeat' | 'zero'; readonly at: number; readonly length: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array };

const place = fc.double({ min: 0, max: 1, noNaN: true });
const length = fc.integer({ min: 1, max: 300 });
/** What decoders trip over: bounds, and numbers that look small but are not. */
const number = fc.oneof(
  fc.constantFrom(0, 1, -1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 2 ** 53),
  fc.integer(),
);

export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('flip' as const), at: place, mask: fc.integer({ min: 1, max: 255 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('number' as const),
      at: place,
      value: number,
      bytes: fc.constantFrom<1 | 2 | 4 | 8>(1, 2, 4, 8),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), at: place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('remove' as const, 'repeat' as const, 'zero' as const),
      at: place,
      length,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      at: place,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 100 }),
    }),
  },
);

export const mutations = fc.array(mutation, { minLength: 0, maxLength: 4 });

/** Runs of each property; VARVE_FUZZ_RUNS=100000 for a long one. */
export const RUNS = Number(process.env.VARVE_FUZZ_RUNS ?? 300);

export function mutate(original: Buffer, changes: readonly Mutation[]): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (const change of changes) bytes = apply(bytes, change);
  return bytes;
}

function apply(bytes: Buffer, change: Mutation): Buffer {
  const at = Math.floor(change.at * bytes.length);
  switch (change.kind) {
    case 'flip':
      if (at < bytes.length) bytes[at]! ^= change.mask;
      return bytes;
    case 'number': {
      const value = Buffer.alloc(8);
      value.writeBigInt64BE(BigInt.asIntN(64, BigInt(change.value)));
      value.copy(bytes, at, 8 - change.bytes);
      return bytes;
    }
    case 'cut':
      return bytes.subarray(0, at);
    case 'remove':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + change.length)]);
    case 'repeat':
      return Buffer.concat([bytes.subarray(0, at + change.length), bytes.subarray(at)]);
    case 'zero':
      bytes.fill(0, at, Math.min(bytes.length, at + change.length));
      return bytes;
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), change.bytes, bytes.subarray(at)]);
  }
}
