/**
 * `Log.verify`: one segment after the other, from the oldest; what is found is remembered at once.
 */
import type { Disk } from '../disk/disk.js';
import type { Environment } from '../environment.js';
import { VarveError } from '../errors.js';
import { checkOptionNames } from '../option-names.js';
import type { VerifyOptions, VerifyReport } from './log.js';
import type { LogSegments } from './log-segments.js';
import { type DamageReport, damageReports } from './recovery-report.js';
import { verifySegment } from './segment-verification.js';

/** The log, as far as verification needs it. */
export interface VerifiedLog {
  readonly environment: Environment;
  readonly disk: Disk;
  /** Epoch of the record at an offset; undefined where that is not known any more. */
  epochAt(offset: number): number | undefined;
  /** @throws VarveError CLOSED */
  checkOpen(): void;
  onDamage(): void;
}

/** @throws VarveError INVALID_ARGUMENT, CLOSED */
export async function verifyLog(
  segments: LogSegments,
  options: VerifyOptions,
  log: VerifiedLog,
): Promise<VerifyReport> {
  checkOptions(options);
  const { signal, bytesPerSecond } = options;
  const damaged: DamageReport[] = [];
  const resealed: number[] = [];
  const sum = { segments: 0, batches: 0, bytes: 0 };
  for (const segment of [...segments.list.all]) {
    if (segment.isActive || segment.isClosed) continue;
    signal?.throwIfAborted();
    const identity = segments.identityOf(segment);
    const { environment, disk } = log;
    const epochAt = (offset: number): number | undefined => log.epochAt(offset);
    const found = await verifySegment(segment, { environment, disk, identity, epochAt, signal, bytesPerSecond });
    log.checkOpen();
    if (found === undefined) continue;
    sum.segments++;
    sum.batches += found.batches;
    sum.bytes += found.bytes;
    if (found.seal === 'written') resealed.push(segment.base);
    if (found.damaged.length === 0) continue;
    segments.addDamage(segment, found.damaged);
    log.onDamage();
    damaged.push(...damageReports(segment.base, found.damaged));
  }
  return { ...sum, damaged, resealed };
}

function checkOptions(options: VerifyOptions): void {
  checkOptionNames(options, ['signal', 'bytesPerSecond']);
  const { bytesPerSecond } = options;
  if (bytesPerSecond === undefined || bytesPerSecond > 0) return;
  throw new VarveError('INVALID_ARGUMENT', `bytesPerSecond ${bytesPerSecond}: give a number above 0, or leave it out`);
}
