import { describe, expect, it } from 'vitest';
import { Inflight, Progress } from '../../src/raft/progress.js';
import type { AppendReply } from '../../src/raft/types.js';
import { member, sender } from './members.js';

const LIMITS = { maxInflightMessages: 3, maxInflightBytes: 100 };

function reply(written: number, durable: number, generation = 0): AppendReply {
  const hint = { epoch: -1, end: 0 };
  return {
    type: 'append-reply',
    from: sender(2),
    to: member(1),
    term: 1,
    rejectedStart: -1,
    hint,
    written,
    durable,
    generation,
    forgetful: false,
  };
}

function replicating(next: number): Progress {
  const peer = new Progress(member(2), next, 'durable', LIMITS);
  peer.becomeReplicate(next);
  return peer;
}

describe('Inflight', () => {
  it('has room up to its limits of messages and bytes', () => {
    const inflight = new Inflight(LIMITS);
    inflight.add(1, 40);
    expect(inflight.hasRoomFor(60)).toBe(true);
    expect(inflight.hasRoomFor(61)).toBe(false);
    inflight.add(2, 10);
    inflight.add(3, 10);
    expect(inflight.hasRoomFor(1)).toBe(false);
  });

  it('lets one message go however large it is', () => {
    const inflight = new Inflight(LIMITS);
    expect(inflight.hasRoomFor(1_000_000)).toBe(true);
    inflight.add(1, 1_000_000);
    expect(inflight.hasRoomFor(1)).toBe(false);
  });

  it('is freed by a cumulative acknowledgement, whole messages only', () => {
    const inflight = new Inflight(LIMITS);
    inflight.add(10, 30);
    inflight.add(20, 30);
    inflight.add(30, 30);
    inflight.freeTo(25);
    expect([inflight.messages, inflight.bytes]).toEqual([1, 30]);
    inflight.freeTo(30);
    expect([inflight.messages, inflight.bytes]).toEqual([0, 0]);
  });
});

describe('Progress', () => {
  it('counts the cursor that the flush mode names', () => {
    for (const countBy of ['durable', 'written'] as const) {
      const peer = new Progress(member(2), 10, countBy, LIMITS);
      peer.update(reply(9, 7));
      expect(peer.match).toBe(countBy === 'durable' ? 7 : 9);
    }
  });

  it('takes the best of replies that overtook each other', () => {
    const peer = replicating(10);
    peer.update(reply(9, 7));
    peer.update(reply(8, 6));
    expect([peer.written, peer.durable]).toEqual([9, 7]);
  });

  it('ignores replies of an earlier truncation generation and starts over with a later one', () => {
    const peer = replicating(10);
    peer.update(reply(9, 9, 1));
    expect(peer.update(reply(10, 10, 0))).toBe(false);
    expect(peer.match).toBe(9);
    expect(peer.update(reply(5, 4, 2))).toBe(true);
    expect([peer.written, peer.durable]).toEqual([5, 4]);
  });

  it('goes back to probe with nothing in flight when what was sent may be lost, and keeps what it knows', () => {
    const peer = replicating(10);
    peer.update(reply(10, 10));
    peer.sent(20, 50);
    peer.becomeProbe(peer.next);
    expect(peer.status(true)).toMatchObject({
      state: 'probe',
      next: 20,
      durable: 10,
      inflightMessages: 0,
      inflightBytes: 0,
    });
  });

  it('forgets everything a former incarnation said', () => {
    const peer = replicating(10);
    peer.update(reply(10, 10, 4));
    peer.forget();
    expect(peer.status(true)).toMatchObject({ state: 'probe', next: 10, written: 0, durable: 0 });
    // A restart can bring an earlier generation back: its truncation was not durable.
    expect(peer.update(reply(3, 3, 3))).toBe(true);
    expect(peer.match).toBe(3);
  });

  it('sends no data while the point of agreement is unknown', () => {
    const peer = new Progress(member(2), 10, 'durable', LIMITS);
    expect(() => peer.sent(11, 10)).toThrow(/state probe/);
  });
});
