/** What a partition was promised, as the history's settings say, with the defaults filled in. */
import type { PartitionSettings } from './operation.js';

export type FlushMode = 'sync' | 'async' | 'none';

export interface ResolvedSettings {
  readonly flush: FlushMode;
  readonly flushMs: number;
  /** Undefined: not known, and nothing is judged that needs a majority. */
  readonly replicas: readonly string[] | undefined;
  readonly compacted: boolean;
  readonly dense: boolean;
  readonly retentionMs: number | undefined;
  readonly retentionBytes: number | undefined;
  readonly logStart: number;
}

export function resolveSettings(given: Omit<PartitionSettings, 'op' | 'partition'>): ResolvedSettings {
  return {
    flush: given.flush ?? 'sync',
    flushMs: given.flushMs ?? 50,
    replicas: given.replicas?.map(String),
    compacted: given.compacted ?? false,
    dense: given.dense ?? false,
    retentionMs: given.retentionMs,
    retentionBytes: given.retentionBytes,
    logStart: given.logStart ?? 0,
  };
}

/** Votes that decide among `count` voters. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}
