/**
 * One random sequence of calls of the disk interface, made on the native disk and on the twin: each result, each error
 * code, the journal's statistics, and in the end every byte of every file must be equal.
 *
 * Grouping in the journal depends on when its thread looks, so calls that make it write are waited for before the next
 * call; records that ask for no sync gather until then, as they would under load.
 */
import type { Disk, FlushMode, Journal, JournalStats, SegmentFile } from '../../src/disk/disk.js';
import { parseJournalFileName } from '../../src/disk/journal-format.js';
import { JournalReader } from '../../src/disk/journal-reader.js';
import { openDisk } from '../../src/disk/native-disk.js';
import { Trace } from '../../src/disk/trace.js';
import { Prng } from '../raft/prng.js';
import { fastDirectory, removeDirectory } from '../temporary-directory.js';
import { TwinDisk } from './twin-disk.js';
import { TwinDirectory, TwinFileSystem, type TwinNode } from './twin-file-system.js';
import { difference, filesOf, JournalWatch, outcome, runSequence, settle, sizesOf } from './twin-pair.js';
import { PromptScheduler } from './twin-schedulers.js';
import type { TwinSegment } from './twin-segment.js';

const KIB = 1024;
const DIRECTORY_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const PATHS = ['a', 'b', 'b/x', 'd', 'd/x', 'd/y', 'e/f/z', 'd/x/deep'] as const;
const SEGMENT_PATHS = ['s/0.log', 's/1.log', 's/2.log', 't/0.log'] as const;
const MODES: readonly FlushMode[] = ['sync', 'async', 'none', 'none', 'none'];
const JOURNAL_CALLS = ['append', 'append', 'appendStored', 'appendStored', 'appendStored', 'flush', 'recycle'] as const;

interface Pair<T> {
  readonly native: T;
  readonly twin: T;
}

interface OpenSegment extends Pair<SegmentFile> {
  readonly node: TwinNode | undefined;
}

interface OpenJournal extends Pair<Journal> {
  readonly logs: number;
  readonly nativeSays: string[];
  readonly twinSays: string[];
}

/** @throws Error with the calls that led to the difference */
export function runDiskSequence(seed: number): Promise<DiskCoverage> {
  return runSequence(seed, new DiskSequence(seed));
}

/** What a sequence came through. */
export interface DiskCoverage {
  readonly journalBytes: number;
  readonly journalSyncs: number;
  readonly fileRolls: number;
  readonly recycledFiles: number;
  readonly directFlushes: number;
  readonly refusedCalls: number;
  readonly failedJournals: number;
  readonly reopenings: number;
}

class DiskSequence {
  readonly calls: string[] = [];
  readonly coverage = {
    journalBytes: 0,
    journalSyncs: 0,
    fileRolls: 0,
    recycledFiles: 0,
    directFlushes: 0,
    refusedCalls: 0,
    failedJournals: 0,
    reopenings: 0,
  };
  readonly #random: Prng;
  readonly #root = fastDirectory();
  readonly #fileSystem = new TwinFileSystem();
  #native!: Disk;
  #watch!: JournalWatch;
  #twin!: TwinDisk;
  #segments: OpenSegment[] = [];
  #journal: OpenJournal | undefined;
  #recycled = 0;
  #epoch = 0;
  #generation = 0;

  constructor(seed: number) {
    this.#random = new Prng(seed);
  }

  async run(): Promise<void> {
    await this.#open();
    const length = 5 + this.#random.below(36);
    for (let i = 0; i < length; i++) await this.#call();
    await this.#close();
  }

  async dispose(): Promise<void> {
    await this.#native?.close().catch(() => {});
    removeDirectory(this.#root);
  }

  async #open(): Promise<void> {
    const trace = new Trace();
    this.#native = await openDisk(this.#root, { trace });
    this.#watch = new JournalWatch(trace);
    const scheduler = new PromptScheduler();
    this.#twin = new TwinDisk(this.#fileSystem, { scheduler, root: this.#root, processId: process.pid });
  }

  async #close(): Promise<void> {
    // The journal first: the file after the one it ends in is still being made, which closing the disk would cut short.
    if (this.#journal !== undefined) {
      await this.#compareOn('journal.close', this.#journal, (each) => each.close());
      await this.#settleJournal(this.#journal);
    }
    this.#count();
    await this.#compare('close', (disk) => disk.close());
    for (const { native, twin } of this.#segments) for (const segment of [native, twin]) segment.close();
    this.#segments = [];
    this.#journal = undefined;
    const found = difference(filesOf(this.#root), this.#fileSystem.files());
    if (found !== undefined) throw new Error(`after closing, ${found}`);
  }

  #count(): void {
    const { coverage } = this;
    coverage.reopenings++;
    if (this.#journal === undefined) return;
    const { writtenBytes, syncs, fileRolls, directFlushes } = this.#journal.twin.stats();
    coverage.journalBytes += writtenBytes;
    coverage.journalSyncs += syncs;
    coverage.fileRolls += fileRolls;
    coverage.directFlushes += directFlushes;
    if (this.#journal.twinSays.at(-1)?.startsWith('failed')) coverage.failedJournals++;
  }

  async #call(): Promise<void> {
    const dice = this.#random.below(100);
    if (dice < 20) return this.#coldCall();
    if (dice < 40) return this.#segmentCall();
    if (dice < 96) return this.#journalCall();
    await this.#close();
    await this.#open();
  }

  // ---- files and directories ----

  async #coldCall(): Promise<void> {
    const random = this.#random;
    const path = random.pick(PATHS);
    const isDirectory =
      this.#fileSystem.find(path.split('/')[0]!, '') instanceof TwinDirectory && this.#isDirectory(path);
    switch (random.below(11)) {
      case 0:
        return this.#compare(`makeDirectory ${path}`, (disk) => disk.makeDirectory(path));
      case 1:
        return this.#compare(`readDirectory ${path}`, (disk) => disk.readDirectory(path));
      case 2: {
        const [position, length] = [random.below(3000), random.chance(0.5) ? random.below(3000) : undefined];
        if (isDirectory) return;
        const now = random.chance(0.5);
        return this.#compare(`readFile ${path} ${position} ${length}`, (disk) =>
          now ? disk.readFileSync(path, position, length) : disk.readFile(path, position, length),
        );
      }
      case 3:
        if (isDirectory) return;
        return this.#compare(`fileSize ${path}`, (disk) => disk.fileSize(path));
      case 4:
      case 5: {
        const [bytes, keepPrevious] = [this.#bytes(5000), random.chance(0.5)];
        return this.#compare(`replaceFile ${path} ${bytes.length} ${keepPrevious}`, (disk) =>
          disk.replaceFile(path, bytes, { keepPrevious }),
        );
      }
      case 6: {
        const [position, bytes, unreferenced] = [random.below(6000), this.#bytes(5000), random.chance(0.5)];
        return this.#compare(`writeFile ${path} ${position} ${bytes.length} ${unreferenced}`, (disk) =>
          disk.writeFile(path, position, bytes, { unreferenced }),
        );
      }
      case 7: {
        const size = random.below(9000);
        return this.#compare(`truncateFile ${path} ${size}`, (disk) => disk.truncateFile(path, size));
      }
      case 8: {
        const to = random.pick(PATHS);
        return this.#compare(`rename ${path} ${to}`, (disk) => disk.rename(path, to));
      }
      case 9: {
        const paths = [path, random.pick(PATHS)].slice(random.below(2));
        return this.#compare(`removeFiles ${paths}`, (disk) => disk.removeFiles(paths));
      }
      default:
        return this.#compare(`syncDirectory ${path}`, (disk) => disk.syncDirectory(path));
    }
  }

  #isDirectory(path: string): boolean {
    try {
      return this.#fileSystem.find(path, '') instanceof TwinDirectory;
    } catch {
      return false;
    }
  }

  // ---- segments ----

  async #segmentCall(): Promise<void> {
    const random = this.#random;
    const open = this.#segments.length === 0 ? undefined : random.pick(this.#segments);
    const dice = random.below(20);
    if (open === undefined || dice < 3) return this.#openSegment();
    switch (dice) {
      case 3: {
        const [position, length] = [random.below(open.twin.size + 2), random.below(open.twin.size + 2)];
        return this.#compareOn(`view ${open.twin.path} ${position} ${length}`, open, (segment) =>
          Buffer.from(segment.view(position, length)),
        );
      }
      case 4: {
        const [position, length] = [random.below(open.twin.size + 2), random.below(open.twin.size + 2)];
        return this.#compareOn(`touch ${open.twin.path} ${position} ${length}`, open, (segment) =>
          segment.touch(position, length),
        );
      }
      case 5:
        return this.#compareOn(`sync ${open.twin.path}`, open, (segment) => segment.sync());
      case 6:
        return this.#compareOn(`close ${open.twin.path}`, open, (segment) => segment.close());
      case 7: {
        const bytes = random.below(1_500_000);
        await this.#compareOn(`prepare ${open.twin.path} ${bytes}`, open, (segment) => segment.prepare(bytes));
        return settle(() => this.#sizeDifference());
      }
      case 9:
        return this.#compareOn(`releaseTail ${open.twin.path}`, open, (segment) => segment.releaseTail());
      case 8: {
        const to = random.pick(SEGMENT_PATHS);
        const from = open.twin.path;
        if (this.#isMapped(to)) return;
        return this.#compare(`rename ${from} ${to}`, (disk) => disk.rename(from, to));
      }
      default: {
        const bytes = this.#bytes(random.pick([100, 3000, 30_000, 200_000]));
        const start = random.chance(0.2) ? random.below(bytes.length + 1) : 0;
        const end = random.chance(0.03) ? bytes.length + 1 : bytes.length;
        return this.#compareOn(`append ${open.twin.path} ${start} ${end} of ${bytes.length}`, open, (segment) => [
          segment.append(bytes, start, end),
          segment.size,
          segment.poisoned,
        ]);
      }
    }
  }

  async #openSegment(): Promise<void> {
    const random = this.#random;
    const path = random.pick(SEGMENT_PATHS);
    const reserveBytes = random.pick([0, 5000, 100_000, 1_000_000, 3_000_001]);
    const kind = random.below(4);
    if (random.chance(0.5)) await this.#compare(`makeDirectory ${path[0]}`, (disk) => disk.makeDirectory(path[0]!));
    // What is mapped must not be shortened, and is opened once only.
    if (this.#isMapped(path)) return;
    const size = Math.max(0, this.#sizeOf(path) - random.below(4000) + (random.chance(0.1) ? 5000 : 0));
    const keepTail = random.chance(0.3);
    const open = (disk: Disk): SegmentFile => {
      if (kind < 2) return disk.createSegment(path, { reserveBytes });
      if (kind === 2) return disk.openSegment(path, { reserveBytes, writable: false });
      return disk.openSegment(path, { reserveBytes, size, writable: true, keepTail });
    };
    this.calls.push(
      `${['create', 'create', 'openReadOnly', 'openWritable'][kind]} ${path} ${reserveBytes} ${size} ${keepTail}`,
    );
    const native = await outcome(() => open(this.#native));
    const twin = await outcome(() => open(this.#twin));
    if ('code' in native || 'code' in twin) return this.#check(native, twin);
    const pair = { native: native.value as SegmentFile, twin: twin.value as SegmentFile };
    this.#segments.push({ ...pair, node: (pair.twin as TwinSegment).file });
    this.#check({ value: pair.native.size }, { value: pair.twin.size });
  }

  #isMapped(path: string): boolean {
    try {
      const node = this.#fileSystem.find(path, '');
      return node !== undefined && this.#segments.some((segment) => segment.node === node);
    } catch {
      return false;
    }
  }

  #sizeOf(path: string): number {
    const node = this.#fileSystem.find(path, '');
    return node === undefined || node instanceof TwinDirectory ? 0 : node.size;
  }

  // ---- the journal ----

  async #journalCall(): Promise<void> {
    const journal = this.#journal;
    if (journal === undefined) return this.#openJournal();
    const random = this.#random;
    const log = random.below(journal.logs + (random.chance(0.02) ? 1 : 0));
    if (random.chance(0.1)) this.#epoch = random.below(4) - 1;
    if (random.chance(0.05)) this.#generation++;
    const [generation, epoch, mode] = [this.#generation, this.#epoch, random.pick(MODES)];
    const call = random.chance(0.02) ? 'close' : random.pick(JOURNAL_CALLS);
    switch (call) {
      case 'append': {
        const [payload, type] = [
          this.#bytes(random.pick([0, 40, 5000])),
          random.chance(0.03) ? 1 : 2 + random.below(9),
        ];
        await this.#compareOn(`journal.append ${log} ${type} ${payload.length} ${mode}`, journal, (each) =>
          each.append(log, type, generation, epoch, payload, mode),
        );
        break;
      }
      case 'appendStored': {
        await this.#appendStored(journal, log, generation, epoch, mode);
        break;
      }
      case 'flush':
        await this.#compareOn('journal.flush', journal, (each) => each.flush());
        break;
      case 'recycle': {
        const number = this.#recycled + 1;
        if (number < journal.twin.currentFileNumber) {
          this.#recycled = number;
          this.coverage.recycledFiles++;
        }
        await this.#compareOn(`journal.recycle ${number}`, journal, (each) => each.recycle(number));
        break;
      }
      case 'close':
        await this.#compareOn('journal.close', journal, (each) => each.close());
        break;
    }
    await this.#settleJournal(journal);
  }

  async #appendStored(
    journal: OpenJournal,
    log: number,
    generation: number,
    epoch: number,
    mode: FlushMode,
  ): Promise<void> {
    const random = this.#random;
    const open = this.#segments.length === 0 ? undefined : random.pick(this.#segments);
    if (open === undefined) return;
    const bytes = this.#bytes(random.pick([100, 3000, 20_000]));
    const appended = await outcome(() => open.twin.append(bytes, 0, bytes.length));
    this.#check(await outcome(() => open.native.append(bytes, 0, bytes.length)), appended);
    if ('code' in appended) return;
    const position = (appended.value as number) + (random.chance(0.02) ? 1 : 0);
    const [lastOffset, hwFloor] = [position + 7, random.below(50) - 1];
    await this.#compare(`journal.appendStored ${log} ${open.twin.path} ${position}+${bytes.length} ${mode}`, (disk) => {
      const isTwin = disk === this.#twin;
      const segment = isTwin ? open.twin : open.native;
      const each = isTwin ? journal.twin : journal.native;
      return each.appendStored(
        ...([log, segment, 5, position, bytes.length, lastOffset, epoch, generation, hwFloor, mode] as const),
      );
    });
  }

  async #openJournal(): Promise<void> {
    const random = this.#random;
    if (random.chance(0.95)) {
      await this.#compare('makeDirectory journal', (disk) => disk.makeDirectory('journal'));
    }
    const end = await this.#compareChains();
    const numbers = (await this.#twin.readDirectory('journal'))
      .map(({ name }) => parseJournalFileName(name))
      .filter((number) => number !== undefined);
    const firstFileNumber = Math.max(0, ...numbers) + (random.chance(0.1) && numbers.length > 0 ? 0 : 1);
    const spareFiles = numbers
      .filter(() => random.chance(0.5))
      .map((number) => `${String(number).padStart(20, '0')}.wal`);
    this.#recycled = firstFileNumber - 1;
    const options = {
      path: 'journal',
      directoryId: DIRECTORY_ID,
      firstFileNumber,
      startLsn: end?.lsn ?? 0,
      previousChecksum: end?.checksum ?? 0,
      fileBytes: random.pick([4 * KIB, 8 * KIB, 17 * KIB, 64 * KIB, 300 * KIB]),
      maxGroupBytes: random.pick([4 * KIB, 20 * KIB, 1024 * KIB]),
      asyncMaxMs: 600_000,
      directFlushBytes: random.pick([0, 0, 1, 2000, 15_000]),
      directMarkMaxMs: 600_000,
      asyncMaxBytes: random.pick([2 * KIB, 30 * KIB, 1024 * KIB]),
      spareFiles,
    };
    this.calls.push(`openJournal ${JSON.stringify({ ...options, directoryId: undefined })}`);
    const [nativeSays, twinSays]: [string[], string[]] = [[], []];
    const listen = (says: string[]) => ({
      onDurable: (ticket: number) => void says.push(`durable ${ticket}`),
      onFailure: (error: Error) => void says.push(`failed ${(error as { code?: string }).code}`),
    });
    const native = await outcome(() => this.#native.openJournal({ ...options, ...listen(nativeSays) }));
    const twin = await outcome(() => this.#twin.openJournal({ ...options, ...listen(twinSays) }));
    if ('code' in native || 'code' in twin) return this.#check(native, twin);
    const logs = 1 + random.below(3);
    const pair = { native: native.value as Journal, twin: twin.value as Journal };
    this.#journal = { ...pair, logs, nativeSays, twinSays };
    for (let log = 0; log < logs; log++) {
      const identity = { topicId: Buffer.alloc(16, log + 1), partition: log * 1000 };
      await this.#compareOn('registerLog', pair, (each) => each.registerLog(identity));
    }
    await this.#settleJournal(this.#journal);
  }

  /** The same chain is read from both, by the decoder that knows nothing of the twin's encoder. */
  async #compareChains(): Promise<{ lsn: number; checksum: number } | undefined> {
    const read = (disk: Disk) => new JournalReader(disk, 'journal', DIRECTORY_ID).end();
    const native = await outcome(() => read(this.#native));
    const twin = await outcome(() => read(this.#twin));
    this.#check(native, twin);
    return 'code' in twin ? undefined : (twin.value as Awaited<ReturnType<typeof read>>);
  }

  async #settleJournal(journal: OpenJournal): Promise<void> {
    await settle(() => {
      const [native, twin] = [counts(journal.native.stats()), counts(journal.twin.stats())];
      if (native !== twin) return `journal statistics ${native} (native) and ${twin} (twin)`;
      const [last, expected] = [journal.nativeSays.at(-1), journal.twinSays.at(-1)];
      if (last !== expected) return `the native journal said '${last}' last, the twin's '${expected}'`;
      return this.#watch.making() ?? this.#sizeDifference();
    });
    this.#check({ value: journal.native.currentFileNumber }, { value: journal.twin.currentFileNumber });
  }

  // ---- comparing ----

  #sizeDifference(): string | undefined {
    return difference(sizesOf(this.#root), this.#fileSystem.sizes());
  }

  async #compare(what: string, run: (disk: Disk) => unknown): Promise<void> {
    this.calls.push(what);
    // Side by side, so that the two run at the same time.
    const [native, twin] = await Promise.all([outcome(() => run(this.#native)), outcome(() => run(this.#twin))]);
    this.#check(native, twin);
  }

  async #compareOn<T>(what: string, pair: Pair<T>, run: (each: T) => unknown): Promise<void> {
    this.calls.push(what);
    const [native, twin] = await Promise.all([outcome(() => run(pair.native)), outcome(() => run(pair.twin))]);
    this.#check(native, twin);
  }

  #check(native: unknown, twin: unknown): void {
    const [a, b] = [describe(native), describe(twin)];
    if (b.startsWith('{"code"')) this.coverage.refusedCalls++;
    this.calls[this.calls.length - 1] += ` → ${b.slice(0, 80)}`;
    if (a !== b) throw new Error(`the native disk answered ${a}, the twin ${b}`);
  }

  #bytes(limit: number): Buffer {
    const bytes = Buffer.alloc(this.#random.below(limit + 1));
    let state = this.#random.below(0x7fff_ffff);
    for (let i = 0; i < bytes.length; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      bytes[i] = state >>> 16;
    }
    return bytes;
  }
}

/** What does not depend on time. */
function counts({ syncLatencyBuckets, syncMsTotal: _, ...rest }: JournalStats): string {
  return JSON.stringify({ ...rest, measured: syncLatencyBuckets.reduce((sum, count) => sum + count, 0) });
}

function describe(value: unknown): string {
  return (
    JSON.stringify(value, (_, each) => (each?.type === 'Buffer' ? Buffer.from(each.data).toString('hex') : each)) ??
    'nothing'
  );
}
