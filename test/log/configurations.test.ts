// The membership history of a log: in effect from the append on, reverted by truncation, and the same after any crash as
// the control batches of the log say that is found then.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ControlKind, type Log } from '../../src/log/log.js';
import type { LogOptions, StoreOptions } from '../../src/log/options.js';
import { openStore, type Store } from '../../src/log/store.js';
import { BatchBuilder } from '../../src/record/batch-builder.js';
import { decodeControlBatch, encodeControlBatch } from '../../src/record/control-batch.js';
import { baseOffsetAt, batchSizeAt, isControlAt } from '../../src/record/record-batch.js';
import { crashImage, powerCutImage, temporaryDirectory } from './crash-image.js';

const MIB = 1024 * 1024;
const LOG_OPTIONS: Partial<LogOptions> = { segmentBytes: MIB };

async function openAt(path: string, options: Partial<StoreOptions> = {}): Promise<{ store: Store; log: Log }> {
  const store = await openStore(path, {
    create: true,
    journalFileBytes: MIB,
    journalMaxBytes: 8 * MIB,
    checkpointIntervalMs: 3_600_000,
    directMarkMaxMs: 10_000,
    ...options,
  });
  return { store, log: await store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true }) };
}

/** "offset value" of each. */
function shown(log: Log): string[] {
  return log.configurations.map(({ offset, value }) => `${offset} ${value.toString()}`);
}

function appendRecord(log: Log, bytes: number, epoch: number): void {
  const builder = new BatchBuilder();
  builder.append(1, null, Buffer.alloc(bytes, 'x'));
  const batch = builder.finish();
  log.appendProduced(batch, 0, batch.length, epoch);
}

/** What the control batches from the log start on say. */
function storedIn(log: Log): string[] {
  const found: string[] = [];
  for (let offset = log.start; offset < log.end; ) {
    const { views, nextOffset } = log.viewsFrom(offset, MIB, 'end');
    for (const view of views) {
      for (let at = 0; at < view.length; at += batchSizeAt(view, at)) {
        if (!isControlAt(view, at)) continue;
        const { type, value } = decodeControlBatch(view, at);
        if (type === ControlKind.Configuration) found.push(`${baseOffsetAt(view, at)} ${value.toString()}`);
      }
    }
    offset = nextOffset;
  }
  return found;
}

test('a configuration is in effect once appended, and a truncation brings the one before back', async () => {
  const { store, log } = await openAt(temporaryDirectory());
  expect(log.configurations).toEqual([]);
  log.appendControl(ControlKind.Configuration, Buffer.from('1,2,3'), 1);
  appendRecord(log, 10, 1);
  const before = log.configurations;
  const replicated = encodeControlBatch(ControlKind.Configuration, Buffer.from('1,2'), 2, 1, 1);
  log.appendReplicated(replicated, 0, replicated.length, 1);
  expect(shown(log)).toEqual(['0 1,2,3', '2 1,2']);
  replicated.fill(0);
  expect(shown(log)).toEqual(['0 1,2,3', '2 1,2']);
  log.appendControl(ControlKind.LeaderChange, Buffer.from('4,5'), 2);
  log.truncate(2);
  expect(shown(log)).toEqual(['0 1,2,3']);
  expect(before.length).toBe(1);
  await store.close();
});

test('the log start keeps the configuration that the log begins with', async () => {
  const path = temporaryDirectory();
  const { store, log } = await openAt(path);
  for (const value of ['a', 'b', 'c']) {
    log.appendControl(ControlKind.Configuration, Buffer.from(value), 1);
    appendRecord(log, 10, 1);
  }
  await log.flush();
  log.advanceHighWatermark(log.end);
  await store.checkpoint();
  await log.deleteBefore(3);
  expect(shown(log)).toEqual(['2 b', '4 c']);
  await store.checkpoint();
  await log.deleteBefore(4);
  expect(shown(log)).toEqual(['4 c']);
  await store.close();
  const again = await openAt(path);
  expect(shown(again.log)).toEqual(['4 c']);
  await again.store.close();
});

test.each([0, 1])(
  'a configuration whose segment was deleted survives a crash before the next checkpoint; directFlushBytes %i',
  async (directFlushBytes) => {
    const path = temporaryDirectory();
    const { store, log } = await openAt(path, { directFlushBytes });
    appendRecord(log, 400_000, 1);
    await log.flush();
    log.appendControl(ControlKind.Configuration, Buffer.from('1,2'), 1);
    for (let i = 0; i < 6; i++) appendRecord(log, 400_000, 1);
    await log.flush();
    if (directFlushBytes > 0) expect(store.stats().journal.directFlushes).toBeGreaterThan(0);
    log.advanceHighWatermark(log.end);
    await log.deleteBefore(log.end - 1);
    const image = powerCutImage(path, () => true, log.durable);
    await store.close();
    const recovered = await openAt(image);
    expect(recovered.log.start).toBe(7);
    expect(shown(recovered.log)).toEqual(['1 1,2']);
    await recovered.store.close();
  },
);

type Command =
  | { readonly do: 'append'; readonly bytes: number }
  | { readonly do: 'configure'; readonly made: 'here' | 'by-a-leader' }
  | { readonly do: 'truncate' | 'delete'; readonly share: number }
  | { readonly do: 'commit' | 'flush' | 'checkpoint' | 'reopen' | 'close-log' }
  | { readonly do: 'crash'; readonly kind: 'kill' | 'power'; readonly survive: number };

const share = fc.double({ min: 0, max: 1, noNaN: true });
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('append' as const), bytes: fc.constantFrom(1, 5000, 300_000) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      made: fc.constantFrom('here' as const, 'by-a-leader' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('truncate' as const, 'delete' as const), share }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom('commit', 'flush', 'checkpoint', 'reopen', 'close-log' as const) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      kind: fc.constantFrom('kill' as const, 'power' as const),
      survive: fc.constantFrom(0, 0.5, 1),
    }),
  },
);

class Run {
  #path = temporaryDirectory();
  #store!: Store;
  #log!: Log;
  /** All that the log holds or once held: below the high watermark nothing is ever replaced. */
  #model: { readonly offset: number; readonly text: string }[] = [];
  #epoch = 1;
  #count = 0;
  readonly #options: Partial<StoreOptions>;

  constructor(directFlushBytes: number) {
    this.#options = { directFlushBytes };
  }

  async open(): Promise<void> {
    const { store, log } = await openAt(this.#path, this.#options);
    this.#store = store;
    this.#log = log;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async apply(step: Command, random: () => number): Promise<void> {
    const log = this.#log;
    switch (step.do) {
      case 'append':
        return appendRecord(log, step.bytes, this.#epoch);
      case 'configure':
        return this.#configure(step.made);
      case 'truncate': {
        const to = Math.ceil(log.highWatermark + (log.end - log.highWatermark) * step.share);
        log.truncate(to);
        this.#model = this.#model.filter(({ offset }) => offset < to);
        this.#epoch++;
        return;
      }
      case 'delete':
        return log.deleteBefore(Math.floor(log.highWatermark * step.share));
      case 'commit':
        return log.advanceHighWatermark(Math.min(log.durable, log.written));
      case 'flush':
        return log.flush();
      case 'checkpoint':
        return this.#store.checkpoint();
      case 'close-log':
        await log.close();
        this.#log = await this.#store.openLog('t', 0, { ...LOG_OPTIONS, replicated: true });
        return;
      case 'reopen':
        await this.#store.close();
        return this.open();
      case 'crash':
        return this.#crash(step.kind, () => random() < step.survive);
    }
  }

  check(): void {
    const { start } = this.#log;
    const first = this.#model.findLastIndex(({ offset }) => offset <= start);
    const expected = this.#model.slice(Math.max(0, first)).map(({ offset, text }) => `${offset} ${text}`);
    expect(shown(this.#log)).toEqual(expected);
  }

  #configure(made: 'here' | 'by-a-leader'): void {
    const log = this.#log;
    const text = `members ${this.#count++}`;
    this.#model.push({ offset: log.end, text });
    const value = Buffer.from(text);
    if (made === 'here') {
      log.appendControl(ControlKind.Configuration, value, this.#epoch);
      return;
    }
    const batch = encodeControlBatch(ControlKind.Configuration, value, log.end, this.#epoch, 1);
    log.appendReplicated(batch, 0, batch.length, this.#epoch);
  }

  /** What is above the log start then is what its batches say; what is below it is as it was. */
  async #crash(kind: 'kill' | 'power', survives: () => boolean): Promise<void> {
    const { durable, start } = this.#log;
    const image = kind === 'kill' ? crashImage(this.#path) : powerCutImage(this.#path, survives, durable);
    const known = this.#model;
    await this.#store.close();
    this.#path = image;
    await this.open();
    expect(this.#log.start).toBeGreaterThanOrEqual(start);
    const below = known.filter(({ offset }) => offset < this.#log.start);
    const stored = storedIn(this.#log).map((entry) => {
      const at = entry.indexOf(' ');
      return { offset: Number(entry.slice(0, at)), text: entry.slice(at + 1) };
    });
    this.#model = [...below, ...stored.filter(({ offset }) => offset >= this.#log.start)];
  }
}

test.each([0, 1, 50_000])(
  'the history is what the log holds, whatever happens; directFlushBytes %i',
  async (directFlushBytes) => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 3, maxLength: 25 }), fc.nat(), async (commands, seed) => {
        let state = seed;
        const random = (): number => {
          state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
          return state / 0x8000_0000;
        };
        const run = new Run(directFlushBytes);
        await run.open();
        try {
          for (const step of commands) {
            await run.apply(step, random);
            run.check();
          }
        } finally {
          await run.close();
        }
      }),
      { numRuns: 20 },
    );
  },
  600_000,
);
