import { describe, expect, it } from 'vitest';
import { Prng } from './prng.js';
import { Simulation, type Weather } from './simulation.js';

/** RAFT_SEED replays one run, RAFT_SEEDS sets how many are tried. */
const REPLAY = process.env['RAFT_SEED'];
const SEEDS = Number(process.env['RAFT_SEEDS'] ?? 150);
for (const [name, value] of Object.entries({ RAFT_SEED: Number(REPLAY ?? 0), RAFT_SEEDS: SEEDS })) {
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name} is a whole number, 0 or more`);
}

/** Every seed has its own weather, so that quiet and rough runs of each kind are among them. */
function weatherOf(prng: Prng): Weather {
  return {
    loss: prng.pick([0, 0.02, 0.1, 0.3]),
    duplication: prng.pick([0, 0.1, 0.4]),
    delayMax: prng.pick([1, 3, 10, 25]),
    crash: prng.pick([0, 0.002, 0.01]),
    power: prng.pick([0, 0.3, 1]),
    restart: prng.pick([0.02, 0.2]),
    pause: prng.pick([0, 0, 0.01]),
    partition: prng.pick([0, 0.01, 0.03]),
    heal: prng.pick([0.02, 0.04, 0.1]),
    sync: prng.pick([0.05, 0.3, 0.9]),
    report: prng.pick([0.05, 0.3, 1]),
    tick: prng.pick([0.3, 0.6, 1]),
    propose: prng.pick([0.05, 0.3, 0.8]),
    retention: prng.pick([0, 0.02]),
    change: prng.pick([0, 0, 0.02, 0.1]),
    wipe: prng.pick([0, 0, 0.02]),
    transfer: prng.pick([0, 0, 0.02]),
    read: prng.pick([0, 0.02, 0.2]),
  };
}

type Happened = Simulation['happened'];

function play(seed: number, countBy: 'durable' | 'written'): Happened {
  const prng = new Prng(seed ^ 0x5eed);
  const simulation = new Simulation(seed, prng.pick([1, 2, 3, 3, 3, 5]), prng.pick([0, 0, 2]), countBy);
  try {
    for (let phase = 0; phase < 3; phase++) simulation.run(250, weatherOf(prng));
    simulation.recover();
  } catch (error) {
    const replay = `RAFT_SEED=${seed} npx vitest run test/raft/simulation.test.ts -t ${countBy}`;
    const message = `seed ${seed} failed; replay: ${replay}\n${(error as Error).message}\n${simulation.trace.join('\n')}`;
    throw new Error(message, { cause: error });
  }
  return simulation.happened;
}

describe('a cluster under loss, duplication, reordering, partitions, slow disks and crashes', () => {
  for (const countBy of ['durable', 'written'] as const) {
    it(`keeps every promise of Raft and recovers when counting by ${countBy}`, () => {
      if (REPLAY !== undefined) {
        expect(play(Number(REPLAY), countBy).commits).toBeGreaterThan(0);
        return;
      }
      const sum: Partial<Record<string, number>> = {};
      for (let seed = 1; seed <= SEEDS; seed++) {
        for (const [what, count] of Object.entries(play(seed, countBy))) sum[what] = (sum[what] ?? 0) + count;
      }
      // A cluster to which nothing happens keeps every promise.
      const rare = countBy === 'durable' ? ['forgotten', 'recovered', 'offline'] : ['offline'];
      for (const [what, count] of Object.entries(sum)) {
        if (!rare.includes(what)) expect(count, what).toBeGreaterThan(SEEDS / 20);
      }
      expect(sum['offline']).toBeLessThan(SEEDS / 2);
    });
  }
});
