import { describe, expect, test } from 'vitest';
import { parseSize, planFrom } from '../../bench/options.js';
import { cellName, cellsOf, floorOf, PRESETS, roundSteps } from '../../bench/plan.js';

describe('flags become a plan', () => {
  test('without any, it is the whole matrix: 34 cells', () => {
    const plan = planFrom({});
    expect(plan.rounds).toBe(3);
    expect(cellsOf(plan)).toHaveLength(34);
    expect(new Set(cellsOf(plan).map(cellName)).size).toBe(34);
  });

  test('the start preset measures all of it, at least three times for a second', () => {
    const plan = planFrom({ preset: 'start' });
    expect(cellsOf(plan)).toHaveLength(34);
    expect(plan.rounds).toBeGreaterThanOrEqual(3);
    expect(plan.seconds).toBeGreaterThanOrEqual(1);
    expect(plan.killTests).toBe(true);
  });

  test('the headline preset is acks=all, flush=sync with 8 producers × window 128, in five rounds or more', () => {
    const plan = planFrom({ preset: 'headline' });
    expect(plan).toMatchObject({ acks: ['all'], flush: ['sync'], producers: 8, window: 128, recordBytes: [100, 1024] });
    expect(plan.rounds).toBeGreaterThanOrEqual(5);
    expect(planFrom({ preset: 'headline', kill: true }).killTests).toBe(false);
    expect(planFrom({ preset: 'start', kill: false }).killTests).toBe(false);
  });

  test('lists pick what is measured', () => {
    const plan = planFrom({ acks: '0,all', flush: 'async', batch: '1,16k', compression: 'zstd', size: '1k' });
    expect(plan).toMatchObject({ acks: [0, 'all'], flush: ['async'], batch: ['record', 16384], recordBytes: [1024] });
    expect(cellsOf(plan).map(cellName)).toEqual([
      'acks=0 async 1 zstd 1k',
      'acks=0 async 16k zstd 1k',
      'acks=all async 1 zstd 1k',
      'acks=all async 16k zstd 1k',
    ]);
  });

  test('sizes are written as people write them', () => {
    expect(['100', '1k', '256K', '1m', '16kb'].map((text) => parseSize('--size', text))).toEqual([
      100, 1024, 262144, 1048576, 16384,
    ]);
  });
});

describe('a bad flag is refused, by name', () => {
  test.each([
    [{ acks: '2' }, /--acks: "2" is none of 0, 1, all/],
    [{ acks: 'all,all' }, /--acks.*twice/],
    [{ flush: 'sometimes' }, /--flush: "sometimes"/],
    [{ compression: 'lz77' }, /--compression: "lz77"/],
    [{ batch: '7' }, /--batch: 7/],
    [{ batch: '16q' }, /--batch: "16q" is no size/],
    [{ size: '10' }, /--size/],
    [{ size: '' }, /--size.*empty item/],
    [{ rounds: '0' }, /--rounds: "0"/],
    [{ rounds: '3', repeats: '3' }, /--rounds and --repeats/],
    [{ seconds: 'soon' }, /--seconds: "soon"/],
    [{ producers: '1000' }, /--producers/],
    [{ window: '1e9' }, /--window/],
    [{ rate: '-5' }, /--rate: "-5"/],
    [{ seed: '-1' }, /--seed/],
    [{ preset: 'fast' }, /--preset: there is no preset "fast"; there are default, start/],
    [{ window: '100000', size: '512k' }, /MiB in flight/],
  ])('%j', (flags, message) => {
    expect(() => planFrom(flags)).toThrowError(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) }),
    );
  });
});

describe('the order of a round', () => {
  test('holds every cell once, and puts each floor among the cells that are held against it', () => {
    const plan = planFrom({});
    const steps = roundSteps(plan, 0);
    expect(steps.filter((step) => step.kind === 'cell')).toHaveLength(34);
    for (const [i, step] of steps.entries()) {
      if (step.kind !== 'floor') continue;
      for (const neighbour of [steps[i - 1], steps[i + 1]]) {
        if (neighbour?.kind !== 'cell') throw new Error('a floor stands alone');
        expect(floorOf(neighbour.cell)).toBe(step.storage);
        expect(neighbour.cell.recordBytes).toBe(step.recordBytes);
      }
    }
  });

  test('is reversed in every second round', () => {
    const plan = PRESETS.default;
    expect(roundSteps(plan, 1)).toEqual(roundSteps(plan, 0).reverse());
    expect(roundSteps(plan, 2)).toEqual(roundSteps(plan, 0));
  });
});
