/**
 * A follower whose disk is full refuses an append and rejects those that came behind it. It must not be sent all of them
 * again and again as fast as the network goes.
 */
import { expect, test } from 'vitest';
import { Configurations } from '../../src/raft/configurations.js';
import { Replication } from '../../src/raft/replication.js';
import type { AppendReply, AppendRequest, LogView, Message } from '../../src/raft/types.js';
import { member, sender, votersOf } from '../raft/members.js';

/** Ten records of epoch 1, each a batch of its own. */
const log: LogView = {
  start: 0,
  logStart: 0,
  end: 10,
  lastEpoch: 1,
  epochAt: (offset) => (offset < 0 ? -1 : 1),
  endForEpoch: (epoch) => (epoch < 1 ? { epoch: -1, end: 0 } : { epoch: 1, end: 10 }),
  baseOf: (offset) => offset,
  span: (start) => ({ end: start + 1, bytes: 100 }),
};

test('after a rejection, appends go out one at a time until the follower stores one', () => {
  let sent: Message[] = [];
  const replication = new Replication(
    {
      self: sender(1),
      term: 1,
      log,
      configurations: new Configurations([{ offset: -1, configuration: votersOf(1, 2) }]),
      highWatermark: () => 0,
      readRound: () => 0,
      send: (message) => sent.push(message),
    },
    {
      countBy: 'durable',
      maxAppendBytes: 100,
      maxInflightMessages: 64,
      maxInflightBytes: 8192,
    },
  );
  const starts = (): number[] => {
    const appends = sent.filter((message): message is AppendRequest => message.type === 'append');
    sent = [];
    return appends.map(({ start }) => start);
  };
  const answer = (reply: Partial<AppendReply>): number[] => {
    replication.onAppendReply({ ...ACKNOWLEDGED, ...reply });
    replication.replicate();
    return starts();
  };

  replication.replicate();
  expect(starts()).toEqual([10]);
  expect(answer({ rejectedStart: 10 })).toEqual([0]);
  expect(answer({})).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  // It could not store the first one, so the second one does not fit.
  expect(answer({ rejectedStart: 1 })).toEqual([0]);
  expect(answer({})).toEqual([0]);
  expect(answer({ written: 1, durable: 1 })).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

const ACKNOWLEDGED: AppendReply = {
  type: 'append-reply',
  from: sender(2),
  to: member(1),
  term: 1,
  rejectedStart: -1,
  hint: { epoch: -1, end: 0 },
  written: 0,
  durable: 0,
  generation: 0,
  forgetful: false,
};
