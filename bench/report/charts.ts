/**
 * Charts as plain HTML: a row per thing, a track, marks placed by percent. No script, no image, nothing to load; text
 * keeps its size on a phone, where a scaled drawing would not, and colours follow the page's theme.
 */

/** Text that goes into a page. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

export type Tone = 'sync' | 'async' | 'none' | 'floor' | 'bad' | 'good';

export interface BarRow {
  readonly label: string;
  readonly value: number;
  /** Ends of the whisker. */
  readonly low: number;
  readonly high: number;
  readonly text: string;
  readonly tone: Tone;
  /** Shown on hover. */
  readonly title: string;
}

/** Horizontal bars from zero, with a whisker over the rounds. */
export function barChart(name: string, rows: readonly BarRow[]): string {
  const largest = Math.max(...rows.map((row) => row.high), Number.MIN_VALUE);
  const percent = (value: number) => `${((100 * value) / largest).toFixed(2)}%`;
  const marks = (row: BarRow) =>
    `<i class="bar ${row.tone}" style="width:${percent(row.value)}"></i>` +
    `<i class="whisker" style="left:${percent(row.low)};width:${percent(row.high - row.low)}"></i>`;
  return chart(name, rows, marks);
}

export interface RangeRow {
  readonly label: string;
  /** Ascending: the marks of one row, the first one filled. */
  readonly values: readonly number[];
  readonly text: string;
  readonly tone: Tone;
  readonly title: string;
}

/** A line from the first to the last value with a dot at each, on a logarithmic scale. */
export function rangeChart(name: string, rows: readonly RangeRow[], axis: (value: number) => string): string {
  const all = rows.flatMap((row) => row.values).filter((value) => value > 0);
  if (all.length === 0) return '';
  const low = Math.floor(Math.log10(Math.min(...all)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all))));
  const at = (value: number) => (100 * (Math.log10(Math.max(value, 10 ** low)) - low)) / (high - low);
  const marks = (row: RangeRow) => {
    const places = row.values.map(at);
    const from = places[0] as number;
    const to = places.at(-1) as number;
    const dots = places
      .map((place, i) => `<i class="dot ${row.tone} d${i}" style="left:${place.toFixed(2)}%"></i>`)
      .join('');
    return `<i class="line ${row.tone}" style="left:${from.toFixed(2)}%;width:${(to - from).toFixed(2)}%"></i>${dots}`;
  };
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => {
    const left = ((100 * i) / (high - low)).toFixed(2);
    return `<span style="left:${left}%">${escapeHtml(axis(10 ** (low + i)))}</span>`;
  }).join('');
  return `${chart(name, rows, marks)}<div class="axis" aria-hidden="true"><b></b><div>${ticks}</div><b></b></div>`;
}

export interface RatioRow {
  readonly label: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly text: string;
  readonly tone: Tone;
  readonly title: string;
}

/** A dot and its interval beside a line at 1. */
export function ratioChart(name: string, rows: readonly RatioRow[]): string {
  const largest = Math.max(1.1, ...rows.map((row) => row.high)) * 1.02;
  const percent = (value: number) => ((100 * value) / largest).toFixed(2);
  const marks = (row: RatioRow) =>
    `<i class="one" style="left:${percent(1)}%"></i>` +
    `<i class="line ${row.tone}" style="left:${percent(row.low)}%;width:${percent(row.high - row.low)}%"></i>` +
    `<i class="dot ${row.tone} d0" style="left:${percent(row.value)}%"></i>`;
  return chart(name, rows, marks);
}

interface AnyRow {
  readonly label: string;
  readonly text: string;
  readonly title: string;
}

function chart<Row extends AnyRow>(name: string, rows: readonly Row[], marks: (row: Row) => string): string {
  const body = rows
    .map(
      (row) =>
        `<div class="row" role="listitem" title="${escapeHtml(row.title)}"><b>${escapeHtml(row.label)}</b>` +
        `<div class="track">${marks(row)}</div><span>${escapeHtml(row.text)}</span></div>`,
    )
    .join('\n');
  return `<div class="chart" role="list" aria-label="${escapeHtml(name)}">\n${body}\n</div>\n`;
}
