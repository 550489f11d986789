/** The result as tables for the terminal. */
import Table from 'cli-table3';
import { batchName } from '../plan.js';
import type { BenchResult, CellResult, FloorResult, KillResult } from '../result.js';
import { bytes, count, milliseconds, ratio, whole } from './format.js';

/** Columns two spaces apart and nothing else: what a terminal of 120 characters has room for. */
const PLAIN: Pick<Table.TableConstructorOptions, 'style' | 'chars'> = {
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  chars: {
    ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '' },
    ...{ bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' },
    ...{ left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
  },
};

export function resultTables(result: BenchResult): string {
  const parts: string[] = [];
  for (const recordBytes of result.plan.recordBytes) {
    const cells = result.cells.filter((cell) => cell.settings.recordBytes === recordBytes);
    const floors = result.floors.filter((floor) => floor.recordBytes === recordBytes);
    parts.push(`\nRecords of ${bytes(recordBytes)}`, cellTable(cells, floors, result.kills));
  }
  if (result.kills.length > 0) parts.push('\nkill -9 of the leader under load', killTable(result.kills));
  return parts.join('\n');
}

function cellTable(cells: readonly CellResult[], floors: readonly FloorResult[], kills: readonly KillResult[]): string {
  const table = new Table({
    head: [
      'acks',
      'flush',
      'batch',
      'codec',
      'rec/s',
      'spread',
      'MB/s',
      'p50 ms',
      'p99',
      'p99.9',
      'sync/s',
      'rec/sync',
      'packed',
      'checked',
      '÷floor',
      'lost by kill',
    ],
    colAligns: ['left', 'left', ...Array.from({ length: 14 }, () => 'right' as const)],
    ...PLAIN,
  });
  for (const { settings, summary } of cells) {
    const kill = kills.find((k) => k.acks === settings.acks && k.flush === settings.flush);
    table.push([
      `${settings.acks}`,
      settings.flush,
      batchName(settings.batch),
      settings.compression,
      count(summary.recordsPerSecond.median),
      `${count(summary.recordsPerSecond.min)}–${count(summary.recordsPerSecond.max)}`,
      count(summary.mbPerSecond.median),
      milliseconds(summary.p50Ms.median),
      milliseconds(summary.p99Ms.median),
      milliseconds(summary.p999Ms.median),
      count(summary.syncsPerSecond.median),
      summary.recordsPerSync === undefined ? '–' : count(summary.recordsPerSync.median),
      ratio(summary.compressionRatio.median),
      count(summary.verifiedRecords),
      ratio(summary.ratioToFloor.median),
      kill === undefined ? '–' : `${whole(kill.verified.lost)} of ${count(kill.acknowledged)}`,
    ]);
  }
  for (const floor of floors) table.push(floorRow(floor));
  return table.toString();
}

function floorRow(floor: FloorResult): Table.HorizontalTableRow {
  const { recordsPerSecond, p50Ms, p99Ms } = floor.summary;
  return [
    { colSpan: 4, content: floorName(floor) },
    count(recordsPerSecond.median),
    `${count(recordsPerSecond.min)}–${count(recordsPerSecond.max)}`,
    count((recordsPerSecond.median * floor.recordBytes) / 1e6),
    p50Ms === undefined ? '–' : milliseconds(p50Ms.median),
    p99Ms === undefined ? '–' : milliseconds(p99Ms.median),
    { colSpan: 7, content: '' },
  ];
}

export function floorName(floor: FloorResult): string {
  if (floor.kind === 'server') return `floor: 3 bare servers, ${floor.storage}`;
  return floor.recordsPerSync === 1
    ? 'floor: sync each record'
    : `floor: sync ${bytes((floor.recordsPerSync ?? 0) * floor.recordBytes)}`;
}

function killTable(kills: readonly KillResult[]): string {
  const table = new Table({
    head: ['acks', 'flush', 'acknowledged', 'lost', 'kept unacked', 'duplicates', 'holes', 'down ms', 'caught up ms'],
    colAligns: ['left', 'left', ...Array.from({ length: 7 }, () => 'right' as const)],
    ...PLAIN,
  });
  for (const kill of kills) {
    table.push([
      `${kill.acks}`,
      kill.flush,
      whole(kill.acknowledged),
      whole(kill.verified.lost),
      whole(kill.verified.unacknowledged),
      whole(kill.verified.duplicates),
      whole(kill.verified.holes),
      whole(kill.unavailableMs),
      kill.catchUpMs === undefined ? '–' : whole(kill.catchUpMs),
    ]);
  }
  return table.toString();
}
