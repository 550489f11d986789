import { describe, expect, it } from 'vitest';
import { Configurations } from '../../src/raft/configurations.js';
import { MembershipChange, type ProposedMembership } from '../../src/raft/membership-change.js';
import type { Configuration } from '../../src/raft/types.js';
import { describeConfiguration, member, votersOf } from './members.js';
import { MemoryStore } from './memory-store.js';

/** A leader of voters 1, 2, 3 and learner 4, with all of its log committed. */
class Leader {
  readonly log = new MemoryStore();
  readonly configurations = new Configurations([
    { offset: -1, configuration: { ...votersOf(1, 2, 3), learners: [member(4)] } },
  ]);
  readonly appended: string[] = [];
  readonly failures: string[] = [];
  hasCommitted = true;
  highWatermark = 0;
  matches = new Map<number, number>();
  readonly change = new MembershipChange({
    log: this.log,
    configurations: this.configurations,
    electionTicks: 10,
    mayDecide: () => this.hasCommitted,
    highWatermark: () => this.highWatermark,
    matchOf: ({ id }) => this.matches.get(id) ?? 0,
    append: (configuration) => this.#append(configuration),
    failed: (reason) => this.failures.push(reason),
  });

  #append(configuration: Configuration): void {
    const start = this.log.end;
    this.configurations.add({ offset: start, configuration });
    this.log.append({ start, end: start + 1, epoch: 1, bytes: 10, value: 0, configuration });
    this.appended.push(describeConfiguration(configuration));
  }

  request(voters: number[], learners: number[] = []): string | undefined {
    const proposed: ProposedMembership = { voters: voters.map(member), learners: learners.map(member) };
    return this.change.request(proposed);
  }

  commit(): void {
    this.highWatermark = this.log.end;
    this.change.advance();
  }
}

describe('a change of membership', () => {
  it('of learners alone is one step', () => {
    const leader = new Leader();
    expect(leader.request([1, 2, 3], [5, 6])).toBeUndefined();
    leader.commit();
    expect(leader.appended).toEqual(['1 2 3 + 5 6']);
  });

  it('of voters goes through a joint phase, which ends when it is committed', () => {
    const leader = new Leader();
    expect(leader.request([1, 2, 4])).toBeUndefined();
    expect(leader.appended).toEqual(['1 2 3 > 1 2 4']);
    leader.commit();
    expect(leader.appended).toEqual(['1 2 3 > 1 2 4', '1 2 4']);
    leader.commit();
    expect(leader.appended).toHaveLength(2);
  });

  it('can make a voter a learner', () => {
    const leader = new Leader();
    expect(leader.request([1, 2], [3])).toBeUndefined();
    leader.commit();
    expect(leader.appended).toEqual(['1 2 3 > 1 2 + 3', '1 2 + 3']);
  });

  it('waits for the slowest of the new voters', () => {
    const leader = new Leader();
    leader.request([1, 2, 3], [4, 5]);
    leader.commit();
    leader.matches.set(4, leader.log.end);
    expect(leader.request([1, 2, 3, 4, 5])).toBeUndefined();
    expect(leader.appended).toHaveLength(1);
    leader.matches.set(5, leader.log.end);
    leader.change.advance();
    expect(leader.appended.at(-1)).toBe('1 2 3 > 1 2 3 4 5');
  });

  it('is given up when a new voter does not answer, and nothing was changed', () => {
    const leader = new Leader();
    leader.request([1, 2, 3], [4]);
    leader.commit();
    leader.request([1, 2, 3, 4]);
    for (let i = 0; i <= 100; i++) leader.change.tick();
    expect(leader.failures).toMatchObject([expect.stringMatching(/no progress/)]);
    expect(leader.appended).toHaveLength(1);
    expect(leader.request([1, 2, 3], [])).toBeUndefined();
  });

  it('that was left in its joint phase is ended by the next leader, once it has committed something', () => {
    const leader = new Leader();
    leader.request([1, 2]);
    leader.highWatermark = leader.log.end;
    leader.hasCommitted = false;
    leader.change.advance();
    expect(leader.appended).toHaveLength(1);
    leader.hasCommitted = true;
    leader.change.advance();
    expect(leader.appended.at(-1)).toBe('1 2');
  });

  it.each<[string, (leader: Leader) => string | undefined, RegExp]>([
    ['without voters', (leader) => leader.request([]), /could never decide anything/],
    ['with a voter twice', (leader) => leader.request([1, 1]), /node 1 appears twice/],
    ['with a voter that is a learner', (leader) => leader.request([1, 2], [1]), /can't be a voter and a learner/],
    ['with a voter that was no learner', (leader) => leader.request([1, 2, 7]), /7 \(d7\) can't vote at once/],
    [
      'that names a member by another directory',
      (leader) => leader.change.request({ voters: [member(1), { id: 2, directory: 'new' }], learners: [] }),
      /2 \(new\) can't vote at once/,
    ],
    [
      'before a commit in the term',
      (leader) => {
        leader.hasCommitted = false;
        return leader.request([1, 2]);
      },
      /not committed anything in its term/,
    ],
    [
      'while the configuration in effect is not committed',
      (leader) => {
        leader.request([1, 2, 3], [5]);
        return leader.request([1, 2, 3]);
      },
      /not committed yet/,
    ],
    [
      'in a joint phase',
      (leader) => {
        leader.request([1, 2]);
        return leader.request([1]);
      },
      /joint phase/,
    ],
    [
      'while another one waits for its learners',
      (leader) => {
        leader.request([1, 2, 3], [4]);
        leader.commit();
        leader.request([1, 2, 3, 4]);
        return leader.request([1, 2]);
      },
      /waits for its learners/,
    ],
  ])('is refused %s', (_, ask, reason) => {
    expect(ask(new Leader())).toMatch(reason);
  });
});
