/**
 * The one file that loads the native addon. Importing it never fails; the first use on a platform without an addon, or
 * with a missing or broken build, throws `UNSUPPORTED_PLATFORM` and says what to do.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, VarveError } from '../errors.js';
import type { Crc32c, ScanBatches, ScanEnd, ScanResult } from './batch-scan.js';
import type { JournalStats, SegmentStats } from './disk.js';

declare const store: unique symbol;
declare const segment: unique symbol;
declare const trace: unique symbol;
/** An open data directory with its threads. */
export type NativeStoreHandle = { readonly [store]: never };
export type NativeSegmentHandle = { readonly [segment]: never };
export type NativeTraceHandle = { readonly [trace]: never };

/** As native code counts and names things; src/disk/trace.ts makes it readable. */
export interface NativeTraceEvent {
  readonly kind: number;
  readonly path: string;
  readonly text: string;
  readonly directory: 0 | 1;
  readonly file: number;
  readonly sync: number;
  readonly error: number;
  readonly position: number;
  readonly length: number;
  readonly bytes?: Buffer;
}

/** What the addon exports. Numbers are checked by it; the classes that make them comfortable are in this folder. */
interface Addon {
  configure(makeError: (code: ErrorCode, message: string) => VarveError): void;
  readonly crc32cImplementation: string;
  crc32c(bytes: Uint8Array, start: number, end: number, seed: number): number;
  scanBatches(
    bytes: Uint8Array,
    start: number,
    limit: number,
    expectedOffset: number,
    minEpoch: number,
    maxBatches: number,
  ): { end: number; validEnd: number; batches: Float64Array };

  openStore(root: string, maxOpenFiles: number, trace: NativeTraceHandle | undefined): NativeStoreHandle;
  closeStore(store: NativeStoreHandle): Promise<void>;
  /** What latched the store. */
  storeFailed(store: NativeStoreHandle): VarveError | undefined;
  /** Latches it: nothing is written or synced any more. */
  failStore(store: NativeStoreHandle, message: string): void;
  allocateFile(store: NativeStoreHandle, path: string, bytes: number): Promise<void>;

  createSegment(store: NativeStoreHandle, path: string, reserveBytes: number, writer: number): NativeSegmentHandle;
  openSegment(
    store: NativeStoreHandle,
    path: string,
    reserveBytes: number,
    size: number,
    writer: number,
    keepTail: number,
  ): NativeSegmentHandle;
  openSegmentReadOnly(store: NativeStoreHandle, path: string): NativeSegmentHandle;
  appendSegment(segment: NativeSegmentHandle, source: Uint8Array, start: number, end: number): number;
  segmentSize(segment: NativeSegmentHandle): number;
  segmentPoisoned(segment: NativeSegmentHandle): boolean;
  /** At most once per segment. */
  segmentBuffer(segment: NativeSegmentHandle): ArrayBuffer;
  prepareSegment(segment: NativeSegmentHandle, bytes: number): void;
  releaseSegmentTail(segment: NativeSegmentHandle): Promise<void>;
  touchSegment(segment: NativeSegmentHandle, position: number, length: number): Promise<void>;
  syncSegment(segment: NativeSegmentHandle): Promise<void>;
  closeSegment(segment: NativeSegmentHandle): void;
  segmentStats(store: NativeStoreHandle): SegmentStats;
  segmentFileRenamed(store: NativeStoreHandle, from: string, to: string): void;
  segmentFileRemoved(store: NativeStoreHandle, path: string): void;

  openJournal(
    store: NativeStoreHandle,
    path: string,
    directoryId: Uint8Array,
    firstFileNumber: number,
    startLsn: number,
    previousChecksum: number,
    fileBytes: number,
    maxGroupBytes: number,
    asyncMaxMs: number,
    asyncMaxBytes: number,
    directFlushBytes: number,
    directMarkMaxMs: number,
    spareFiles: readonly string[],
    progress: (
      durableTicket: number,
      error: VarveError | undefined,
      stopped: boolean,
      directBytes: number,
      space: number,
      started: boolean,
    ) => void,
  ): void;
  registerLog(store: NativeStoreHandle, topicId: Uint8Array, partition: number): number;
  journalAppendStored(
    store: NativeStoreHandle,
    log: number,
    segment: NativeSegmentHandle,
    segmentBaseOffset: number,
    position: number,
    length: number,
    lastOffset: number,
    epoch: number,
    generation: number,
    hwFloor: number,
    mode: number,
  ): number;
  journalAppend(
    store: NativeStoreHandle,
    log: number,
    type: number,
    generation: number,
    epoch: number,
    payload: Uint8Array,
    mode: number,
  ): number;
  journalFlush(store: NativeStoreHandle): number;
  journalRecycle(store: NativeStoreHandle, fileNumber: number): void;
  journalCurrentFileNumber(store: NativeStoreHandle): number;
  journalStats(store: NativeStoreHandle): JournalStats;
  journalStopWaiting(store: NativeStoreHandle): void;
  journalStop(store: NativeStoreHandle): void;

  makeTrace(): NativeTraceHandle;
  traceAsk(trace: NativeTraceHandle, kind: number, path: string): number;
  traceRecord(
    trace: NativeTraceHandle,
    kind: number,
    path: string,
    text: string,
    directory: 0 | 1,
    sync: number,
    error: number,
    position: number,
    length: number,
    bytes: Uint8Array | undefined,
  ): number;
  traceNote(trace: NativeTraceHandle, text: string): void;
  traceTake(trace: NativeTraceHandle): NativeTraceEvent[];
  traceSetFault(
    trace: NativeTraceHandle,
    error: number,
    call: number,
    repeat: 0 | 1,
    kinds: number,
    path: string,
  ): void;
  traceCounts(trace: NativeTraceHandle): [calls: number, injected: number];
}

const SUPPORTED_PLATFORMS = ['linux-x64', 'linux-arm64'];

/** In the order of the native enumeration. */
const SCAN_ENDS: readonly ScanEnd[] = ['complete', 'short', 'malformed', 'bad-crc', 'out-of-order'];

let loaded: Addon | undefined;

/** The addon; loaded at the first call. */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const platform = `${process.platform}-${process.arch}`;
  if (!SUPPORTED_PLATFORMS.includes(platform)) {
    throw new VarveError(
      'UNSUPPORTED_PLATFORM',
      `Varve has no native store for ${platform}; run it on ${SUPPORTED_PLATFORMS.join(' or ')} (a container will do)`,
    );
  }
  const require = createRequire(import.meta.url);
  const failures: unknown[] = [];
  for (const file of candidates(packageRoot(), platform)) {
    try {
      const binding = require(file) as Addon;
      binding.configure((code, message) => new VarveError(code, message));
      return binding;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new VarveError(
    'UNSUPPORTED_PLATFORM',
    failures.length === 0
      ? 'the native addon of Varve was never built; run "npm run build:native" in its package folder (npm may have been told to ignore install scripts)'
      : 'the native addon of Varve does not load; run "npm run build:native" in its package folder',
    { cause: failures[0] },
  );
}

/** What was built here comes first: it fits this machine. */
function candidates(root: string, platform: string): string[] {
  const built = join(root, 'build', 'Release', 'varve.node');
  const folder = join(root, 'prebuilds', platform);
  const prebuilt = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.node')) : [];
  return [built, ...prebuilt.map((name) => join(folder, name))].filter((file) => existsSync(file));
}

/** This file runs from src/ (tests) and from dist/src/ (compiled), so the package is looked for upwards. */
function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'varve') {
      return folder;
    }
    if (dirname(folder) === folder) {
      throw new VarveError('UNSUPPORTED_PLATFORM', 'the package folder of Varve was not found above the running file');
    }
  }
}

export const crc32c: Crc32c = (bytes, start, end, seed = 0) => addon().crc32c(bytes, start, end, seed);

/** 'sse4.2', 'armv8' or 'table': chosen once, by what this processor has. */
export function crc32cImplementation(): string {
  return addon().crc32cImplementation;
}

export const scanBatches: ScanBatches = (bytes, start, limit, expectedOffset, minEpoch, maxBatches): ScanResult => {
  const { end, validEnd, batches } = addon().scanBatches(bytes, start, limit, expectedOffset, minEpoch, maxBatches);
  return { end: SCAN_ENDS[end]!, validEnd, batches };
};
