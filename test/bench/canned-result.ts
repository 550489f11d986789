/** A whole result, made up but consistent: what the report tests render. */
import { type CellSettings, cellsOf, floorOf, PRESETS } from '../../bench/plan.js';
import { adviceFor } from '../../bench/report/advice.js';
import {
  type BenchResult,
  type CellResult,
  type CellRound,
  type FloorResult,
  type KillResult,
  RESULT_SCHEMA,
  RESULT_SCHEMA_VERSION,
} from '../../bench/result.js';
import { randomFrom } from '../../bench/statistics.js';
import { summarizeCell, summarizeFloor } from '../../bench/summary.js';
import type { Verification } from '../../bench/verify.js';

export const CLEAN: Verification = {
  verified: 100_000,
  lost: 0,
  unacknowledged: 0,
  duplicates: 0,
  outOfOrder: 0,
  corrupt: 0,
  foreign: 0,
  misplaced: 0,
  holes: 0,
  findings: [],
};

const FLOOR_RATE = { disk: { 100: 450_000, 1024: 220_000 }, memory: { 100: 800_000, 1024: 350_000 } } as const;

export function cannedResult(): BenchResult {
  const plan = { ...PRESETS.start, preset: 'start' as const };
  const random = randomFrom(7);
  const noise = () => 0.92 + random() * 0.16;
  const floors = (['disk', 'memory'] as const).flatMap((storage) =>
    ([100, 1024] as const).map((recordBytes): FloorResult => {
      const rounds = [0, 1, 2].map((round) => ({
        round,
        recordsPerSecond: FLOOR_RATE[storage][recordBytes] * noise(),
        mbPerSecond: (FLOOR_RATE[storage][recordBytes] * recordBytes) / 1e6,
        p50Ms: 2.1,
        p99Ms: 5.5,
        p999Ms: 9,
        maxMs: 14,
        yardstickMs: 0.13,
      }));
      return { kind: 'server', storage, recordBytes, rounds, summary: summarizeFloor(rounds) };
    }),
  );
  const loopRounds = [0, 1, 2].map((round) => ({ round, recordsPerSecond: 7000, mbPerSecond: 7, yardstickMs: 0.13 }));
  const loop: FloorResult = {
    kind: 'sync-loop',
    storage: 'disk',
    recordBytes: 1024,
    recordsPerSync: 1,
    rounds: loopRounds,
    summary: summarizeFloor(loopRounds),
  };
  const cells = cellsOf(plan).map((settings): CellResult => {
    const floor = floorOf(settings);
    const rounds = [0, 1, 2].map((round): CellRound => {
      const ratioToFloor = ratioOf(settings) * noise();
      const recordsPerSecond = FLOOR_RATE[floor][settings.recordBytes as 100 | 1024] * ratioToFloor;
      return {
        round,
        recordsPerSecond,
        mbPerSecond: (recordsPerSecond * settings.recordBytes) / 1e6,
        p50Ms: 1_024_000 / recordsPerSecond,
        p99Ms: 3_000_000 / recordsPerSecond,
        p999Ms: 7_000_000 / recordsPerSecond,
        maxMs: 80,
        yardstickMs: 0.13,
        errors: 0,
        syncsPerSecond: 1800 * noise(),
        recordsPerSync: recordsPerSecond / 1800,
        compressionRatio: { none: 1, lz4: 2.4, zstd: 4.2, gzip: 4, snappy: 2.3 }[settings.compression],
        verified: { ...CLEAN, verified: Math.round(recordsPerSecond) },
        ratioToFloor,
      };
    });
    return { settings, floor, rounds, summary: summarizeCell(rounds, 1) };
  });
  const kills = plan.flush.flatMap((flush) =>
    plan.acks.map((acks): KillResult => {
      const mustLoseNothing = acks === 'all';
      return {
        acks,
        flush,
        recordBytes: 1024,
        acknowledgedBeforeKill: 6000,
        acknowledged: 9000,
        inFlightAtKill: 1024,
        verified: { ...CLEAN, verified: 9000, lost: mustLoseNothing ? 0 : 37, unacknowledged: 4 },
        unavailableMs: 1530,
        catchUpMs: 820,
        mustLoseNothing,
      };
    }),
  );
  return {
    schema: RESULT_SCHEMA,
    schemaVersion: RESULT_SCHEMA_VERSION,
    command: 'varve bench --preset start --payload "<my> & your\'s.ndjson"',
    startedAt: '2026-01-02T03:04:05.678Z',
    seconds: 214,
    plan,
    environment: {
      varve: '0.1.0',
      gitCommit: '0123456789ab',
      node: 'v20.20.2',
      platform: 'linux-x64',
      kernel: '6.1.0',
      cpu: 'Processor <A&B>',
      cores: 2,
      memoryBytes: 8 * 2 ** 30,
      fileSystem: 'ext4',
      mount: 'ext4 (rw,relatime)',
      disk: 'vda, 252 GiB',
      loadAverage: 0.4,
    },
    yardstick: [0, 1, 2].map((round) => ({ round, medianMs: 0.13, p90Ms: 0.16, maxMs: 0.9 })),
    valid: true,
    problems: [],
    failed: false,
    failures: [],
    warnings: ['acks=0 none 256k none 100, round 2: the leader changed while it was measured'],
    floors: [...floors, loop],
    cells,
    kills,
    advice: adviceFor({ plan, cells, floors, kills }),
  };
}

function ratioOf({ acks, batch, compression }: CellSettings): number {
  const byAcks = { 0: 0.9, 1: 0.75, all: 0.6 }[acks];
  const byBatch = batch === 'record' ? 0.08 : batch < 100_000 ? 0.9 : 1;
  return byAcks * byBatch * { none: 1, lz4: 1.1, zstd: 0.7, gzip: 0.4, snappy: 1 }[compression];
}
