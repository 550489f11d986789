import { expect, test } from 'vitest';
import { systemEnvironment } from '../../src/environment.js';
import { inNextTurn, WriteScheduler } from '../../src/rpc/write-scheduler.js';

const target = (flush: () => void = () => {}) => ({ flush });

test('a turn is asked for once, however much there is to write and whoever flushes meanwhile', () => {
  const turns: (() => void)[] = [];
  const environment = { ...systemEnvironment, nextTurn: (task: () => void) => void turns.push(task) };
  const scheduler = new WriteScheduler(inNextTurn(environment));
  let flushed = 0;
  for (let i = 0; i < 3; i++) scheduler.add(target(() => flushed++));
  scheduler.flush();
  scheduler.add(target(() => flushed++));
  expect(turns).toHaveLength(1);
  turns[0]!();
  expect(flushed).toBe(4);
  scheduler.add(target());
  expect(turns).toHaveLength(2);
});

test('an owner that flushes at the end of its own turn is asked for it, and no turn is made besides', () => {
  let asked = 0;
  const scheduler = new WriteScheduler(() => asked++);
  scheduler.add(target(() => scheduler.add(target())));
  scheduler.add(target());
  expect(asked).toBe(1);
  scheduler.flush();
  // What writing set going waits for the next turn, and the owner knows of it.
  expect(scheduler.isPending).toBe(true);
  expect(asked).toBe(2);
  scheduler.flush();
  expect(scheduler.isPending).toBe(false);
});
