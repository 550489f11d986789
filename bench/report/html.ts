/**
 * One self-contained HTML page for one run: opens from disk, without a network, on a phone, in the dark, and on paper.
 * It holds the whole result once more as JSON, so that the page alone is enough to compare with another run.
 */
import { cellName, floorOf } from '../plan.js';
import type { BenchResult, CellResult, FloorResult } from '../result.js';
import { findCell } from '../summary.js';
import { barChart, escapeHtml, rangeChart, ratioChart, type Tone } from './charts.js';
import { bytes, count, duration, milliseconds, ratio, whole } from './format.js';
import { STYLE } from './style.js';
import { floorName } from './table.js';

export function resultPage(result: BenchResult): string {
  const sizes = [...result.plan.recordBytes].sort((a, b) => b - a);
  const sections = [
    header(result),
    status(result),
    tiles(result),
    advice(result),
    section(
      'Throughput by acks × flush',
      THROUGHPUT_NOTE,
      LEGEND_FLUSH + sizes.map((s) => throughput(result, s)).join(''),
    ),
    section('Latency by acks × flush', LATENCY_NOTE, LEGEND_LATENCY + sizes.map((s) => latency(result, s)).join('')),
    section('Batch × compression, at acks=all and flush=sync', '', sizes.map((s) => batching(result, s)).join('')),
    section('Held against the floor', RATIO_NOTE, sizes.map((s) => ratios(result, s)).join('')),
    kills(result),
    section('Every cell', CELLS_NOTE, cellTable(result)),
    section('The machine', '', environment(result)),
    section('The command', '', `<pre>${escapeHtml(result.command)}</pre>`),
  ];
  const json = JSON.stringify(result).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>varve bench · ${escapeHtml(result.startedAt)}</title>
<style>${STYLE}</style>
</head>
<body>
${sections.join('\n')}
<script type="application/json" id="result">${json}</script>
</body>
</html>
`;
}

const THROUGHPUT_NOTE =
  "Rows are acks · flush. Median records per second; the line across a bar's end spans the slowest and the fastest round. Grey bars are the floors: what the same " +
  'client gets from three bare servers that only forward, write and sync.';
const LATENCY_NOTE =
  'From the moment a record was due until its acknowledgement, with every window full: latency at saturation. Logarithmic scale.';
const RATIO_NOTE =
  'Records per second ÷ those of the floor of the same round: its dot is the median, its line the 95 % interval. flush=sync is held ' +
  'against bare servers on disk, the others against bare servers in memory. The dashed line is the floor itself.';
const CELLS_NOTE =
  'Medians over the rounds. MB/s counts record values (10⁶ bytes). Syncs are those of the leader. Every record was read back and ' +
  'compared byte for byte, in order.';
const LEGEND_FLUSH = legend([
  ['sync', 'flush=sync'],
  ['async', 'flush=async'],
  ['none', 'flush=none'],
  ['floor', 'floor'],
]);
const LEGEND_LATENCY = '<p class="note">Dots from left to right: p50, p99, p99.9.</p>';

function header(result: BenchResult): string {
  return (
    `<h1>What each setting costs, and what it loses</h1>\n<p class="soft">varve ${escapeHtml(result.environment.varve)} · ` +
    `${escapeHtml(result.startedAt)} · ${escapeHtml(duration(result.seconds))} · ${result.yardstick.length} rounds of ${result.plan.seconds} s · ` +
    `${result.plan.producers} producers × window ${result.plan.window} · three nodes as processes of this machine</p>`
  );
}

function status(result: BenchResult): string {
  const list = (title: string, lines: readonly string[], bad: boolean) =>
    lines.length === 0
      ? ''
      : `<div class="status${bad ? ' bad' : ''}"><b>${title}</b><ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join('')}</ul></div>`;
  return (
    list('Promises were broken', result.failures, true) +
    list('Do not quote these figures', result.problems, true) +
    list('Keep in mind', result.warnings, false)
  );
}

function tiles(result: BenchResult): string {
  const made: string[] = [];
  const tile = (value: string, label: string) =>
    made.push(`<div class="tile"><b>${escapeHtml(value)}</b><span>${escapeHtml(label)}</span></div>`);
  for (const recordBytes of [...result.plan.recordBytes].sort((a, b) => b - a)) {
    const cell = gridCells(result, recordBytes).find(
      ({ settings }) => settings.acks === 'all' && settings.flush === 'sync',
    );
    if (cell === undefined) continue;
    tile(`${count(cell.summary.recordsPerSecond.median)}/s`, `records of ${bytes(recordBytes)}, acks=all, flush=sync`);
    tile(`${ratio(cell.summary.ratioToFloor.median)} ×`, `the floor on disk, at ${bytes(recordBytes)}`);
  }
  tile(
    count(result.cells.reduce((sum, cell) => sum + cell.summary.verifiedRecords, 0)),
    'records read back and compared',
  );
  const strict = result.kills.filter((kill) => kill.mustLoseNothing);
  if (strict.length > 0) {
    const lost = strict.reduce((sum, kill) => sum + kill.verified.lost, 0);
    tile(whole(lost), 'acknowledged records lost to kill -9 where none may be');
  }
  return `<div class="tiles">${made.join('')}</div>`;
}

function advice(result: BenchResult): string {
  if (result.advice.length === 0) return '';
  return `<h2>In plain words</h2>\n<ul>${result.advice.map((sentence) => `<li>${escapeHtml(sentence)}</li>`).join('\n')}</ul>`;
}

/** acks × flush at the batch and codec the grid was run with. */
function gridCells(result: BenchResult, recordBytes: number): CellResult[] {
  const cells: CellResult[] = [];
  for (const flush of result.plan.flush) {
    for (const acks of result.plan.acks) {
      const at = { acks, flush, recordBytes };
      const cell =
        findCell(result.cells, { ...at, batch: 256 * 1024, compression: 'none' }) ?? findCell(result.cells, at);
      if (cell !== undefined) cells.push(cell);
    }
  }
  return cells;
}

function throughput(result: BenchResult, recordBytes: number): string {
  const cells = gridCells(result, recordBytes).map((cell) => ({ ...throughputBar(cell), label: gridLabel(cell) }));
  const floors = floorsOf(result, recordBytes)
    .filter((floor) => floor.kind === 'server')
    .map(floorBar);
  return `<h3>${bytes(recordBytes)} records</h3>${barChart(`records per second, ${bytes(recordBytes)}`, [...cells, ...floors])}`;
}

function throughputBar(cell: CellResult) {
  const { recordsPerSecond, mbPerSecond } = cell.summary;
  return {
    value: recordsPerSecond.median,
    low: recordsPerSecond.min,
    high: recordsPerSecond.max,
    text: `${count(recordsPerSecond.median)}/s`,
    tone: cell.settings.flush as Tone,
    title: `${cellName(cell.settings)}: ${count(recordsPerSecond.min)}–${count(recordsPerSecond.max)} records/s, ${count(mbPerSecond.median)} MB/s`,
  };
}

function floorBar(floor: FloorResult) {
  const { median, min, max } = floor.summary.recordsPerSecond;
  const text = `${count(median)}/s`;
  return {
    label: `floor · ${floor.storage}`,
    value: median,
    low: min,
    high: max,
    text,
    tone: 'floor' as const,
    title: floorName(floor),
  };
}

function floorsOf(result: BenchResult, recordBytes: number): FloorResult[] {
  return result.floors.filter((floor) => floor.recordBytes === recordBytes);
}

function gridLabel(cell: CellResult): string {
  return `${cell.settings.acks} · ${cell.settings.flush}`;
}

function latency(result: BenchResult, recordBytes: number): string {
  const rows = gridCells(result, recordBytes).map((cell) => {
    const values = [cell.summary.p50Ms.median, cell.summary.p99Ms.median, cell.summary.p999Ms.median];
    const text = values.slice(0, 2).map(milliseconds).join(' · ');
    const title = `${cellName(cell.settings)}: p50, p99, p99.9 = ${values.map(milliseconds).join(', ')} ms`;
    return { label: gridLabel(cell), values, text: `${text} ms`, tone: cell.settings.flush as Tone, title };
  });
  if (rows.length === 0) return '';
  return `<h3>${bytes(recordBytes)} records</h3>${rangeChart(`latency, ${bytes(recordBytes)}`, rows, (ms) => `${ms} ms`)}`;
}

function batching(result: BenchResult, recordBytes: number): string {
  const rows = result.cells
    .filter(
      ({ settings }) => settings.recordBytes === recordBytes && settings.acks === 'all' && settings.flush === 'sync',
    )
    .map((cell) => {
      const { batch, compression } = cell.settings;
      const stored = compression === 'none' ? '' : `, ÷${ratio(cell.summary.compressionRatio.median)}`;
      const label = `${batch === 'record' ? '1 record' : bytes(batch)} · ${compression}`;
      return { ...throughputBar(cell), label, text: `${count(cell.summary.recordsPerSecond.median)}/s${stored}` };
    });
  if (rows.length === 0) return '';
  return `<h3>${bytes(recordBytes)} records</h3>${barChart(`batch and compression, ${bytes(recordBytes)}`, rows)}`;
}

function ratios(result: BenchResult, recordBytes: number): string {
  const rows = gridCells(result, recordBytes).map((cell) => {
    const { median, interval, min, max } = cell.summary.ratioToFloor;
    const title = `${cellName(cell.settings)} ÷ ${floorOf(cell.settings)} floor: ${ratio(min)}–${ratio(max)}`;
    return {
      label: gridLabel(cell),
      value: median,
      ...interval,
      text: ratio(median),
      tone: cell.settings.flush as Tone,
      title,
    };
  });
  if (rows.length === 0) return '';
  return `<h3>${bytes(recordBytes)} records</h3>${ratioChart(`ratio to the floor, ${bytes(recordBytes)}`, rows)}`;
}

function kills(result: BenchResult): string {
  if (result.kills.length === 0) return '';
  const head = [
    'acks',
    'flush',
    'acknowledged',
    'in flight at the kill',
    'lost',
    'kept, never acknowledged',
    'duplicates',
    'holes',
    'down ms',
    'caught up after ms',
  ];
  const rows = result.kills.map((kill) => {
    const lost = `${whole(kill.verified.lost)}`;
    const bad = kill.mustLoseNothing && kill.verified.lost > 0;
    return [
      `${kill.acks}`,
      kill.flush,
      whole(kill.acknowledged),
      whole(kill.inFlightAtKill),
      bad ? { bad: lost } : lost,
      whole(kill.verified.unacknowledged),
      whole(kill.verified.duplicates),
      whole(kill.verified.holes),
      whole(kill.unavailableMs),
      kill.catchUpMs === undefined ? '–' : whole(kill.catchUpMs),
    ];
  });
  const note =
    'The leader was killed with -9 in the middle of load, another one took over, the killed node came back, and every record was compared. ' +
    'The page cache outlives a killed process, so the flush modes differ here by luck only: a power cut is another matter.';
  return section('kill -9 of the leader under load', note, table(head, rows, 2));
}

function cellTable(result: BenchResult): string {
  const head = [
    'acks',
    'flush',
    'batch',
    'codec',
    'size',
    'records/s',
    'MB/s',
    'p50 ms',
    'p99',
    'p99.9',
    'syncs/s',
    'records/sync',
    'stored ÷',
    'verified',
    '÷ floor',
  ];
  const rows: (string | { bad: string })[][] = result.cells.map(({ settings, summary }) => [
    `${settings.acks}`,
    settings.flush,
    settings.batch === 'record' ? '1 record' : bytes(settings.batch),
    settings.compression,
    bytes(settings.recordBytes),
    whole(summary.recordsPerSecond.median),
    count(summary.mbPerSecond.median),
    milliseconds(summary.p50Ms.median),
    milliseconds(summary.p99Ms.median),
    milliseconds(summary.p999Ms.median),
    whole(summary.syncsPerSecond.median),
    summary.recordsPerSync === undefined ? '–' : count(summary.recordsPerSync.median),
    ratio(summary.compressionRatio.median),
    whole(summary.verifiedRecords),
    ratio(summary.ratioToFloor.median),
  ]);
  for (const floor of result.floors) {
    const { recordsPerSecond, p50Ms, p99Ms } = floor.summary;
    const ms = (value: number | undefined) => (value === undefined ? '–' : milliseconds(value));
    rows.push([
      floorName(floor),
      '',
      '',
      '',
      bytes(floor.recordBytes),
      whole(recordsPerSecond.median),
      count((recordsPerSecond.median * floor.recordBytes) / 1e6),
      ms(p50Ms?.median),
      ms(p99Ms?.median),
      ...Array.from({ length: 6 }, () => ''),
    ]);
  }
  return table(head, rows, 5);
}

function environment(result: BenchResult): string {
  const { environment: e } = result;
  const readings = result.yardstick.map((reading) => reading.medianMs.toFixed(3)).join(', ');
  const pairs: [string, string | undefined][] = [
    ['processor', `${e.cpu}, ${e.cores} cores`],
    ['memory', bytes(e.memoryBytes)],
    ['system', `${e.platform}, kernel ${e.kernel}`],
    ['Node.js', e.node],
    ['file system', e.mount ?? e.fileSystem],
    ['disk', e.disk],
    ['4 KiB write + fdatasync, by round', `${readings} ms`],
    ['load when started', e.loadAverage.toFixed(2)],
    ['varve', e.gitCommit === undefined ? e.varve : `${e.varve}, commit ${e.gitCommit}`],
    ['seed', `${result.plan.seed}`],
    ['payload', result.plan.payloadFile ?? 'the USGS earthquakes that ship with varve'],
  ];
  const rows = pairs.flatMap(([name, value]) =>
    value === undefined ? [] : [`<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`],
  );
  return `<dl>${rows.join('')}</dl>`;
}

function section(title: string, note: string, body: string): string {
  if (body === '') return '';
  return `<section><h2>${escapeHtml(title)}</h2>${note === '' ? '' : `<p class="note">${escapeHtml(note)}</p>`}${body}</section>`;
}

function legend(entries: readonly [Tone, string][]): string {
  return `<p class="legend">${entries.map(([tone, text]) => `<span><i class="${tone}"></i>${escapeHtml(text)}</span>`).join('')}</p>`;
}

function table(head: readonly string[], rows: readonly (string | { bad: string })[][], leftColumns: number): string {
  const aligned = (i: number) => (i < leftColumns ? 'l' : '');
  const headCells = head.map((text, i) => `<th class="${aligned(i)}">${escapeHtml(text)}</th>`).join('');
  const body = rows
    .map((cells) => `<tr>${cells.map((cell, i) => dataCell(cell, aligned(i))).join('')}</tr>`)
    .join('\n');
  return `<div class="scroll"><table><thead><tr>${headCells}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

function dataCell(cell: string | { bad: string }, align: string): string {
  if (typeof cell === 'string') return `<td class="${align}">${escapeHtml(cell)}</td>`;
  return `<td class="${align} bad">${escapeHtml(cell.bad)}</td>`;
}
