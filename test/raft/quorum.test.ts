import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ballot, majority, majorityCursor } from '../../src/raft/quorum.js';
import { member, votersOf } from './members.js';

describe('majority', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
    [6, 4],
    [7, 4],
  ])('of %i voters is %i', (voters, needed) => {
    expect(majority(voters)).toBe(needed);
  });

  it('always shares a voter with every other majority', () => {
    for (let voters = 1; voters < 20; voters++) expect(2 * majority(voters)).toBeGreaterThan(voters);
  });
});

describe('majorityCursor', () => {
  it.each([
    [[7], 7],
    [[7, 0], 0],
    [[7, 5, 0], 5],
    [[9, 9, 4, 4, 4], 4],
    [[1, 2, 3, 4], 2],
  ])('of %j is %i', (cursors, expected) => {
    expect(majorityCursor([...cursors])).toBe(expected);
  });

  it('is the greatest end that a majority has reached', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 9 }), (cursors) => {
        const reached = (end: number) => cursors.filter((cursor) => cursor >= end).length;
        const result = majorityCursor([...cursors]);
        expect(reached(result)).toBeGreaterThanOrEqual(majority(cursors.length));
        expect(reached(result + 1)).toBeLessThan(majority(cursors.length));
      }),
    );
  });
});

describe('Ballot', () => {
  it('is won by a majority and lost when none is left to win', () => {
    const won = new Ballot(votersOf(1, 2, 3));
    won.record(member(1), true);
    expect(won.result).toBe('pending');
    won.record(member(2), false);
    expect(won.result).toBe('pending');
    won.record(member(3), true);
    expect(won.result).toBe('won');

    const lost = new Ballot(votersOf(1, 2, 3, 4));
    lost.record(member(1), true);
    lost.record(member(2), false);
    expect(lost.result).toBe('pending');
    lost.record(member(3), false);
    expect(lost.result).toBe('lost');
  });

  it('counts a voter once, by its first answer, and nobody else', () => {
    const ballot = new Ballot(votersOf(1, 2, 3));
    for (const voter of [member(1), member(1), member(4), { id: 2, directory: 'new' }]) ballot.record(voter, true);
    expect(ballot.result).toBe('pending');
    ballot.record(member(2), false);
    ballot.record(member(2), true);
    expect(ballot.result).toBe('pending');
  });

  it('needs a majority of both sets in a joint phase, and is lost when one of them is', () => {
    const joint = { voters: [member(1), member(4), member(5)], outgoing: votersOf(1, 2, 3).voters, learners: [] };
    const won = new Ballot(joint);
    for (const id of [1, 4, 5]) won.record(member(id), true);
    expect(won.result).toBe('pending');
    won.record(member(3), true);
    expect(won.result).toBe('won');
    const lost = new Ballot(joint);
    for (const id of [1, 2, 3]) lost.record(member(id), true);
    for (const id of [4, 5]) lost.record(member(id), false);
    expect(lost.result).toBe('lost');
  });

  it('of one voter is decided by that voter, of none by nobody', () => {
    const ballot = new Ballot(votersOf(1));
    expect(ballot.result).toBe('pending');
    ballot.record(member(1), true);
    expect(ballot.result).toBe('won');
    expect(new Ballot(votersOf()).result).toBe('lost');
  });
});
