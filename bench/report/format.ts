/** Numbers as people read them, the same in the terminal and on the page. */

/** 987, 12.3k, 1.23M */
export function count(value: number): string {
  if (value < 1000) return value < 10 ? trim(value.toFixed(1)) : `${Math.round(value)}`;
  if (value < 1e6) return `${significant(value / 1e3)}k`;
  return `${significant(value / 1e6)}M`;
}

/** Milliseconds: 0.42, 3.1, 120 */
export function milliseconds(value: number): string {
  if (value < 1) return value.toFixed(2);
  return value < 10 ? value.toFixed(1) : `${Math.round(value)}`;
}

/** 0.63, 12.4 */
export function ratio(value: number): string {
  if (value < 10) return value.toFixed(2);
  return value < 100 ? value.toFixed(1) : `${Math.round(value)}`;
}

/** `2 m 05 s` or `48 s` */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} m ${`${whole % 60}`.padStart(2, '0')} s`;
}

/** With the thousands apart: 1 234 567. */
export function whole(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

export function bytes(value: number): string {
  if (value >= 1024 * 1024) return `${trim((value / 1024 / 1024).toFixed(1))} MiB`;
  return value >= 1024 ? `${trim((value / 1024).toFixed(1))} KiB` : `${value} B`;
}

function significant(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function trim(text: string): string {
  return text.replace(/\.0$/, '');
}
