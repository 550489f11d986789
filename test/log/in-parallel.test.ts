import { expect, test } from 'vitest';
import { inParallel } from '../../src/log/in-parallel.js';

/** Work that ends when the test says so. */
function scripted() {
  const begun: number[] = [];
  const ends: ((error?: Error) => void)[] = [];
  const work = (item: number) => {
    begun.push(item);
    return new Promise<void>((resolve, reject) => {
      ends.push((error) => (error === undefined ? resolve() : reject(error)));
    });
  };
  return { begun, ends, work };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('no more than the limit are under way, and each one that ends makes room for the next', async () => {
  const { begun, ends, work } = scripted();
  const all = inParallel([1, 2, 3, 4], 2, work);
  await turn();
  expect(begun).toEqual([1, 2]);
  ends[1]!();
  await turn();
  expect(begun).toEqual([1, 2, 3]);
  for (const end of [0, 2]) ends[end]!();
  await turn();
  ends[3]!();
  await all;
  expect(begun).toEqual([1, 2, 3, 4]);
});

test('after a failure nothing new is begun, and what is under way is waited for', async () => {
  const { begun, ends, work } = scripted();
  let settled = false;
  const all = inParallel([1, 2, 3], 2, work).catch((error: Error) => {
    settled = true;
    return error.message;
  });
  await turn();
  ends[0]!(new Error('the first'));
  await turn();
  expect(settled).toBe(false);
  ends[1]!(new Error('another'));
  expect(await all).toBe('the first');
  expect(begun).toEqual([1, 2]);
});
