/**
 * A store on the twin through power cuts and kills at random moments, also in the middle of its recovery: what was
 * acknowledged under flush 'sync' is there, nothing is there that nobody appended, and the log never ends below what was
 * durable. TWIN_CUTS: how many seeds. TWIN_SEED: which one to begin with.
 */
import { afterEach, expect, test, vi } from 'vitest';
import type { Log } from '../../src/log/log.js';
import { Store } from '../../src/log/partition-store.js';
import { wallClock } from '../wall-clock.js';
import { Prng } from '../raft/prng.js';
import { TwinDisk } from './twin-disk.js';
import { type Choose, TwinFile } from './twin-file.js';
import { TwinFileSystem } from './twin-file-system.js';
import { SteppedScheduler } from './twin-schedulers.js';

const seeds = Number(process.env['TWIN_CUTS'] ?? 15);
const firstSeed = Number(process.env['TWIN_SEED'] ?? 1);
const CRASHES_PER_SEED = 5;
const OUTSTANDING = 4;

const CRASHED = Symbol('crashed');

/** What a power cut keeps: nothing, everything, or each unit by a throw of the dice. */
function chooser(random: Prng): Choose {
  const kept = random.pick([0, 1, 0.5, 0.5, 0.9]);
  return (count) => (kept === 0 ? 0 : kept === 1 ? count - 1 : random.chance(kept) ? random.below(count) : 0);
}

class Machine {
  readonly #random: Prng;
  #fileSystem = new TwinFileSystem();
  #boots = 0;
  #now = 1_700_000_000_000;
  /** Every value that was ever given to the log, in that order, and those that were acknowledged, by offset. */
  readonly #appended: string[] = [];
  readonly #acknowledged = new Map<number, string>();
  #durable = 0;
  #acceptedEnd = 0;
  #killedOnly = false;
  readonly counts = { acknowledged: 0, recovered: 0, cutRecoveries: 0 };

  constructor(seed: number) {
    this.#random = new Prng(seed);
  }

  async run(): Promise<void> {
    for (let crash = 0; crash <= CRASHES_PER_SEED; crash++) await this.#life(crash === CRASHES_PER_SEED);
  }

  /** From opening to the crash; the last one is left to live. */
  async #life(isLast: boolean): Promise<void> {
    const random = this.#random;
    const scheduler = new SteppedScheduler((count) => random.below(count));
    const disk = new TwinDisk(this.#fileSystem, { scheduler });
    let steps = isLast ? Number.POSITIVE_INFINITY : random.below(random.pick([15, 150, 600]));
    const drive = async <T>(promise: Promise<T>): Promise<T> => {
      let settled = false;
      const settle = (): void => {
        settled = true;
      };
      promise.then(settle, settle);
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        if (settled) return promise;
        if (steps-- <= 0) throw CRASHED;
        scheduler.step();
      }
    };
    let store: Store | undefined;
    let log: Log | undefined;
    try {
      const ground = { disk, path: '/twin', bootId: `boot ${this.#boots}`, environment: wallClock(() => this.#now++) };
      const options = { create: true, journalFileBytes: 128 * 1024, journalMaxBytes: 1024 * 1024 };
      const directFlushBytes = random.pick([0, 3000]);
      const opening = Store.open(ground, { ...options, directFlushBytes, checkpointIntervalMs: 3_600_000 });
      store = await drive(opening);
      log = await drive(store.openLog('t', 0, { topicId: 'a'.repeat(32), segmentBytes: 1024 * 1024 }));
      await this.#check(log, drive);
      await this.#work(store, log, isLast ? 20 : 400, drive);
      await drive(store.close());
      this.#killedOnly = false;
    } catch (error) {
      if (error !== CRASHED) throw error;
      if (log === undefined) this.counts.cutRecoveries++;
      this.#crash(disk, log);
      void store?.close();
    }
  }

  #crash(disk: TwinDisk, log: Log | undefined): void {
    const random = this.#random;
    if (log !== undefined) {
      this.#durable = Math.max(this.#durable, log.durable);
      this.#acceptedEnd = log.end;
    }
    if (random.chance(0.3)) {
      this.#killedOnly = log !== undefined;
      this.#fileSystem = disk.crash({ kind: 'process' });
      return;
    }
    this.#killedOnly = false;
    this.#boots++;
    this.#fileSystem = disk.crash({ kind: 'power', choose: chooser(random), torn: random.chance(0.3) });
  }

  async #work(store: Store, log: Log, length: number, drive: <T>(promise: Promise<T>) => Promise<T>): Promise<void> {
    const random = this.#random;
    let waiting: Promise<void>[] = [];
    for (let i = 0; i < length; i++) {
      if (random.chance(0.05)) await drive(store.checkpoint());
      const value = `value ${this.#appended.length} ${'x'.repeat(random.below(random.pick([20, 2000, 30_000])))}`;
      this.#appended.push(value);
      waiting.push(
        log.append([{ value }]).then(({ baseOffset }) => {
          this.#acknowledged.set(baseOffset, value);
          this.counts.acknowledged++;
        }),
      );
      if (waiting.length < OUTSTANDING && random.chance(0.7)) continue;
      await drive(Promise.all(waiting));
      waiting = [];
    }
    await drive(Promise.all(waiting));
  }

  async #check(log: Log, drive: <T>(promise: Promise<T>) => Promise<T>): Promise<void> {
    expect(log.recovery.damaged).toEqual([]);
    expect(log.end).toBeGreaterThanOrEqual(this.#durable);
    if (this.#killedOnly) expect(log.end).toBe(this.#acceptedEnd);
    const found = new Map<number, string>();
    for (let offset = log.start; offset < log.end; ) {
      const { records, nextOffset } = await drive(log.read(offset));
      for (const record of records) found.set(record.offset, record.value!.toString());
      offset = nextOffset;
    }
    expect(found.size).toBe(log.end - log.start);
    for (const [offset, value] of this.#acknowledged) expect(found.get(offset), `offset ${offset}`).toBe(value);
    // Each record was appended once, and they are in that order.
    let at = -1;
    for (const value of found.values()) {
      const next = this.#appended.indexOf(value, at + 1);
      expect(next, value.slice(0, 20)).toBeGreaterThan(at);
      at = next;
    }
    // What survived without an acknowledgement has been promised from now on.
    for (const [offset, value] of found) this.#acknowledged.set(offset, value);
    this.counts.recovered += found.size;
  }
}

async function runSeeds(count: number): Promise<Machine['counts']> {
  const sums = { acknowledged: 0, recovered: 0, cutRecoveries: 0 };
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const machine = new Machine(seed);
    try {
      await machine.run();
    } catch (error) {
      const replay = `TWIN_SEED=${seed} TWIN_CUTS=1 npx vitest run test/sim/store-power-cut.test.ts`;
      throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}`, { cause: error });
    }
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += machine.counts[name];
  }
  return sums;
}

afterEach(() => vi.restoreAllMocks());

test('what a store acknowledged survives every power cut, and nothing is invented', async () => {
  const { acknowledged, recovered, cutRecoveries } = await runSeeds(seeds);
  if (seeds === 1) return;
  expect(acknowledged).toBeGreaterThan(seeds);
  expect(recovered).toBeGreaterThan(seeds);
  expect(cutRecoveries).toBeGreaterThan(0);
}, 3_600_000);

test('on a disk whose syncs do nothing, acknowledged records are lost, and this test sees it', async () => {
  vi.spyOn(TwinFile.prototype, 'finishSync').mockImplementation(() => {});
  await expect(runSeeds(20)).rejects.toThrow(/^seed /);
});
