// The workload 'reserve' does what its name says: what found no space is made all the same, which only the reserve allows.
import { afterAll, expect, test } from 'vitest';
import { record } from './campaign.js';
import { Scratch } from './scratch.js';
import { WORKLOADS } from './workloads.js';

const scratch = new Scratch();
afterAll(() => scratch.close());

test('checkpoints, truncations and journal files that find no space are made with the reserve', async () => {
  const workload = WORKLOADS.find(({ name }) => name === 'reserve')!;
  const made: string[] = [];
  for (let seed = 1; seed <= 4; seed++) {
    const events = await record(workload, scratch, seed);
    for (const [index, { kind, path }] of events.entries()) {
      if (kind !== 'fault') continue;
      const again = events.slice(index).find((event) => event.path === path && event.kind === 'create');
      if (again !== undefined) made.push(path);
    }
  }
  for (const what of ['.log', 'checkpoint.tmp', 'journal/']) {
    expect(made.filter((path) => path.includes(what)).length, what).toBeGreaterThan(0);
  }
});
