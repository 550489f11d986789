import { describe, expect, it } from 'vitest';
import type { Message, RaftOptions } from '../../src/raft/types.js';
import { malformed, validate } from '../../src/raft/validate.js';
import { MemoryStore } from './memory-store.js';

const OPTIONS: RaftOptions = {
  id: 1,
  voters: [1, 2, 3],
  hardState: { term: 0, vote: 0 },
  highWatermark: 0,
  progress: { generation: 0, written: 0, durable: 0 },
  log: new MemoryStore(),
  countBy: 'durable',
  heartbeatTicks: 1,
  electionTicks: 10,
  maxInflightMessages: 1,
  maxInflightBytes: 100,
  maxAppendBytes: 100,
  random: () => 0,
};

describe('validate', () => {
  it('accepts options that can work', () => {
    expect(() => validate(OPTIONS)).not.toThrow();
  });

  it.each<[string, Partial<RaftOptions>, RegExp]>([
    ['a node outside its voters', { voters: [2, 3] }, /node 1 is not among the voters 2, 3/],
    ['a voter that appears twice', { voters: [1, 2, 2] }, /an id appears twice/],
    ['the node id 0, which means nobody', { id: 0, voters: [0] }, /voter 0/],
    ['an election timeout that one lost heartbeat can reach', { electionTicks: 2 }, /one lost heartbeat/],
    ['no messages in flight', { maxInflightMessages: 0 }, /maxInflightMessages is 0/],
    ['appends larger than what may be in flight', { maxAppendBytes: 101 }, /exceeds maxInflightBytes/],
    ['ticks that are no whole number', { heartbeatTicks: 1.5 }, /heartbeatTicks is 1.5/],
    ['a high watermark above the log end', { highWatermark: 1 }, /committed records are missing/],
    ['cursors out of order', { progress: { generation: 0, written: 0, durable: 1 } }, /does not hold/],
  ])('refuses %s', (_, change, reason) => {
    expect(() => validate({ ...OPTIONS, ...change })).toThrow(reason);
  });
});

describe('malformed', () => {
  const base = { from: 2, to: 1, term: 3 };
  const batch = { start: 4, end: 6, epoch: 2 };
  const append = { ...base, type: 'append', start: 4, prevEpoch: 2, end: 6, bytes: 9, highWatermark: 0 } as const;

  it('accepts what a correct peer sends', () => {
    expect(malformed({ ...append, batches: [batch] })).toBeUndefined();
    expect(malformed({ ...append, end: 4, batches: [] })).toBeUndefined();
    expect(malformed({ ...base, type: 'heartbeat', highWatermark: 0 })).toBeUndefined();
  });

  it.each<[string, Message, RegExp]>([
    ['a term of 0', { ...base, term: 0, type: 'heartbeat-reply' }, /term 0/],
    ['an offset that is no number', { ...base, type: 'heartbeat', highWatermark: Number.NaN }, /highWatermark is NaN/],
    ['a range that goes backwards', { ...append, end: 3, batches: [] }, /is no range/],
    ['batches that leave a gap', { ...append, batches: [{ ...batch, start: 5 }] }, /starts at 5, not at 4/],
    ['batches that end elsewhere', { ...append, batches: [{ ...batch, end: 5 }] }, /end at 5, not at 6/],
    ['an empty batch', { ...append, batches: [{ ...batch, end: 4 }] }, /is empty/],
    ['an epoch that goes back', { ...append, batches: [{ ...batch, epoch: 1 }] }, /goes back/],
    ['an epoch above the term', { ...append, batches: [{ ...batch, epoch: 4 }] }, /above term 3/],
  ])('names %s', (_, message, reason) => {
    expect(malformed(message)).toMatch(reason);
  });
});
