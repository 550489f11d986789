// Who founded a cluster is decided once, by one node, from the directories it is connected to. Nodes here talk by hand.
import { describe, expect, test } from 'vitest';
import { decodeFounding, encodeFounding, Founding } from '../../src/cluster/founding.js';
import type { Member } from '../../src/raft/types.js';
import { member, sender } from '../raft/members.js';

/** A node of a cluster of three, whose disk takes what it is given when it is told to. */
class Node {
  readonly founding: Founding;
  founded: readonly Member[] | undefined;
  saved: Buffer | undefined;
  #save: () => void = () => {};

  constructor(id: number, members?: readonly Member[], directory = `d${id}`) {
    this.founding = new Founding({
      self: { id, directory },
      nodeIds: [3, 1, 2],
      members,
      save: (bytes) => {
        this.saved = bytes;
        return new Promise((resolve) => {
          this.#save = resolve;
        });
      },
      onFounded: (founders) => {
        this.founded = founders;
      },
      onError: (error) => {
        throw error;
      },
    });
    this.founding.start();
  }

  async saveNow(): Promise<void> {
    this.#save();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const FOUNDERS = [member(3), member(1), member(2)];

describe('the founding of a cluster', () => {
  test('is decided by the node with the lowest id, when it is connected to all and none of them knows of one', async () => {
    const node = new Node(1);
    node.founding.peerSaid(sender(2), []);
    expect(node.saved).toBeUndefined();
    node.founding.peerSaid(sender(3), []);
    expect(decodeFounding(node.saved!, '')).toEqual(FOUNDERS);
    expect(node.founding.members).toBeUndefined();
    await node.saveNow();
    expect(node.founding.members).toEqual(FOUNDERS);
    expect(node.founded).toEqual(FOUNDERS);
    expect(node.founding.isStranger).toBe(false);
  });

  test('is not decided from what was said over a connection that is gone', () => {
    const node = new Node(1);
    node.founding.peerSaid(sender(2), []);
    node.founding.peerLost(2);
    node.founding.peerSaid(sender(3), []);
    expect(node.saved).toBeUndefined();
  });

  test('is taken over by all others, from anybody who knows of it', async () => {
    const node = new Node(2);
    node.founding.peerSaid(sender(1), []);
    node.founding.peerSaid(sender(3), []);
    expect(node.saved).toBeUndefined();
    node.founding.peerSaid(sender(3), FOUNDERS);
    await node.saveNow();
    expect(node.founded).toEqual(FOUNDERS);
  });

  test('is not decided again by the node with the lowest id when its directory was emptied: it is a stranger', async () => {
    const node = new Node(1, undefined, 'new');
    node.founding.peerSaid(sender(2), FOUNDERS);
    node.founding.peerSaid(sender(3), []);
    await node.saveNow();
    expect(node.founded).toEqual(FOUNDERS);
    expect(node.founding.isStranger).toBe(true);
  });

  test('happens once: what is known is never replaced', () => {
    const node = new Node(1, FOUNDERS);
    node.founding.peerSaid(sender(2), [member(2)]);
    node.founding.peerSaid(sender(3), []);
    expect(node.saved).toBeUndefined();
    expect(node.founding.configuration.voters).toEqual(FOUNDERS);
  });
});

describe('founding.json', () => {
  test('says what was put into it', () => {
    expect(decodeFounding(encodeFounding(FOUNDERS), '')).toEqual(FOUNDERS);
  });

  test('is refused when a bit of it has changed, with what to do', () => {
    const bytes = encodeFounding(FOUNDERS);
    for (let at = 0; at < bytes.length - 1; at++) {
      const wrong = Buffer.from(bytes);
      wrong[at]! ^= 1;
      expect(() => decodeFounding(wrong, 'data/founding.json')).toThrow(/data\/founding\.json is damaged: delete it/);
    }
  });
});
