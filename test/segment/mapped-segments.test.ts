import { expect, test } from 'vitest';
import { type Evictable, MappedSegments } from '../../src/segment/mapped-segments.js';

class Fake implements Evictable {
  recentlyUsed = false;
  mustStay = false;
  isMapped = false;

  constructor(readonly list: MappedSegments) {}

  use(): void {
    this.recentlyUsed = true;
    if (this.isMapped) return;
    this.isMapped = true;
    this.list.add(this);
  }

  evict(): boolean {
    if (this.mustStay) return false;
    this.isMapped = false;
    return true;
  }
}

function fakes(count: number, max: number): { list: MappedSegments; all: Fake[] } {
  const list = new MappedSegments(max);
  return { list, all: Array.from({ length: count }, () => new Fake(list)) };
}

function mapped(all: readonly Fake[]): number[] {
  return all.flatMap((fake, i) => (fake.isMapped ? [i] : []));
}

test('no more than the limit stay, and what is used stays', () => {
  const { list, all } = fakes(10, 4);
  for (const fake of all) {
    fake.use();
    all[0]!.use();
    expect(list.count).toBeLessThanOrEqual(4);
  }
  expect(mapped(all)).toContain(0);
  expect(mapped(all)).toContain(9);
  expect(list.count).toBe(mapped(all).length);
  expect(list.evictions).toBeGreaterThanOrEqual(6);
});

test('what must stay stays above the limit, until it may go', () => {
  const { list, all } = fakes(300, 4);
  for (const fake of all) {
    fake.mustStay = true;
    fake.use();
  }
  expect(list.count).toBe(300);
  list.trim();
  expect(list.count).toBe(300);
  for (const fake of all) fake.mustStay = false;
  list.trim();
  expect(list.count).toBe(4);
  expect(mapped(all).length).toBe(4);
});

test('one that was closed is forgotten', () => {
  const { list, all } = fakes(3, 2);
  all[0]!.use();
  list.remove(all[0]!);
  all[1]!.use();
  all[2]!.use();
  expect(list.count).toBe(2);
  expect(list.evictions).toBe(0);
});
