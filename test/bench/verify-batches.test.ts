import { describe, expect, test } from 'vitest';
import { Ledger } from '../../bench/ledger.js';
import { loadEvents, makeTemplates, RecordSource } from '../../bench/payload/record-source.js';
import { Verifier } from '../../bench/verify.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { encodeControlBatch } from '../../src/record/control-batch.js';
import { stampBatch } from '../../src/record/record-batch.js';
import { COMPRESSIONS, type Compression } from '../../src/record/types.js';

const TEMPLATES = makeTemplates(loadEvents(), 100);
const BATCHES = 4;
const EACH = 25;

/** A log of batches with a control batch in the middle, and the ledger of what was acknowledged. */
async function storedLog(compression: Compression) {
  const source = new RecordSource(TEMPLATES, '0badcafe');
  const ledger = new Ledger(1);
  const batches: Buffer[] = [];
  let offset = 100;
  for (let b = 0; b < BATCHES; b += 1) {
    const builder = new BatchBuilder();
    for (let i = 0; i < EACH; i += 1) {
      const value = Buffer.alloc(100);
      const sequence = ledger.send(0);
      source.fill(value, 0, sequence);
      builder.append(0, null, value);
      ledger.acknowledge(0, sequence, offset + i);
    }
    const batch = await builder.finishCompressed(compression);
    stampBatch(batch, 0, offset, 1);
    batches.push(batch);
    offset += EACH;
    if (b !== 1) continue;
    batches.push(encodeControlBatch(1000, Buffer.alloc(0), offset, 2, 0));
    offset += 1;
  }
  return { source, ledger, batches };
}

describe.each(COMPRESSIONS)('batches as a log holds them (%s)', (compression) => {
  test('are verified record by record, over a control batch, and a batch that was given before is passed over', async () => {
    const { source, ledger, batches } = await storedLog(compression);
    const verifier = new Verifier([{ ledger, source }], 100);
    await verifier.addBatches(batches.slice(0, 2));
    await verifier.addBatches(batches.slice(1));
    expect(verifier.finish()[0]!).toMatchObject({
      verified: BATCHES * EACH,
      lost: 0,
      duplicates: 0,
      holes: 0,
      findings: [],
    });
    const ratio = verifier.plainBytes / verifier.storedBytes;
    if (compression === 'none') expect(ratio).toBe(1);
    else expect(ratio).toBeGreaterThan(1.3);
  });

  test('that are damaged are found, and what follows them is still read', async () => {
    const { source, ledger, batches } = await storedLog(compression);
    const damaged = Buffer.from(batches[1]!);
    damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 0x40;
    const verifier = new Verifier([{ ledger, source }], 100);
    await verifier.addBatches(batches.with(1, damaged));
    const found = verifier.finish()[0]!;
    expect(found).toMatchObject({ verified: (BATCHES - 1) * EACH, corrupt: 1, lost: EACH });
    expect(found.findings[0]).toMatch(/damaged batch/);
  });

  test('of which one is missing leave a hole', async () => {
    const { source, ledger, batches } = await storedLog(compression);
    const verifier = new Verifier([{ ledger, source }], 100);
    await verifier.addBatches(batches.toSpliced(3, 1));
    expect(verifier.finish()[0]!).toMatchObject({ holes: EACH, lost: EACH, corrupt: 0 });
  });
});
