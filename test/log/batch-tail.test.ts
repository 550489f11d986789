import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BatchTail } from '../../src/log/batch-tail.js';

test('the ring knows the last batches, whatever was pushed and truncated', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          {
            weight: 5,
            arbitrary: fc.record({ push: fc.integer({ min: 1, max: 1500 }), size: fc.integer({ min: 1, max: 9 }) }),
          },
          { weight: 1, arbitrary: fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }) }) },
        ),
        { maxLength: 12 },
      ),
      (steps) => {
        const tail = new BatchTail();
        let batches: { offset: number; place: number }[] = [];
        let offset = 0;
        let place = 0;
        for (const step of steps) {
          if ('push' in step) {
            for (let i = 0; i < step.push; i++) {
              tail.push(offset, place);
              batches.push({ offset, place });
              offset += step.size;
              place += step.size * 70;
            }
          } else {
            const keep = Math.floor(batches.length * step.cut);
            const at = batches[keep];
            if (at === undefined) continue;
            tail.truncate(at.offset);
            batches = batches.slice(0, keep);
            offset = at.offset;
            place = at.place;
          }
        }
        for (const [i, batch] of batches.entries()) {
          const end = batches[i + 1]?.offset ?? offset;
          const slot = tail.slotOf(end - 1);
          if (slot < 0) {
            // Only the oldest may be missing.
            expect(i).toBeLessThan(batches.length);
            continue;
          }
          expect([tail.offsetAt(slot), tail.placeAt(slot)]).toEqual([batch.offset, batch.place]);
          expect(tail.placeAt(tail.lastSlotUpTo(batch.place + 100, slot))).toBeLessThanOrEqual(batch.place + 100);
        }
        const known = batches.filter((batch) => tail.slotOf(batch.offset) >= 0);
        expect(known).toEqual(batches.slice(batches.length - known.length));
        if (steps.every((step) => 'push' in step)) expect(known.length).toBe(Math.min(4096, batches.length));
      },
    ),
    { numRuns: 50 },
  );
});

test('batches that compaction moved are found where they are now, those it rewrote are not known any more', () => {
  const tail = new BatchTail();
  for (let offset = 0; offset < 40; offset++) tail.push(offset, offset * 100);
  tail.moved(30, -2500);
  expect(tail.slotOf(29)).toBe(-1);
  expect(tail.placeAt(tail.slotOf(30))).toBe(500);
  expect(tail.placeAt(tail.slotOf(39))).toBe(1400);
  tail.push(40, 1500);
  expect(tail.lastSlotUpTo(700, tail.slotOf(30))).toBe(tail.slotOf(32));
});
