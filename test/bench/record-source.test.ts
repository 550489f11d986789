import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  loadEvents,
  MIN_RECORD_BYTES,
  makeTemplates,
  RecordSource,
  runIdentity,
} from '../../bench/payload/record-source.js';

const EVENTS = loadEvents();

function recordsOf(source: RecordSource, producer: number, count: number): Buffer[] {
  return Array.from({ length: count }, (_, sequence) => {
    const record = Buffer.alloc(source.recordBytes);
    source.fill(record, producer, sequence);
    return record;
  });
}

describe('the records of the payload', () => {
  test.each([MIN_RECORD_BYTES, 100, 137, 1024, 5000])('of %d bytes are JSON of exactly that size', (size) => {
    const source = new RecordSource(makeTemplates(EVENTS, size), 'a0b1c2d3');
    for (const record of recordsOf(source, 7, 300)) {
      const text = record.toString('utf8');
      expect(text).toHaveLength(size);
      expect(JSON.parse(text)).toMatchObject({ id: expect.stringMatching(/^a0b1c2d3-07-\d{10}$/) });
    }
  });

  test('carry what real events carry', () => {
    const source = new RecordSource(makeTemplates(EVENTS, 1024), 'a0b1c2d3');
    const [record] = recordsOf(source, 0, 1);
    const first = JSON.parse(EVENTS[0]!) as Record<string, unknown>;
    expect(JSON.parse(record!.toString())).toMatchObject({
      mag: first['mag'],
      place: first['place'],
      time: first['time'],
    });
  });

  test('are told apart and recognised, and only as what they are', () => {
    const templates = makeTemplates(EVENTS, 100);
    const source = new RecordSource(templates, runIdentity(1, 1));
    const other = new RecordSource(templates, runIdentity(1, 2));
    const record = Buffer.alloc(110);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 0, max: 9_999_999_999 }), (producer, sequence) => {
        source.fill(record.subarray(5), producer, sequence);
        expect(source.identify(record, 5, 100)).toEqual({ producer, sequence });
        expect(source.matches(record, 5, producer, sequence)).toBe(true);
        expect(source.matches(record, 5, producer, sequence + 1)).toBe(false);
        expect(other.identify(record, 5, 100)).toBeUndefined();
        expect(source.identify(record, 5, 99)).toBeUndefined();
      }),
    );
  });

  test('do not match once any one byte is another', () => {
    const source = new RecordSource(makeTemplates(EVENTS, 100), 'a0b1c2d3');
    const [record] = recordsOf(source, 3, 1);
    for (let i = 0; i < record!.length; i += 1) {
      const damaged = Buffer.from(record!);
      damaged[i] = (damaged[i] as number) ^ 1;
      expect(source.matches(damaged, 0, 3, 0)).toBe(false);
    }
  });

  test.each([100, 1024])('compress like the events they are made of, not like copies of one (%d bytes)', (size) => {
    const source = new RecordSource(makeTemplates(EVENTS, size), 'a0b1c2d3');
    const made = Buffer.concat(recordsOf(source, 0, Math.floor((256 * 1024) / size)));
    const real = Buffer.from(EVENTS.join('\n')).subarray(0, made.length);
    const factor = (bytes: Buffer) => bytes.length / gzipSync(bytes).length;
    expect(factor(made)).toBeLessThan(1.1 * factor(real));
    expect(factor(made)).toBeGreaterThan(2);
  });

  test('have nonces that do not repeat', () => {
    const source = new RecordSource(makeTemplates(EVENTS, 100), 'a0b1c2d3');
    const nonces = new Set(recordsOf(source, 1, 50_000).map((record) => JSON.parse(record.toString()).n));
    expect(nonces.size).toBe(50_000);
  });

  test('can be made of any lines of text', () => {
    const lines = ['plain text', '{"a":1}', '[1,2,3]', '"quoted \\" text"', 'grüße, 世界', '\u0000 control'];
    const source = new RecordSource(makeTemplates(lines, 200), '00000000');
    for (const record of recordsOf(source, 0, 100)) {
      expect(record).toHaveLength(200);
      expect(() => JSON.parse(record.toString())).not.toThrow();
    }
  });
});

describe('what cannot be', () => {
  test.each([0, MIN_RECORD_BYTES - 1, 1.5, 2 ** 21])('records of %d bytes are refused', (size) => {
    expect(() => makeTemplates(EVENTS, size)).toThrowError(expect.objectContaining({ code: 'INVALID_CONFIG' }));
  });

  test('a payload file that is not there is named', () => {
    expect(() => loadEvents('/nowhere/events.ndjson')).toThrowError(/\/nowhere\/events\.ndjson/);
  });

  test('a run id that is none is refused', () => {
    expect(() => new RecordSource(makeTemplates(EVENTS, 100), 'xyz')).toThrowError(/8 hex digits/);
  });
});
