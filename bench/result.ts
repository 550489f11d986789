/**
 * The result of a run, as `--json` writes it and as table, HTML page and advice are made of it. `schemaVersion` grows
 * with every change that a reader of the file could notice.
 */
import type { FloorStorage } from './floor/floor-cluster.js';
import type { BenchPlan, CellSettings } from './plan.js';
import type { Interval, Spread } from './statistics.js';
import type { Verification } from './verify.js';
import type { YardstickReading } from './yardstick.js';

export const RESULT_SCHEMA = 'varve-bench';
export const RESULT_SCHEMA_VERSION = 1;

export interface LatencyMs {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** One measurement of anything that takes records. */
export interface RoundFigures extends LatencyMs {
  readonly round: number;
  readonly recordsPerSecond: number;
  /** 10⁶ bytes of record values per second. */
  readonly mbPerSecond: number;
  readonly yardstickMs: number;
}

export interface CellRound extends RoundFigures {
  readonly errors: number;
  readonly firstError?: string;
  /** Of the partition's leader. */
  readonly syncsPerSecond: number;
  /** Records accepted by the leader ÷ its syncs; absent when it made none. */
  readonly recordsPerSync?: number;
  /** Bytes of the batches as they would be without a codec ÷ as they are stored. */
  readonly compressionRatio: number;
  readonly verified: Verification;
  /** records/s ÷ those of the floor in the same round. */
  readonly ratioToFloor: number;
  /** Open loop: the generator fell behind its schedule. */
  readonly behindRecords?: number;
}

export interface CellSummary {
  readonly recordsPerSecond: Spread;
  readonly mbPerSecond: Spread;
  readonly p50Ms: Spread;
  readonly p99Ms: Spread;
  readonly p999Ms: Spread;
  readonly syncsPerSecond: Spread;
  readonly recordsPerSync?: Spread;
  readonly compressionRatio: Spread;
  readonly verifiedRecords: number;
  readonly ratioToFloor: Spread & { readonly interval: Interval };
}

export interface CellResult {
  readonly settings: CellSettings;
  readonly floor: FloorStorage;
  readonly rounds: readonly CellRound[];
  readonly summary: CellSummary;
}

export interface FloorResult {
  /** 'sync-loop': floor (a). 'server': floor (b). */
  readonly kind: 'sync-loop' | 'server';
  readonly storage: FloorStorage;
  readonly recordBytes: number;
  /** Floor (a): records written at a time. */
  readonly recordsPerSync?: number;
  readonly rounds: readonly (RoundFigures | Omit<RoundFigures, keyof LatencyMs>)[];
  readonly summary: { readonly recordsPerSecond: Spread; readonly p50Ms?: Spread; readonly p99Ms?: Spread };
}

/** What one kill -9 of the leader under load did to one cell of acks × flush. */
export interface KillResult {
  readonly acks: CellSettings['acks'];
  readonly flush: CellSettings['flush'];
  readonly recordBytes: number;
  /** Acknowledged before the leader was killed, and in all. */
  readonly acknowledgedBeforeKill: number;
  readonly acknowledged: number;
  readonly inFlightAtKill: number;
  readonly verified: Verification;
  /** From the kill to the first acknowledgement by another leader. */
  readonly unavailableMs: number;
  /** From the restart until the killed node had everything. Absent when a promise was broken: then it stays down. */
  readonly catchUpMs?: number;
  /** True when the setting promises to lose nothing here. */
  readonly mustLoseNothing: boolean;
}

export interface Environment {
  readonly varve: string;
  readonly gitCommit?: string;
  readonly node: string;
  readonly platform: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly fileSystem: string;
  readonly mount?: string;
  readonly disk?: string;
  readonly loadAverage: number;
}

export interface BenchResult {
  readonly schema: typeof RESULT_SCHEMA;
  readonly schemaVersion: typeof RESULT_SCHEMA_VERSION;
  readonly command: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly plan: BenchPlan;
  readonly environment: Environment;
  readonly yardstick: readonly (YardstickReading & { readonly round: number })[];
  /** False: the figures must not be quoted; `problems` says why. */
  readonly valid: boolean;
  readonly problems: readonly string[];
  /** True when a promise was broken: the process exits with 1. */
  readonly failed: boolean;
  readonly failures: readonly string[];
  readonly warnings: readonly string[];
  readonly floors: readonly FloorResult[];
  readonly cells: readonly CellResult[];
  readonly kills: readonly KillResult[];
  readonly advice: readonly string[];
}
