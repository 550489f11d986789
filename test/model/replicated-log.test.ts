// The reference model permits what the protocol does, and nothing else: short histories, each with the step it must refuse.
import { describe, expect, it } from 'vitest';
import { ModelError, ReplicatedLogModel, type Step } from './replicated-log.js';

const EMPTY = { term: 0, vote: 0, start: 0, end: 0, lastEpoch: -1, highWatermark: 0 };

/** Three voters, and the moves that nodes make together. */
class History {
  readonly model: ReplicatedLogModel;

  constructor(countBy: 'durable' | 'written' = 'durable') {
    this.model = new ReplicatedLogModel({ voters: [1, 2, 3], outgoing: [] }, countBy);
    for (const node of [1, 2, 3]) this.did({ node, did: 'start', ...EMPTY });
  }

  did(...steps: Step[]): this {
    for (const step of steps) this.model.observe(step);
    return this;
  }

  refuses(step: Step, why: RegExp): void {
    expect(() => this.model.observe(step)).toThrow(ModelError);
    expect(() => this.model.observe(step)).toThrow(why);
  }

  /** Hard state, issued and durable. */
  state(node: number, term: number, vote: number): this {
    return this.did({ node, did: 'decide', term, vote }, { node, did: 'decided', term, vote });
  }

  vote(node: number, term: number, candidate: number): this {
    return this.state(node, term, candidate).did({ node, did: 'vote', term, candidate });
  }

  elect(node: number, term: number, voter: number): this {
    return this.state(node, term, node).vote(voter, term, node).did({ node, did: 'lead', term });
  }

  /** One record. */
  append(node: number, start: number, epoch: number, value = epoch): this {
    return this.did({ node, did: 'append', batch: { start, end: start + 1, epoch, value } });
  }

  ack(node: number, term: number, leader: number, end: number): this {
    return this.did(
      { node, did: 'durable', end },
      { node, did: 'acknowledge', term, leader, written: end, durable: end },
    );
  }

  powerCut(node: number, found: Partial<typeof EMPTY> & { forgetful?: boolean }): this {
    return this.did({ node, did: 'crash', power: true }, { node, did: 'start', ...EMPTY, ...found });
  }

  /** Node 1 leads term 1 and commits a record with node 2. */
  committed(): this {
    this.elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    return this.did({ node: 1, did: 'durable', end: 1 }).ack(2, 1, 1, 1).did({ node: 1, did: 'commit', end: 1 });
  }
}

describe('the model permits', () => {
  it('an election, replication and a commit', () => {
    const { model } = new History().committed().did({ node: 2, did: 'commit', end: 1 });
    expect(model.committedEnd).toBe(1);
  });

  it('a power cut that keeps any prefix of what was on its way to the disk', () => {
    for (const end of [1, 2, 3]) {
      const history = new History().committed().append(1, 1, 1).append(1, 2, 1);
      history.powerCut(1, { term: 1, vote: 1, end, lastEpoch: 1 });
    }
  });

  it('a leader of a later term to cut what was not committed', () => {
    const history = new History().committed().append(1, 1, 1);
    history.did({ node: 2, did: 'commit', end: 1 }).elect(2, 2, 3).append(2, 1, 2);
    history.did({ node: 1, did: 'decide', term: 2, vote: 0 }, { node: 1, did: 'truncate', to: 1 }).append(1, 1, 2);
  });

  it('a commit by what is in memory where that is what counts', () => {
    const history = new History('written').elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    history.did({ node: 2, did: 'acknowledge', term: 1, leader: 1, written: 1, durable: 0 });
    history.did({ node: 1, did: 'commit', end: 1 });
  });
});

describe('the model refuses', () => {
  it('two votes in one term, also after a restart', () => {
    const history = new History().elect(1, 1, 2).state(3, 1, 3);
    history.refuses({ node: 2, did: 'decide', term: 1, vote: 3 }, /it has voted for node 1/);
    history.powerCut(2, { term: 1, vote: 1 });
    history.refuses({ node: 2, did: 'decide', term: 1, vote: 3 }, /it has voted for node 1/);
  });

  it('a vote that is not on disk', () => {
    const history = new History().state(1, 1, 1).did({ node: 2, did: 'decide', term: 1, vote: 1 });
    history.refuses({ node: 2, did: 'vote', term: 1, candidate: 1 }, /its disk says/);
  });

  it('a vote for a log that is not as good', () => {
    const history = new History().committed().state(3, 2, 3);
    history.refuses({ node: 2, did: 'decide', term: 2, vote: 3 }, /its log \(epoch 1, end 1\) is better/);
  });

  it('a leader without a majority, and a second one of a term', () => {
    const history = new History().state(1, 1, 1);
    history.refuses({ node: 1, did: 'lead', term: 1 }, /no majority voted for it/);
    history.vote(2, 1, 1).did({ node: 1, did: 'lead', term: 1 });
    history.refuses({ node: 1, did: 'lead', term: 1 }, /election safety/);
  });

  it('records of an epoch from anybody but its leader, and other records in their place', () => {
    const history = new History().elect(1, 1, 2).append(1, 0, 1);
    const other = { start: 0, end: 1, epoch: 1, value: 'other' };
    history.refuses({ node: 2, did: 'append', batch: other }, /log matching/);
    history.refuses({ node: 2, did: 'append', batch: { ...other, epoch: 2 } }, /only the leader of an epoch/);
  });

  it('an acknowledgement of what is not on disk, or of another history', () => {
    const history = new History().elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    const ack = { did: 'acknowledge', leader: 1, written: 1, durable: 1 } as const;
    history.refuses({ node: 2, term: 1, ...ack }, /its disk has the log up to 0/);
    history.did({ node: 2, did: 'durable', end: 1 }, { node: 2, term: 1, ...ack });
    // Node 3 leads term 2 with a record of its own at 0, where node 1 still has the one of epoch 1.
    history.did({ node: 1, did: 'durable', end: 1 }, { node: 2, did: 'truncate', to: 0 });
    history.elect(3, 2, 2).append(3, 0, 2).state(1, 2, 0);
    history.refuses({ node: 1, ...ack, term: 2, leader: 3 }, /its log does not equal the leader's/);
  });

  it('a commit that no majority acknowledged, and one of an older epoch by count', () => {
    const history = new History().elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    history.refuses({ node: 1, did: 'commit', end: 1 }, /no majority has acknowledged it/);
    history.elect(1, 2, 2).did({ node: 1, did: 'durable', end: 1 }).ack(2, 2, 1, 1);
    history.refuses({ node: 1, did: 'commit', end: 1 }, /epoch 1 is not its own/);
  });

  it('an acknowledgement to count after the leader has met a later incarnation', () => {
    const history = new History('written').elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    history.did({ node: 2, did: 'acknowledge', term: 1, leader: 1, written: 1, durable: 0 });
    history.powerCut(2, { term: 1, vote: 1, forgetful: true }).did({ node: 1, did: 'meet', peer: 2 });
    history.refuses({ node: 1, did: 'commit', end: 1 }, /no majority has acknowledged it/);
  });

  it('what is committed to be cut, or to be missing on a later leader', () => {
    const history = new History().committed().state(1, 2, 0);
    history.refuses({ node: 1, did: 'truncate', to: 0 }, /its high watermark is 1/);
    history.state(2, 2, 0);
    history.refuses({ node: 2, did: 'truncate', to: 0 }, /some of it is committed/);
  });

  it('a disk that lost what was durable, or found what was never there', () => {
    const history = new History().committed().did({ node: 1, did: 'crash', power: true });
    const found = { node: 1, did: 'start', ...EMPTY, term: 1, vote: 1 } as const;
    history.refuses(found, /no crash of what this node had/);
    history.refuses({ ...found, end: 2, lastEpoch: 1 }, /no crash of what this node had/);
    history.refuses({ ...found, term: 0, vote: 0, end: 1, lastEpoch: 1 }, /no crash of what this node had/);
  });
});

describe('a replica that forgot', () => {
  /** Node 1 leads term 1; node 2 acknowledged its record in memory, and lost it. */
  function forgetful(): History {
    const history = new History('written').elect(1, 1, 2).append(1, 0, 1).append(2, 0, 1);
    history.did({ node: 2, did: 'acknowledge', term: 1, leader: 1, written: 1, durable: 0 });
    history.did({ node: 1, did: 'commit', end: 1 });
    return history.powerCut(2, { term: 1, vote: 1, forgetful: true });
  }

  it('must know that it did', () => {
    const history = new History('written').elect(1, 1, 2).did({ node: 2, did: 'crash', power: true });
    history.refuses({ node: 2, did: 'start', ...EMPTY, term: 1, vote: 1 }, /may have forgotten/);
  });

  it('still knows it after another restart', () => {
    const history = forgetful().did({ node: 2, did: 'crash', power: false });
    history.refuses({ node: 2, did: 'start', ...EMPTY, term: 1, vote: 1 }, /it was forgetful, and that is durable/);
  });

  it('does not campaign', () => {
    forgetful().refuses({ node: 2, did: 'decide', term: 2, vote: 2 }, /does not campaign/);
  });

  it('votes only for who led what it forgot, whatever its log', () => {
    const history = forgetful().state(3, 2, 3);
    history.refuses({ node: 2, did: 'decide', term: 2, vote: 3 }, /it forgot in 1, who asks led 0/);
    history.state(1, 3, 1).vote(2, 3, 1).did({ node: 1, did: 'lead', term: 3 });
  });

  it('counts for no commit', () => {
    const history = forgetful().did({ node: 1, did: 'meet', peer: 2 }).append(2, 0, 1).append(1, 1, 1).append(2, 1, 1);
    history.did({ node: 2, did: 'acknowledge', term: 1, leader: 1, written: 2, durable: 0 });
    history.refuses({ node: 1, did: 'commit', end: 2 }, /no majority has acknowledged it/);
  });

  it('recovers with the log end that a leader reported after it saw this incarnation, and not with less', () => {
    const history = forgetful();
    history.refuses({ node: 1, did: 'report', peer: 2, end: 1 }, /it has not seen this incarnation/);
    history.did({ node: 1, did: 'meet', peer: 2 });
    history.refuses({ node: 2, did: 'recover' }, /no leader of term 1 has reported/);
    history.did({ node: 1, did: 'report', peer: 2, end: 1 });
    history.refuses({ node: 2, did: 'recover' }, /before the reported 1/);
    history.append(2, 0, 1).did({ node: 2, did: 'recover' });
    history.did({ node: 2, did: 'decide', term: 2, vote: 2 });
  });
});
