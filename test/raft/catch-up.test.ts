import { expect, test } from 'vitest';
import { CatchUp } from '../../src/raft/catch-up.js';

const ELECTION_TICKS = 10;

function ticks(catchUp: CatchUp, count: number): void {
  for (let i = 0; i < count; i++) catchUp.tick();
}

test('a learner that has everything has caught up at once', () => {
  expect(new CatchUp(100, ELECTION_TICKS).check(100, 100)).toBe('caught-up');
});

test('a round that takes an election timeout is followed by another one, to the end the log has by then', () => {
  const catchUp = new CatchUp(100, ELECTION_TICKS);
  ticks(catchUp, ELECTION_TICKS);
  expect(catchUp.check(99, 150)).toBe('pending');
  expect(catchUp.check(100, 150)).toBe('pending');
  ticks(catchUp, ELECTION_TICKS - 1);
  expect(catchUp.check(149, 160)).toBe('pending');
  expect(catchUp.check(150, 160)).toBe('caught-up');
});

test('ten long rounds are too many', () => {
  const catchUp = new CatchUp(100, ELECTION_TICKS);
  for (let round = 1; round < 10; round++) {
    ticks(catchUp, ELECTION_TICKS);
    expect(catchUp.check(100 * round, 100 * (round + 1))).toBe('pending');
  }
  ticks(catchUp, ELECTION_TICKS);
  expect(catchUp.check(1000, 1100)).toMatchObject({ failed: expect.stringMatching(/slower than the load/) });
});

test('without any progress it ends, with some it goes on', () => {
  const catchUp = new CatchUp(100, ELECTION_TICKS);
  for (let match = 1; match < 50; match++) {
    ticks(catchUp, ELECTION_TICKS);
    expect(catchUp.check(match, 100)).toBe('pending');
  }
  ticks(catchUp, 10 * ELECTION_TICKS);
  expect(catchUp.check(49, 100)).toBe('pending');
  ticks(catchUp, 1);
  expect(catchUp.check(49, 100)).toMatchObject({ failed: expect.stringMatching(/no progress/) });
});
