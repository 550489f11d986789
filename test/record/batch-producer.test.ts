// The public API alone: everything an embedded idempotent producer needs is exported.
import { beforeEach, describe, expect, test } from 'vitest';
import { BatchBuilder, type BatchProducer, type Compression, type Log } from '../../src/main.js';
import { sharedStore } from '../log/shared-store.js';

const openLog = sharedStore();
let log: Log;

beforeEach(async () => {
  log = await openLog();
});

const producer: BatchProducer = { producerId: 2 ** 40, producerEpoch: 3, baseSequence: 0 };

async function batchOf(values: string[], of: BatchProducer, compression: Compression = 'none'): Promise<Buffer> {
  const builder = new BatchBuilder();
  for (const value of values) builder.append(1000, null, value);
  return compression === 'none' ? builder.finish(of) : builder.finishCompressed(compression, of);
}

function append(batch: Buffer) {
  return log.appendProduced(batch, 0, batch.length, Math.max(log.lastEpoch, 0));
}

describe.each<Compression>(['none', 'gzip', 'lz4'])('batches of an idempotent producer, %s', (compression) => {
  test('are stored once, however often they are sent', async () => {
    const text = 'compressible '.repeat(20);
    const first = () => batchOf([text, 'b'], producer, compression);
    const second = () => batchOf([text], { ...producer, baseSequence: 2 }, compression);
    expect(append(await first())).toEqual({ baseOffset: 0, lastOffset: 1 });
    expect(append(await second())).toEqual({ baseOffset: 2, lastOffset: 2 });
    expect(append(await first())).toEqual({ baseOffset: 0, lastOffset: 1, duplicate: true });
    expect(append(await second())).toEqual({ baseOffset: 2, lastOffset: 2, duplicate: true });
    await log.flush();
    expect((await log.read(0)).records.map(({ value }) => String(value))).toEqual([text, 'b', text]);
  });
});

test('a gap and a fenced epoch are refused', async () => {
  append(await batchOf(['a'], producer));
  const gap = await batchOf(['b'], { ...producer, baseSequence: 5 });
  expect(() => append(gap)).toThrow(expect.objectContaining({ code: 'OUT_OF_ORDER_SEQUENCE' }));
  const fenced = await batchOf(['b'], { ...producer, producerEpoch: 2 });
  expect(() => append(fenced)).toThrow(expect.objectContaining({ code: 'PRODUCER_FENCED' }));
  expect(append(await batchOf(['b'], { ...producer, producerEpoch: 4 }))).toEqual({ baseOffset: 1, lastOffset: 1 });
});

test.each<Compression>(['none', 'gzip'])(
  'a transaction is read once it is committed, never when aborted (%s)',
  async (compression) => {
    const send = async (value: string, baseSequence: number) =>
      append(await batchOf([value], { ...producer, baseSequence, transactional: true }, compression));
    // One short record does not shrink: the bit survives being left uncompressed.
    await send('kept', 0);
    expect(log.lastStableOffset).toBe(0);
    log.appendMarker(producer.producerId, producer.producerEpoch, 'commit', 0);
    await send('dropped', 1);
    log.appendMarker(producer.producerId, producer.producerEpoch, 'abort', 0);
    await log.flush();
    const { records } = await log.read(0, { isolation: 'read_committed' });
    expect(records.map(({ value }) => String(value))).toEqual(['kept']);
  },
);

test.each<[object, RegExp]>([
  [{ producerId: -1 }, /producerId -1: give a whole number from 0/],
  [{ producerId: 2 ** 53 }, /producerId 9007199254740992/],
  [{ producerId: '5' }, /producerId '5'/],
  [{ producerId: undefined }, /producerId undefined: .*producerId, producerEpoch and baseSequence/],
  [{ producerEpoch: 32_768 }, /producerEpoch 32768: give a whole number from 0 to 32767/],
  [{ producerEpoch: 0.5 }, /producerEpoch 0.5/],
  [{ baseSequence: 2 ** 31 }, /baseSequence 2147483648: .* from 0 to 2147483647/],
  [{ baseSequence: undefined }, /baseSequence undefined/],
  [{ transactional: 1 }, /transactional 1: give true or false/],
  [{ sequence: 1 }, /no option "sequence"/],
])('%j is refused, and the records stay', async (wrong, message) => {
  const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) });
  const builder = new BatchBuilder();
  builder.append(1000, null, 'a');
  const of = { ...producer, ...wrong } as BatchProducer;
  expect(() => builder.finish(of)).toThrow(refused);
  await expect(builder.finishCompressed('gzip', of)).rejects.toEqual(refused);
  expect(builder.count).toBe(1);
  expect(append(builder.finish(producer))).toEqual({ baseOffset: 0, lastOffset: 0 });
});
