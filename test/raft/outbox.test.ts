import { describe, expect, it } from 'vitest';
import { Outbox } from '../../src/raft/outbox.js';
import type { AppendReply, Message } from '../../src/raft/types.js';
import { member, sender } from './members.js';

function heartbeatReply(to: number, term: number): Message {
  return { type: 'heartbeat-reply', from: sender(1), to: member(to), term, round: 0, forgetful: false };
}

function ack(term: number, durable: number, rejectedStart = -1): AppendReply {
  const hint = { epoch: -1, end: 0 };
  return {
    type: 'append-reply',
    from: sender(1),
    to: member(2),
    term,
    rejectedStart,
    hint,
    written: durable,
    durable,
    generation: 0,
    forgetful: false,
  };
}

describe('Outbox', () => {
  it('lets messages pass while everything decided is durable', () => {
    const outbox = new Outbox({ term: 3, vote: 2 });
    outbox.send(heartbeatReply(2, 3));
    expect(outbox.takeMessages()).toEqual([heartbeatReply(2, 3)]);
    expect(outbox.takeMessages()).toEqual([]);
  });

  it('holds messages of a term, and of a vote in it, until each is durable', () => {
    const outbox = new Outbox({ term: 3, vote: 0 });
    outbox.setState({ term: 4, vote: 0 });
    expect(outbox.takeState()).toEqual({ term: 4, vote: 0 });
    outbox.send(heartbeatReply(2, 4));
    outbox.setState({ term: 4, vote: 3 });
    const granted: Message = { type: 'vote-reply', from: sender(1), to: member(3), term: 4, granted: true };
    outbox.send(granted);
    expect(outbox.takeState()).toEqual({ term: 4, vote: 3 });
    expect(outbox.takeMessages()).toEqual([]);
    outbox.durable({ term: 4, vote: 0 });
    expect(outbox.takeMessages()).toEqual([heartbeatReply(2, 4)]);
    outbox.durable({ term: 4, vote: 3 });
    expect(outbox.takeMessages()).toEqual([granted]);
  });

  it('keeps the order of messages', () => {
    const outbox = new Outbox({ term: 3, vote: 0 });
    outbox.setState({ term: 4, vote: 0 });
    outbox.takeState();
    const messages = [heartbeatReply(2, 4), ack(4, 5, 9), heartbeatReply(3, 4), ack(4, 6, 8)];
    for (const message of messages) outbox.send(message);
    outbox.durable({ term: 4, vote: 0 });
    expect(outbox.takeMessages()).toEqual(messages);
  });

  it('holds a bounded number of messages while a disk is stuck', () => {
    const outbox = new Outbox({ term: 3, vote: 0 });
    outbox.setState({ term: 4, vote: 0 });
    outbox.takeState();
    for (let i = 0; i < 100; i++) {
      outbox.send(heartbeatReply(2, 4));
      outbox.send(ack(4, i));
    }
    outbox.durable({ term: 4, vote: 0 });
    expect(outbox.takeMessages()).toEqual([heartbeatReply(2, 4), ack(4, 99)]);
  });

  it('drops what it held for a term that has passed', () => {
    const outbox = new Outbox({ term: 3, vote: 0 });
    outbox.setState({ term: 4, vote: 2 });
    outbox.send({ type: 'vote-reply', from: sender(1), to: member(2), term: 4, granted: true });
    outbox.setState({ term: 5, vote: 0 });
    outbox.takeState();
    outbox.durable({ term: 5, vote: 0 });
    expect(outbox.takeMessages()).toEqual([]);
  });

  it('refuses a second vote in a term, and a term that goes back', () => {
    const outbox = new Outbox({ term: 3, vote: 2 });
    expect(() => outbox.setState({ term: 3, vote: 4 })).toThrow(/hard state would go/);
    expect(() => outbox.setState({ term: 3, vote: 0 })).toThrow(/hard state would go/);
    expect(() => outbox.setState({ term: 2, vote: 0 })).toThrow(/hard state would go/);
  });

  it('refuses to hear that a state is durable which it never gave out', () => {
    const outbox = new Outbox({ term: 3, vote: 0 });
    outbox.setState({ term: 4, vote: 1 });
    expect(() => outbox.durable({ term: 4, vote: 1 })).toThrow(/never issued/);
  });
});
