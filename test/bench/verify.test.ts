import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Ledger } from '../../bench/ledger.js';
import { loadEvents, makeTemplates, RecordSource } from '../../bench/payload/record-source.js';
import { findFault, Verifier } from '../../bench/verify.js';
import { CLEAN } from './canned-result.js';

const TEMPLATES = makeTemplates(loadEvents(), 100);
const PRODUCERS = 3;
const EACH = 40;

interface StoredRecord {
  readonly producer: number;
  readonly sequence: number;
  offset: number;
  bytes: Buffer;
}

/** A ledger of records that were all acknowledged, and the log they make: producers in turn. */
function acknowledgedLog() {
  const source = new RecordSource(TEMPLATES, '0badcafe');
  const ledger = new Ledger(PRODUCERS);
  const log: StoredRecord[] = [];
  for (let i = 0; i < PRODUCERS * EACH; i += 1) {
    const producer = i % PRODUCERS;
    const sequence = ledger.send(producer);
    ledger.acknowledge(producer, sequence, i);
    const bytes = Buffer.alloc(100);
    source.fill(bytes, producer, sequence);
    log.push({ producer, sequence, offset: i, bytes });
  }
  return { source, ledger, log };
}

function verify(ledger: Ledger, source: RecordSource, log: readonly StoredRecord[]) {
  const verifier = new Verifier([{ ledger, source }], 0);
  for (const { offset, bytes } of log) {
    verifier.cover(offset, offset + 1);
    verifier.addRecord(offset, bytes, 0, bytes.length);
  }
  return verifier.finish()[0]!;
}

/** Offsets as a log gives them: one after the other. */
function renumber(log: StoredRecord[]): StoredRecord[] {
  return log.map((record, offset) => ({ ...record, offset }));
}

describe('a log that holds exactly what was acknowledged', () => {
  test('is verified whole, and no fault is found', () => {
    const { source, ledger, log } = acknowledgedLog();
    const found = verify(ledger, source, log);
    expect(found).toEqual({ ...CLEAN, verified: PRODUCERS * EACH });
    expect(findFault(found, 'all')).toBeUndefined();
  });
});

describe('every single fault is reported, wherever it is', () => {
  const index = fc.integer({ min: 0, max: PRODUCERS * EACH - 1 });

  test('a record that is missing, the others moved up', () => {
    fc.assert(
      fc.property(index, (at) => {
        const { source, ledger, log } = acknowledgedLog();
        const found = verify(ledger, source, renumber(log.toSpliced(at, 1)));
        expect(found.lost).toBe(1);
        expect(found.misplaced).toBe(PRODUCERS * EACH - 1 - at);
        expect(findFault(found, 1)).toMatch(/1 lost/);
      }),
    );
  });

  test('a record that is missing, its offset left empty', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: PRODUCERS * EACH - 2 }), (at) => {
        const { source, ledger, log } = acknowledgedLog();
        const found = verify(ledger, source, log.toSpliced(at, 1));
        expect([found.lost, found.holes, found.misplaced]).toEqual([1, 1, 0]);
      }),
    );
  });

  test('a record that is there twice', () => {
    fc.assert(
      fc.property(index, (at) => {
        const { source, ledger, log } = acknowledgedLog();
        const found = verify(ledger, source, renumber([...log, log[at]!]));
        expect([found.duplicates, found.lost]).toEqual([1, 0]);
        expect(findFault(found, 0)).toMatch(/1 duplicate/);
      }),
    );
  });

  test('two records of one producer that changed places', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: PRODUCERS * (EACH - 1) - 1 }), (at) => {
        const { source, ledger, log } = acknowledgedLog();
        const swapped = [...log];
        [swapped[at], swapped[at + PRODUCERS]] = [log[at + PRODUCERS]!, log[at]!];
        const found = verify(ledger, source, renumber(swapped));
        expect([found.outOfOrder, found.misplaced, found.lost]).toEqual([1, 2, 0]);
        expect(findFault(found, 0)).toMatch(/out of order/);
      }),
    );
  });

  test('a record of which one bit flipped', () => {
    fc.assert(
      fc.property(index, fc.integer({ min: 0, max: 799 }), (at, bit) => {
        const { source, ledger, log } = acknowledgedLog();
        const bytes = Buffer.from(log[at]!.bytes);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        log[at]!.bytes = bytes;
        const found = verify(ledger, source, log);
        // In the identity it becomes a stranger, anywhere else it is damaged; the acknowledged one is gone either way.
        expect(found.corrupt + found.foreign).toBe(1);
        expect(found.lost).toBe(1);
        expect(findFault(found, 'all')).toBeDefined();
      }),
    );
  });

  test('a record of another run', () => {
    const { source, ledger, log } = acknowledgedLog();
    const stranger = Buffer.alloc(100);
    new RecordSource(TEMPLATES, 'deadbeef').fill(stranger, 0, 0);
    const found = verify(ledger, source, [...log, { producer: 0, sequence: 0, offset: log.length, bytes: stranger }]);
    expect([found.foreign, found.lost]).toEqual([1, 0]);
  });

  test('a record that was never sent', () => {
    const { source, ledger, log } = acknowledgedLog();
    const early = Buffer.alloc(100);
    source.fill(early, 0, EACH);
    const found = verify(ledger, source, [...log, { producer: 0, sequence: EACH, offset: log.length, bytes: early }]);
    expect(found.foreign).toBe(1);
  });
});

describe('records without an acknowledgement', () => {
  test('may be there or not: it is counted, and no fault', () => {
    const { source, ledger, log } = acknowledgedLog();
    const failed = ledger.send(0);
    ledger.fail(0, failed);
    ledger.send(1);
    const bytes = Buffer.alloc(100);
    source.fill(bytes, 0, failed);
    const found = verify(ledger, source, [...log, { producer: 0, sequence: failed, offset: log.length, bytes }]);
    expect([found.unacknowledged, found.lost]).toEqual([1, 0]);
    expect(findFault(found, 'all')).toBeUndefined();
  });

  test('under acks: 0, which gives no offsets, a missing record is counted and is no fault', () => {
    const source = new RecordSource(TEMPLATES, '0badcafe');
    const ledger = new Ledger(1);
    ledger.acknowledge(0, ledger.send(0), -1);
    const found = verify(ledger, source, []);
    expect(found.lost).toBe(1);
    expect(findFault(found, 0)).toBeUndefined();
    expect(findFault(found, 1)).toMatch(/1 lost/);
  });
});

describe('a log that holds the records of several runs', () => {
  test('is told apart by run: each has its own verdict', () => {
    const runs = ['0badcafe', 'deadbeef'].map((id) => ({
      ledger: new Ledger(1),
      source: new RecordSource(TEMPLATES, id),
    }));
    const log: Buffer[] = [];
    for (let i = 0; i < 20; i += 1) {
      const { ledger, source } = runs[i % 2]!;
      const sequence = ledger.send(0);
      ledger.acknowledge(0, sequence, i);
      const bytes = Buffer.alloc(100);
      source.fill(bytes, 0, sequence);
      log.push(bytes);
    }
    const verifier = new Verifier(runs, 0);
    for (const [offset, bytes] of log.entries()) {
      verifier.cover(offset, offset + 1);
      // The second run lost its third record.
      if (offset !== 5) verifier.addRecord(offset, bytes, 0, bytes.length);
    }
    const [first, second] = verifier.finish();
    expect(findFault(first!, 'all')).toBeUndefined();
    expect(findFault(second!, 'all')).toMatch(/^1 lost \(lost: record 2 of producer 0, acknowledged at offset 5\)$/);
    expect([first!.verified, second!.verified]).toEqual([10, 9]);
  });
});
