import { describe, expect, test } from 'vitest';
import { ProduceQueue, ProduceRequest } from '../../src/cluster/produce-request.js';

interface Settled {
  readonly name: string;
  readonly results: unknown[];
}

function setup(): {
  queue: ProduceQueue;
  settled: Settled[];
  request: (name: string, parts?: number, deadline?: number) => ProduceRequest;
} {
  const settled: Settled[] = [];
  return {
    queue: new ProduceQueue(),
    settled,
    request: (name, parts = 1, deadline = 1000) =>
      new ProduceRequest(-1, parts, 10, deadline, (_, results) => settled.push({ name, results })),
  };
}

describe('a produce queue', () => {
  test('one move of the cursor completes all it passed, in order, and nothing else', () => {
    const { queue, settled, request } = setup();
    for (let i = 0; i < 1000; i++) queue.push(request(`${i}`), 0, i, i + 1);
    queue.completeTo(600, 0);
    expect(settled.map((one) => one.name)).toEqual(Array.from({ length: 600 }, (_, i) => `${i}`));
    expect(settled[599]!.results).toEqual([['', '', 599, 0]]);
    expect(queue.length).toBe(400);
    queue.completeTo(600, 0);
    expect(settled).toHaveLength(600);
    queue.completeTo(5000, 3);
    expect(settled).toHaveLength(1000);
    expect(queue.length).toBe(0);
  });

  test('a duplicate takes its place by the offset that it waits for', () => {
    const { queue, settled, request } = setup();
    queue.push(request('first'), 0, 0, 5);
    queue.push(request('second'), 0, 5, 9);
    queue.push(request('first again'), 0, 0, 5);
    queue.push(request('older'), 0, 0, 3);
    queue.completeTo(3, 0);
    expect(settled.map((one) => one.name)).toEqual(['older']);
    queue.completeTo(5, 0);
    expect(settled.map((one) => one.name)).toEqual(['older', 'first', 'first again']);
    expect(queue.length).toBe(1);
  });

  test('a request of several parts is answered when the last one is settled', () => {
    const { queue, settled, request } = setup();
    const other = new ProduceQueue();
    const both = request('both', 2);
    queue.push(both, 0, 0, 5);
    other.push(both, 1, 7, 9);
    queue.completeTo(5, 0);
    expect(settled).toEqual([]);
    other.failAll('OUTCOME_UNKNOWN', 'gone');
    expect(settled).toEqual([
      {
        name: 'both',
        results: [
          ['', '', 0, 0],
          ['OUTCOME_UNKNOWN', 'gone', -1, -1],
        ],
      },
    ]);
  });

  test('whoever ran out of time is told that the outcome is unknown, once', () => {
    const { queue, settled, request } = setup();
    queue.push(request('late', 1, 2000), 0, 0, 1);
    queue.push(request('early', 1, 1000), 0, 1, 2);
    queue.expire(1500, 'too slow');
    expect(settled).toEqual([{ name: 'early', results: [['OUTCOME_UNKNOWN', 'too slow', -1, -1]] }]);
    queue.completeTo(2, 0);
    expect(settled.map((one) => one.name)).toEqual(['early', 'late']);
  });
});
