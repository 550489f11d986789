import { describe, expect, it } from 'vitest';
import { planAppend } from '../../src/raft/following.js';
import type { AppendRequest, BatchSpan } from '../../src/raft/types.js';
import { member, sender } from './members.js';
import { MemoryStore } from './memory-store.js';

/** One batch per entry: [epoch, records]. */
function logOf(start: number, ...batches: [epoch: number, records: number][]): MemoryStore {
  const store = new MemoryStore();
  store.reset(start, -1, { offset: -1, configuration: store.founding });
  for (const [epoch, records] of batches) {
    store.append({ start: store.end, end: store.end + records, epoch, bytes: 10, value: 0 });
  }
  return store;
}

function append(start: number, prevEpoch: number, ...spans: [epoch: number, records: number][]): AppendRequest {
  const batches: BatchSpan[] = [];
  let end = start;
  for (const [epoch, records] of spans) {
    batches.push({ start: end, end: end + records, epoch });
    end += records;
  }
  const common = { type: 'append', from: sender(2), to: member(1), term: 9, highWatermark: 0, counted: 0 } as const;
  return { ...common, start, prevEpoch, end, bytes: end - start, batches };
}

describe('planAppend', () => {
  it('stores what joins the end of the log', () => {
    expect(planAppend(logOf(0, [1, 3]), 0, append(3, 1, [1, 2]))).toEqual({ fits: true, truncateTo: -1, from: 3 });
    expect(planAppend(logOf(0), 0, append(0, -1, [1, 2]))).toEqual({ fits: true, truncateTo: -1, from: 0 });
  });

  it('rejects what leaves a gap, and tells where the log ends', () => {
    expect(planAppend(logOf(0, [1, 3]), 0, append(5, 1, [1, 2]))).toEqual({ fits: false, hint: { epoch: 1, end: 3 } });
    expect(planAppend(logOf(0), 0, append(5, 1))).toEqual({ fits: false, hint: { epoch: -1, end: 0 } });
  });

  it('rejects what follows another record, and tells the last epoch that could agree', () => {
    const log = logOf(0, [1, 2], [2, 2], [5, 4]);
    expect(planAppend(log, 0, append(6, 3, [3, 1]))).toEqual({ fits: false, hint: { epoch: 2, end: 4 } });
    expect(planAppend(log, 0, append(6, 0, [3, 1]))).toEqual({ fits: false, hint: { epoch: -1, end: 0 } });
  });

  it('skips batches that are present and changes nothing for a late append', () => {
    const log = logOf(0, [1, 2], [1, 3], [2, 1]);
    expect(planAppend(log, 0, append(0, -1, [1, 2], [1, 3]))).toEqual({ fits: true, truncateTo: -1, from: -1 });
    expect(planAppend(log, 0, append(2, 1, [1, 3], [2, 1], [2, 4]))).toEqual({ fits: true, truncateTo: -1, from: 6 });
  });

  it('cuts at the first batch that differs, not before', () => {
    const log = logOf(0, [1, 2], [2, 3], [3, 1]);
    expect(planAppend(log, 0, append(0, -1, [1, 2], [4, 3]))).toEqual({ fits: true, truncateTo: 2, from: 2 });
  });

  it('replaces a batch as a whole when only its beginning is there', () => {
    const log = logOf(0, [1, 2], [2, 3]);
    expect(planAppend(log, 0, append(2, 1, [2, 5]))).toEqual({ fits: true, truncateTo: 2, from: 2 });
  });

  it('cuts nothing for an empty append, whatever follows it in the log', () => {
    expect(planAppend(logOf(0, [1, 2], [3, 3]), 0, append(2, 1))).toEqual({ fits: true, truncateTo: -1, from: -1 });
  });

  it('takes what is committed as equal, also where the log start hides the epoch', () => {
    const log = logOf(10, [4, 2], [5, 2]);
    expect(planAppend(log, 12, append(10, 4))).toEqual({ fits: true, truncateTo: -1, from: -1 });
    expect(planAppend(log, 12, append(6, 3, [4, 4], [4, 2], [5, 2], [5, 1]))).toEqual({
      fits: true,
      truncateTo: -1,
      from: 14,
    });
    expect(planAppend(logOf(10), 10, append(10, 4, [6, 1]))).toEqual({ fits: true, truncateTo: -1, from: 10 });
  });

  it('stops the node when the leader contradicts what is committed', () => {
    const log = logOf(0, [1, 2], [2, 3]);
    expect(() => planAppend(log, 5, append(2, 1, [3, 3]))).toThrow(/below high watermark 5/);
    expect(() => planAppend(log, 5, append(2, 0, [2, 3]))).toThrow(/committed record 1 has epoch 1 here and 0/);
  });
});
