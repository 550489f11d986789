/** The records and segments that are passed to other programs: made from a seed, the same in every run. */
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { baseOffsetAt, lastOffsetAt, stampBatch } from '../../src/record/record-batch.js';
import { COMPRESSIONS, type Compression, type RecordInput } from '../../src/record/types.js';
import { buildBatch } from '../record/records.js';

export const START_TIME = 1_700_000_000_000;
const CONTROL_TYPE = 1000;

/** A linear congruential generator: quality does not matter here, repeatability does. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

/** A mix of text, noise, empty and null; `sized` records also reach several hundred kilobytes in all. */
export function sampleRecords(seed: number, count: number, valueBytes = 200): RecordInput[] {
  const random = generator(seed);
  const noise = (bytes: number) => Buffer.from(Array.from({ length: bytes }, () => random(256)));
  return Array.from({ length: count }, (_, i) => {
    const kind = random(8);
    const text = `{"n":${i},"place":"10 km NNE of Größe","mag":${random(90) / 10}}`.repeat(1 + random(valueBytes / 50));
    return {
      timestamp: START_TIME + i * 7 + random(1000),
      key: kind === 0 ? null : kind === 1 ? '' : `key-${random(50)}`,
      value: kind === 2 ? null : kind === 3 ? '' : kind === 4 ? noise(random(valueBytes)) : text,
      headers: Array.from({ length: random(3) }, (_, h) => ({
        key: h === 0 ? 'trace' : `überschrift-${random(9)}`,
        value: noise(random(6)),
      })),
    };
  });
}

/** A whole segment: batches in every codec one after another, control batches between them, stamped by three leaders. */
export async function sampleSegment(baseOffset: number, rounds: number) {
  const parts: Buffer[] = [];
  const batches: { records: RecordInput[]; compression: Compression }[] = [];
  let next = baseOffset;
  for (let round = 0; round < rounds; round++) {
    const control = encodeControlBatch(CONTROL_TYPE, Buffer.from('leader'), next++, 3 + 2 * round, START_TIME);
    parts.push(control);
    for (const compression of COMPRESSIONS) {
      const records = sampleRecords(round * 10 + COMPRESSIONS.indexOf(compression), 60);
      const batch = await buildBatch(records, compression);
      stampBatch(batch, 0, next, 3 + 2 * round);
      batches.push({ records, compression });
      parts.push(batch);
      next = lastOffsetAt(batch, 0) + 1;
    }
  }
  return { bytes: Buffer.concat(parts), parts, batches, baseOffset: baseOffsetAt(parts[0]!, 0), endOffset: next };
}
