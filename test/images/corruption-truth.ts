/** What the files of a recording hold, and how what is found differs from it. Nothing here is recovery's. */
import type { Configuration } from '../../src/log/log.js';
import type { Recording, TrueLog } from './corruption-store.js';
import type { Damage } from './damage.js';
import { castagnoli } from './stored-batches.js';
import type { BatchOnDisk, TrueRecord } from './true-batches.js';

export interface TrueSegment {
  readonly path: string;
  readonly base: number;
  /** What lies before the log start. */
  readonly front: Buffer;
  readonly batches: readonly BatchOnDisk[];
}

/** The bytes of the segment up to an offset. */
export function bytesOf({ front, batches }: TrueSegment, end: number): Buffer {
  return Buffer.concat([front, ...batches.filter((batch) => batch.end <= end).map(({ raw }) => raw)]);
}

/** The files that hold the log's batches in the undamaged directory; found by their bytes. */
export function segmentsOf({ left: directories }: Recording, { left }: Damage, truth: TrueLog): TrueSegment[] {
  const found: TrueSegment[] = [];
  const prefix = `${truth.spec.name}-0.`;
  // After a power cut bytes may be in the journal alone.
  const files = directories[left === 'cut' ? 'killed' : left];
  const logs = [...files].filter(([path]) => path.startsWith(prefix) && path.endsWith('.log'));
  for (const [path, bytes] of logs) {
    const base = Number(path.slice(path.lastIndexOf('/') + 1).split('.')[0]);
    const batches: BatchOnDisk[] = [];
    const first = truth.batches[0]!;
    const from = base < first.base ? bytes.indexOf(first.raw) : 0;
    let at = from;
    let next = from > 0 ? 0 : truth.batches.findIndex((batch) => batch.base === base);
    for (let batch = truth.batches[next]; next >= 0 && batch !== undefined; batch = truth.batches[++next]) {
      if (!bytes.subarray(at, at + batch.raw.length).equals(batch.raw)) break;
      batches.push(batch);
      at += batch.raw.length;
    }
    if (batches.length > 0) found.push({ path, base, front: bytes.subarray(0, from), batches });
  }
  return found;
}

/** The path leads nowhere. */
export function isLostLink({ link, path }: Damage, file: string): boolean {
  return (
    link !== undefined && link !== 'elsewhere' && (file === path || file.startsWith(`${path.replace(/\/$/, '')}/`))
  );
}

export function configurationText({ offset, value }: Configuration): string {
  return `${offset} ${value.toString('latin1')}`;
}

/** Consumers check the CRC; what it does not cover must be right all the same. */
export function viewProblem(view: Buffer, batch: BatchOnDisk, isVerified: boolean): string | undefined {
  if (view.equals(batch.raw)) return undefined;
  if (isVerified) return 'a view of other bytes, after verify';
  const size = view.length < 61 ? 0 : view.readInt32BE(8) + 12;
  const isWhole = size === view.length && view.readUInt32BE(17) === castagnoli(view, 21, view.length);
  if (!isWhole) return undefined;
  const isEpoch =
    view.subarray(0, 12).equals(batch.raw.subarray(0, 12)) && view.subarray(16).equals(batch.raw.subarray(16));
  return isEpoch ? undefined : 'a view that checks out, of other bytes';
}

export function recordsDiffer(found: readonly TrueRecord[], wanted: readonly TrueRecord[]): string | undefined {
  if (found.length !== wanted.length) return `${found.length} records instead of ${wanted.length}`;
  const at = found.findIndex((record, i) => !sameRecord(record, wanted[i]!));
  if (at < 0) return undefined;
  return `record ${found[at]!.offset} (${found[at]!.timestamp}) is not ${wanted[at]!.offset} (${wanted[at]!.timestamp})`;
}

function sameRecord(a: TrueRecord, b: TrueRecord): boolean {
  return a.offset === b.offset && a.timestamp === b.timestamp && sameBytes(a.key, b.key) && sameBytes(a.value, b.value);
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

export function differences(right: Buffer, now: Buffer): number[] {
  const at: number[] = [];
  for (let i = 0; i < right.length; i++) if (right[i] !== now[i]) at.push(i);
  return at;
}
