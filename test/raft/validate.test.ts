import { describe, expect, it } from 'vitest';
import type { Configuration, Message, RaftOptions } from '../../src/raft/types.js';
import { malformed, validate } from '../../src/raft/validate.js';
import { member, sender, votersOf } from './members.js';
import { MemoryStore } from './memory-store.js';

const OPTIONS: RaftOptions = {
  self: sender(1),
  configurations: [{ offset: -1, configuration: votersOf(1, 2, 3) }],
  hardState: { term: 0, vote: 0 },
  highWatermark: 0,
  progress: { generation: 0, written: 0, durable: 0 },
  log: new MemoryStore(),
  countBy: 'durable',
  uncleanRecovery: 'never',
  heartbeatTicks: 1,
  electionTicks: 10,
  maxInflightMessages: 1,
  maxInflightBytes: 100,
  maxAppendBytes: 100,
  random: () => 0,
};

function founding(configuration: Configuration): Partial<RaftOptions> {
  return { configurations: [{ offset: -1, configuration }] };
}

describe('validate', () => {
  it('accepts options that can work', () => {
    expect(() => validate(OPTIONS)).not.toThrow();
  });

  it.each<[string, Partial<RaftOptions>, RegExp]>([
    ['no configuration at all', { configurations: [] }, /no configuration/],
    ['a voter that appears twice', founding(votersOf(1, 2, 2)), /node 2 appears twice/],
    [
      'a member that is voter and learner',
      founding({ ...votersOf(1, 2), learners: [member(2)] }),
      /node 2 can't be a voter and a learner/,
    ],
    ['a voter without a directory', founding({ ...votersOf(), voters: [{ id: 2, directory: '' }] }), /no directory id/],
    ['the node id 0, which means nobody', { self: sender(0) }, /not 0/],
    ['a node without a directory id', { self: { ...sender(1), directory: '' } }, /an emptied disk would vote again/],
    ['a node without an incarnation id', { self: { ...sender(1), incarnation: '' } }, /of its last run/],
    [
      'a configuration beyond the end of the log',
      { configurations: [...founding(votersOf(1)).configurations!, { offset: 1, configuration: votersOf(1, 2) }] },
      /a configuration at offset 1/,
    ],
    [
      'a history whose beginning is missing',
      { configurations: [{ offset: 4, configuration: votersOf(1) }] },
      /nothing says which one was in effect before/,
    ],
    ['an election timeout that one lost heartbeat can reach', { electionTicks: 2 }, /one lost heartbeat/],
    ['a cursor that is none', { countBy: 'hoped' as 'durable' }, /countBy is hoped/],
    ['an unclean recovery of another kind', { uncleanRecovery: 'always' as 'never' }, /uncleanRecovery is always/],
    ['a vote for nobody that could be', { hardState: { term: 1, vote: -1 } }, /vote -1/],
    ["a term in which it can't have forgotten", { hardState: { term: 1, vote: 0, forgot: 2 } }, /it forgot in term 2/],
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
  const base = { from: sender(2), to: member(1), term: 3 };
  const batch = { start: 4, end: 6, epoch: 2 };
  const append = {
    ...base,
    type: 'append',
    start: 4,
    prevEpoch: 2,
    end: 6,
    bytes: 9,
    highWatermark: 0,
    counted: 0,
  } as const;

  it('accepts what a correct peer sends', () => {
    expect(malformed({ ...append, batches: [batch] })).toBeUndefined();
    expect(malformed({ ...append, end: 4, batches: [] })).toBeUndefined();
    expect(malformed({ ...base, type: 'heartbeat', highWatermark: 0, round: 0, counted: 0 })).toBeUndefined();
  });

  it.each<[string, Message, RegExp]>([
    ['a term of 0', { ...base, term: 0, type: 'heartbeat-reply', round: 0, forgetful: false }, /term 0/],
    [
      'an offset that is no number',
      { ...base, type: 'heartbeat', highWatermark: Number.NaN, round: 0, counted: 0 },
      /highWatermark is NaN/,
    ],
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
