/**
 * What a run measures: settings checked and turned into cells, in the order in which they are measured.
 *
 * The acks × flush grid runs at one batch size and one codec (256 KiB and none, if they are among those asked for); all
 * batch sizes and codecs are crossed at acks=all, flush=sync (or, when that is not asked for, at every cell of the grid).
 */
import type { Acks } from '../src/client/options.js';
import type { FlushMode } from '../src/disk/disk.js';
import type { Compression } from '../src/record/types.js';
import type { FloorStorage } from './floor/floor-cluster.js';

/** 'record': each record is a batch of its own. Else the bytes at which a batch is closed. */
export type BatchSetting = 'record' | number;

export interface CellSettings {
  readonly acks: Acks;
  readonly flush: FlushMode;
  readonly batch: BatchSetting;
  readonly compression: Compression;
  readonly recordBytes: number;
}

export interface MatrixSettings {
  readonly acks: readonly Acks[];
  readonly flush: readonly FlushMode[];
  readonly batch: readonly BatchSetting[];
  readonly compression: readonly Compression[];
  readonly recordBytes: readonly number[];
}

export interface BenchPlan extends MatrixSettings {
  readonly preset: PresetName;
  /** Times each cell is measured. Rounds go through the cells forward, then backward, and so on. */
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly producers: number;
  readonly window: number;
  /** Open loop, records per second over all producers. */
  readonly ratePerSecond?: number;
  readonly killTests: boolean;
  readonly seed: number;
  readonly payloadFile?: string;
  /** A run that would take longer ends with fewer rounds, and says so. Default: it takes the time it takes. */
  readonly budgetSeconds?: number;
}

export type PresetName = 'default' | 'start' | 'quick' | 'full' | 'headline';

const EVERYTHING: MatrixSettings = {
  acks: [0, 1, 'all'],
  flush: ['sync', 'async', 'none'],
  batch: ['record', 16 * 1024, 256 * 1024],
  compression: ['none', 'lz4', 'zstd'],
  recordBytes: [100, 1024],
};

const BASE: Omit<BenchPlan, 'preset'> = {
  ...EVERYTHING,
  rounds: 3,
  seconds: 1,
  warmUpSeconds: 0.5,
  producers: 8,
  window: 128,
  killTests: true,
  seed: 1,
};

export const PRESETS: Readonly<Record<PresetName, Omit<BenchPlan, 'preset'> & { readonly about: string }>> = {
  default: { ...BASE, about: 'the whole matrix, 3 rounds of 1 s' },
  start: {
    ...BASE,
    warmUpSeconds: 0.1,
    budgetSeconds: 262,
    about: 'the whole matrix with the least warm-up, in under 5 minutes',
  },
  quick: {
    ...BASE,
    batch: [256 * 1024],
    compression: ['none'],
    recordBytes: [1024],
    warmUpSeconds: 0.2,
    about: 'acks × flush at 1 KiB, in about a minute',
  },
  full: { ...BASE, rounds: 6, seconds: 3, warmUpSeconds: 1, about: 'the whole matrix, 6 rounds of 3 s' },
  headline: {
    ...BASE,
    acks: ['all'],
    flush: ['sync'],
    batch: [256 * 1024],
    compression: ['none'],
    rounds: 7,
    about: 'acks=all, flush=sync against its floors, 7 rounds',
    killTests: false,
  },
};

/** One thing to measure in a round. */
export type PlanStep =
  | { readonly kind: 'cell'; readonly cell: CellSettings }
  | { readonly kind: 'floor'; readonly storage: FloorStorage; readonly recordBytes: number }
  | { readonly kind: 'sync-loop'; readonly recordBytes: number };

/** The floor a cell is held against: who promises the disk against the disk, who promises memory against memory. */
export function floorOf(cell: CellSettings): FloorStorage {
  return cell.flush === 'sync' ? 'disk' : 'memory';
}

export function cellsOf(matrix: MatrixSettings): CellSettings[] {
  const gridBatch = matrix.batch.includes(256 * 1024) ? 256 * 1024 : (matrix.batch.at(-1) as BatchSetting);
  const gridCompression = matrix.compression.includes('none') ? 'none' : (matrix.compression[0] as Compression);
  const hasStrictest = matrix.acks.includes('all') && matrix.flush.includes('sync');
  const cells: CellSettings[] = [];
  for (const recordBytes of matrix.recordBytes) {
    for (const flush of matrix.flush) {
      for (const acks of matrix.acks) {
        const crossed = !hasStrictest || (acks === 'all' && flush === 'sync');
        for (const batch of crossed ? matrix.batch : [gridBatch]) {
          for (const compression of crossed ? matrix.compression : [gridCompression]) {
            cells.push({ acks, flush, batch, compression, recordBytes });
          }
        }
      }
    }
  }
  return cells;
}

/**
 * The steps of one round. Each floor stands in the middle of the cells that are held against it, so that both see the
 * same spell of the machine. Every second round runs backward.
 */
export function roundSteps(matrix: MatrixSettings, round: number): PlanStep[] {
  const steps: PlanStep[] = [];
  const cells = cellsOf(matrix);
  for (const recordBytes of matrix.recordBytes) {
    steps.push({ kind: 'sync-loop', recordBytes });
    for (const storage of ['disk', 'memory'] as const) {
      const compared = cells.filter((cell) => cell.recordBytes === recordBytes && floorOf(cell) === storage);
      if (compared.length === 0) continue;
      const half = Math.ceil(compared.length / 2);
      steps.push(
        ...compared.slice(0, half).map((cell) => ({ kind: 'cell', cell }) as const),
        { kind: 'floor', storage, recordBytes },
        ...compared.slice(half).map((cell) => ({ kind: 'cell', cell }) as const),
      );
    }
  }
  return round % 2 === 0 ? steps : steps.reverse();
}

/** `acks=all sync 256k lz4 1k`: how a cell is called in tables and messages. */
export function cellName(cell: CellSettings): string {
  return `acks=${cell.acks} ${cell.flush} ${batchName(cell.batch)} ${cell.compression} ${sizeName(cell.recordBytes)}`;
}

export function batchName(batch: BatchSetting): string {
  return batch === 'record' ? '1' : sizeName(batch);
}

/** `100`, `1k`, `256k`, `1m`: as flags take it. */
export function sizeName(bytes: number): string {
  if (bytes % (1024 * 1024) === 0) return `${bytes / (1024 * 1024)}m`;
  return bytes % 1024 === 0 ? `${bytes / 1024}k` : `${bytes}`;
}
