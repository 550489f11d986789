/** Rounds in, summaries out: what is quoted of a run is made here, and only here. */
import type { FloorStorage } from './floor/floor-cluster.js';
import type { CellSettings } from './plan.js';
import type { CellResult, CellRound, CellSummary, FloorResult, LatencyMs, RoundFigures } from './result.js';
import { bootstrapMedian, type Spread, spread } from './statistics.js';

export function summarizeCell(rounds: readonly CellRound[], seed: number): CellSummary {
  const of = (pick: (round: CellRound) => number): Spread => {
    const result = spread(rounds.map(pick));
    if (result === undefined) throw new RangeError('a cell without rounds has no summary');
    return result;
  };
  const perSync = spread(rounds.flatMap((round) => round.recordsPerSync ?? []));
  return {
    recordsPerSecond: of((round) => round.recordsPerSecond),
    mbPerSecond: of((round) => round.mbPerSecond),
    p50Ms: of((round) => round.p50Ms),
    p99Ms: of((round) => round.p99Ms),
    p999Ms: of((round) => round.p999Ms),
    syncsPerSecond: of((round) => round.syncsPerSecond),
    ...(perSync !== undefined && { recordsPerSync: perSync }),
    compressionRatio: of((round) => round.compressionRatio),
    verifiedRecords: rounds.reduce((sum, round) => sum + round.verified.verified, 0),
    ratioToFloor: {
      ...of((round) => round.ratioToFloor),
      interval: bootstrapMedian(
        rounds.map((round) => round.ratioToFloor),
        seed,
      ),
    },
  };
}

export function summarizeFloor(rounds: FloorResult['rounds']): FloorResult['summary'] {
  const recordsPerSecond = spread(rounds.map((round) => round.recordsPerSecond));
  if (recordsPerSecond === undefined) throw new RangeError('a floor without rounds has no summary');
  const timed = rounds.filter((round): round is RoundFigures => 'p50Ms' in round);
  const p50Ms = spread(timed.map((round) => round.p50Ms));
  const p99Ms = spread(timed.map((round) => round.p99Ms));
  return { recordsPerSecond, ...(p50Ms && { p50Ms }), ...(p99Ms && { p99Ms }) };
}

export function latencyMs(histogram: {
  getValueAtPercentile(p: number): number;
  readonly maxValue: number;
}): LatencyMs {
  const at = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1000;
  return { p50Ms: at(50), p99Ms: at(99), p999Ms: at(99.9), maxMs: histogram.maxValue / 1000 };
}

/** Records/s that floor (b) must reach for its ratios to mean anything, on a disk that syncs as fast as the one below. */
export const FLOOR_MIN: Readonly<Record<FloorStorage, Readonly<Record<number, number>>>> = {
  disk: { 100: 164_000, 1024: 58_000 },
  memory: { 100: 480_000, 1024: 83_000 },
};
/** The minimum holds where the disk makes 4 KiB durable at least this fast. */
export const FLOOR_MIN_YARDSTICK_MS = 0.3;

/**
 * Why a floor is too low to compare with; undefined when it isn't, or when nothing is known about floors of this size,
 * load or disk.
 */
export function floorProblem(floor: FloorResult, producers: number, window: number): string | undefined {
  const least = FLOOR_MIN[floor.storage][floor.recordBytes];
  const quick = floor.rounds.filter((round) => round.yardstickMs < FLOOR_MIN_YARDSTICK_MS);
  if (floor.kind !== 'server' || least === undefined || quick.length === 0 || producers * window < 1000)
    return undefined;
  const reached = spread(quick.map((round) => round.recordsPerSecond)) as Spread;
  if (reached.median >= least) return undefined;
  return (
    `the floor (bare server, ${floor.storage}, ${floor.recordBytes} B) reached ${Math.round(reached.median)} records/s; ` +
    `with a disk this fast at least ${least} are expected, so the machine was busy with something else and ratios to the floor mean nothing`
  );
}

export function findCell(cells: readonly CellResult[], wanted: Partial<CellSettings>): CellResult | undefined {
  const entries = Object.entries(wanted) as [keyof CellSettings, unknown][];
  return cells.find((cell) => entries.every(([key, value]) => cell.settings[key] === value));
}
