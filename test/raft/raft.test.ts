/** Single calls into one core: what it does at start, and what it refuses. Conversations are in testdata/. */
import { describe, expect, it } from 'vitest';
import { RaftInvariantError } from '../../src/raft/invariant.js';
import { Raft } from '../../src/raft/raft.js';
import type { AppendRequest, HardState, Message, RaftOptions, Ready } from '../../src/raft/types.js';
import { member, sender, votersOf } from './members.js';
import { MemoryStore } from './memory-store.js';

function storeOf(...epochs: number[]): MemoryStore {
  const store = new MemoryStore();
  for (const [start, epoch] of epochs.entries()) store.append({ start, end: start + 1, epoch, bytes: 10, value: 0 });
  store.sync(store.pending.length);
  return store;
}

function coreOf(store: MemoryStore, change: Partial<RaftOptions> = {}): Raft {
  return new Raft({
    self: sender(1),
    configurations: [{ offset: -1, configuration: votersOf(1, 2, 3) }],
    hardState: { term: 1, vote: 0 },
    highWatermark: 0,
    progress: store.progress,
    log: store,
    countBy: 'durable',
    uncleanRecovery: 'never',
    heartbeatTicks: 1,
    electionTicks: 10,
    maxInflightMessages: 8,
    maxInflightBytes: 1000,
    maxAppendBytes: 1000,
    random: () => 0,
    ...change,
  });
}

function append(
  start: number,
  prevEpoch: number,
  epochs: number[],
  change: Partial<AppendRequest> = {},
): AppendRequest {
  const batches = epochs.map((epoch, i) => ({ start: start + i, end: start + i + 1, epoch }));
  const end = start + epochs.length;
  const common = {
    type: 'append',
    from: sender(2),
    to: member(1),
    term: 1,
    bytes: 10,
    highWatermark: 0,
    counted: 0,
  } as const;
  return { ...common, start, prevEpoch, end, batches, ...change };
}

/** Performs the truncations and appends of a ready, as a driver would. */
function perform(raft: Raft, store: MemoryStore, ready: Ready | undefined): void {
  for (const write of ready?.writes ?? []) {
    if (write.type === 'truncate') store.truncate(write.to);
    if (write.type !== 'append') continue;
    for (const batch of write.message.batches) {
      if (batch.start >= write.from) store.append({ ...batch, bytes: 10, value: 0 });
    }
  }
  raft.logProgress(store.progress);
}

function becomeDurable(raft: Raft, state: HardState | undefined): Ready | undefined {
  expect(state).toBeDefined();
  raft.hardStateDurable(state!);
  return raft.ready();
}

describe('a core at start', () => {
  it('has nothing to do when it is one of several', () => {
    expect(coreOf(storeOf(1)).ready()).toBeUndefined();
  });

  it('enters the term of its last batch, if a crash kept the batch and lost the term, before it says anything', () => {
    const raft = coreOf(storeOf(1, 4));
    const first = raft.ready();
    expect(first?.hardState).toEqual({ term: 4, vote: 0 });
    raft.step({ type: 'heartbeat', from: sender(2), to: member(1), term: 4, highWatermark: 0, round: 0, counted: 0 });
    expect(raft.ready()?.messages).toEqual([]);
    expect(becomeDurable(raft, first?.hardState)?.messages).toMatchObject([
      { type: 'heartbeat-reply', from: sender(1), to: member(2), term: 4, round: 0, forgetful: false },
    ]);
  });

  it('takes what lies before the log start as committed', () => {
    const store = storeOf(1, 1, 1);
    store.highWatermark = 2;
    store.deleteBefore(2);
    const raft = coreOf(store);
    expect(raft.highWatermark).toBe(2);
    expect(raft.ready()?.highWatermark).toBe(2);
  });

  it('leads alone as soon as its vote for itself is durable', () => {
    const raft = coreOf(storeOf(), { configurations: [{ offset: -1, configuration: votersOf(1) }] });
    const first = raft.ready();
    expect(first).toMatchObject({ hardState: { term: 2, vote: 1 }, writes: [] });
    expect(raft.role).toBe('candidate');
    expect(becomeDurable(raft, first?.hardState)?.writes).toEqual([{ type: 'leader-change', epoch: 2 }]);
    expect(raft.role).toBe('leader');
  });
});

describe('a follower', () => {
  it('treats an append that its log refused as a lost message', () => {
    const store = storeOf(1, 1);
    const raft = coreOf(store);
    raft.step(append(2, 1, [1, 1], { highWatermark: 4 }));
    raft.ready();
    // The disk is full: nothing was stored. The high watermark must not pass the end of the log.
    raft.logProgress(store.progress);
    raft.ready();
    expect(raft.highWatermark).toBe(2);
    raft.step(append(4, 1, [1]));
    expect(raft.ready()?.messages).toMatchObject([{ rejectedStart: 4, hint: { epoch: 1, end: 2 } }]);
    raft.step(append(2, 1, [1, 1, 1], { highWatermark: 4 }));
    perform(raft, store, raft.ready());
    expect(raft.highWatermark).toBe(4);
  });

  it('acknowledges no more than what is equal to the log of this term’s leader', () => {
    const store = storeOf(1, 1, 1, 1);
    const raft = coreOf(store);
    raft.step(append(2, 1, []));
    expect(raft.ready()?.messages).toMatchObject([{ type: 'append-reply', rejectedStart: -1, written: 2, durable: 2 }]);
  });

  it('learns of a commit only as far as its log is known to equal the leader’s', () => {
    const raft = coreOf(storeOf(1, 1, 1, 1));
    raft.step({ type: 'heartbeat', from: sender(2), to: member(1), term: 1, highWatermark: 4, round: 0, counted: 0 });
    expect(raft.highWatermark).toBe(0);
    raft.step(append(3, 1, [], { highWatermark: 4 }));
    expect(raft.highWatermark).toBe(3);
  });

  it.each<[string, Message]>([
    [
      'an answer of a node that is no member',
      { type: 'heartbeat-reply', from: sender(9), to: member(1), term: 7, round: 0, forgetful: false },
    ],
    [
      'an answer of a member’s node with another directory',
      { type: 'vote-reply', from: { ...sender(2), directory: 'new' }, to: member(1), term: 7, granted: true },
    ],
    [
      'a message to a directory that this node had before',
      {
        type: 'heartbeat',
        from: sender(2),
        to: { id: 1, directory: 'old' },
        term: 7,
        highWatermark: 0,
        round: 0,
        counted: 0,
      },
    ],
    [
      'a candidate that is no member and holds no record',
      {
        type: 'vote',
        from: { ...sender(2), directory: 'new' },
        to: member(1),
        term: 7,
        lastEpoch: -1,
        end: 0,
        transfer: false,
        led: 0,
      },
    ],
    [
      'a node that has this one’s id',
      {
        type: 'heartbeat',
        from: { ...sender(1), directory: 'twin' },
        to: member(1),
        term: 7,
        highWatermark: 0,
        round: 0,
        counted: 0,
      },
    ],
  ])('changes nothing for %s', (_, message) => {
    const raft = coreOf(storeOf());
    raft.step(message);
    expect(raft.ready()).toBeUndefined();
    expect(raft.term).toBe(1);
  });

  it('hears a leader that its configuration does not know: it may be the configuration that is old', () => {
    const raft = coreOf(storeOf(1));
    raft.step({ type: 'heartbeat', from: sender(9), to: member(1), term: 7, highWatermark: 0, round: 0, counted: 0 });
    expect(raft.leader).toBe(9);
  });

  it('gives one vote to a node, not one to each of its directories', () => {
    const raft = coreOf(storeOf(1));
    const vote = { type: 'vote', to: member(1), term: 2, lastEpoch: 1, end: 1, transfer: false, led: 0 } as const;
    raft.step({ ...vote, from: sender(2) });
    expect(becomeDurable(raft, raft.ready()?.hardState)?.messages).toMatchObject([{ granted: true }]);
    raft.step({ ...vote, from: { ...sender(2), directory: 'new' } });
    expect(raft.ready()?.messages).toMatchObject([{ granted: false }]);
    raft.step({ ...vote, from: sender(2) });
    expect(raft.ready()?.messages).toMatchObject([{ granted: true }]);
  });

  it('does not know after a restart which directory it voted for, and votes for none of them again', () => {
    const raft = coreOf(storeOf(1), { hardState: { term: 2, vote: 2 } });
    raft.step({ type: 'vote', from: sender(2), to: member(1), term: 2, lastEpoch: 1, end: 1, transfer: false, led: 0 });
    expect(raft.ready()?.messages).toMatchObject([{ granted: false }]);
  });
});

describe('a core stops the node', () => {
  const heartbeat: Message = {
    type: 'heartbeat',
    from: sender(2),
    to: member(1),
    term: 1,
    highWatermark: 0,
    round: 0,
    counted: 0,
  };

  it.each<[string, (raft: Raft) => void, RegExp]>([
    [
      'when two nodes lead one term',
      (raft) => {
        raft.step(heartbeat);
        raft.step({ ...heartbeat, from: sender(3) });
      },
      /two leaders in term 1: node 2 and node 3/,
    ],
    [
      'when it is called before its writes were performed',
      (raft) => {
        raft.step(append(1, 1, [1]));
        raft.step(heartbeat);
      },
      /before the writes/,
    ],
    ['when it is given a message for another node', (raft) => raft.step({ ...heartbeat, to: member(3) }), /for node 3/],
    ['when a message is malformed', (raft) => raft.step(append(1, 1, [2])), /malformed message of node 2/],
    ['when records were appended by a follower', (raft) => raft.accepted(), /a follower/],
    [
      'when its log reports cursors that went back',
      (raft) => raft.logProgress({ generation: 0, written: 0, durable: 0 }),
      /cursors went back/,
    ],
    [
      'when its log reports more than it holds',
      (raft) => raft.logProgress({ generation: 0, written: 2, durable: 1 }),
      /cursors out of order/,
    ],
  ])('%s', (_, action, reason) => {
    const raft = coreOf(storeOf(1));
    expect(() => action(raft)).toThrow(RaftInvariantError);
    expect(() => action(coreOf(storeOf(1)))).toThrow(reason);
  });

  it('when a leader wants to cut what is committed', () => {
    const raft = coreOf(storeOf(1, 1, 1), { highWatermark: 3 });
    expect(() => raft.step(append(2, 1, [2], { term: 2 }))).toThrow(/below high watermark 3/);
  });

  it('when a leader wants to cut what was found equal to its own log', () => {
    const raft = coreOf(storeOf(1, 1, 1), { hardState: { term: 3, vote: 0 } });
    raft.step(append(3, 1, [], { term: 3 }));
    raft.ready();
    expect(() => raft.step(append(1, 1, [3], { term: 3 }))).toThrow(/below 3 where this leader's log was found equal/);
  });
});
