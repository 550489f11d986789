import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ballot, majority, majorityCursor } from '../../src/raft/quorum.js';

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
    const won = new Ballot(3);
    won.record(1, true);
    expect(won.result).toBe('pending');
    won.record(2, false);
    expect(won.result).toBe('pending');
    won.record(3, true);
    expect(won.result).toBe('won');

    const lost = new Ballot(4);
    lost.record(1, true);
    lost.record(2, false);
    expect(lost.result).toBe('pending');
    lost.record(3, false);
    expect(lost.result).toBe('lost');
  });

  it('counts a voter once, by its first answer', () => {
    const ballot = new Ballot(3);
    ballot.record(1, true);
    ballot.record(1, true);
    expect(ballot.result).toBe('pending');
    ballot.record(2, false);
    ballot.record(2, true);
    expect(ballot.result).toBe('pending');
  });

  it('of one voter is decided by that voter', () => {
    const ballot = new Ballot(1);
    expect(ballot.result).toBe('pending');
    ballot.record(1, true);
    expect(ballot.result).toBe('won');
  });
});
