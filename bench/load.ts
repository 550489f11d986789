/**
 * Offers a load to a target and times it.
 *
 * Closed loop (the default): each producer keeps `window` records in flight and sends the next one the moment a slot of
 * its window becomes free. Open loop (`ratePerSecond`): records are due at fixed times whatever the target does, and
 * wait for a slot if they must. Latency counts from the moment a record was *due*, in either loop, until its callback:
 * what a stall does to those behind it is counted too (no coordinated omission).
 *
 * Only what completes inside the measured time counts for throughput; only its latency is recorded. Everything that was
 * sent, also while warming up, is in the ledger and gets verified.
 */
import { setTimeout as delay } from 'node:timers/promises';
import hdr from 'hdr-histogram-js';
import { Ledger } from './ledger.js';
import type { RecordSource } from './payload/record-source.js';
import type { TargetProducer } from './target.js';

export interface Measured {
  readonly seconds: number;
  /** Acknowledged inside the measured time. */
  readonly records: number;
  /** Microseconds. */
  readonly latency: hdr.Histogram;
  /** Open loop: records that were due and not sent when the measured time ended. More than the windows hold: invalid. */
  readonly behindRecords: number;
}

const LATENCY_US_MAX = 120_000_000;

export function latencyHistogram(): hdr.Histogram {
  return hdr.build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LATENCY_US_MAX,
    numberOfSignificantValueDigits: 3,
  });
}

/** Told of each answer; `sentMs` is when the record was handed to the target. */
export interface LoadObserver {
  completed(producer: number, sequence: number, sentMs: number, error: Error | null, offset: number): void;
}

/** State that all producers of one load share. */
class LoadState {
  readonly latency = latencyHistogram();
  readonly ledger: Ledger;
  /** False: send nothing new. */
  running = true;
  measuring = false;
  records = 0;
  errors = 0;
  firstError: Error | undefined;
  onIdle: (() => void) | undefined;
  /** Told once, by the first acknowledgement of a record that was due after this moment. */
  mark: { readonly ms: number; readonly reached: (ms: number) => void } | undefined;

  readonly observer: LoadObserver | undefined;

  constructor(producers: number, observer: LoadObserver | undefined) {
    this.ledger = new Ledger(producers);
    this.observer = observer;
  }

  complete(dueMs: number, error: Error | null): void {
    if (error !== null) {
      this.errors += 1;
      this.firstError ??= error;
      return;
    }
    if (this.mark !== undefined && dueMs > this.mark.ms) {
      const { reached } = this.mark;
      this.mark = undefined;
      reached(performance.now());
    }
    if (!this.measuring) return;
    this.records += 1;
    const us = Math.round((performance.now() - dueMs) * 1000);
    this.latency.recordValue(Math.min(LATENCY_US_MAX, Math.max(1, us)));
  }
}

/** One record in flight: a slot of a producer's window. Its buffer and its callback are made once. */
interface Slot {
  readonly buffer: Buffer;
  readonly done: (error: Error | null, offset: number) => void;
  sequence: number;
  dueMs: number;
  /** Only kept for an observer. */
  sentMs: number;
}

class LoadProducer {
  readonly #index: number;
  readonly #target: TargetProducer;
  readonly #source: RecordSource;
  readonly #state: LoadState;
  readonly #free: Slot[] = [];
  readonly #intervalMs: number | undefined;
  #nextDueMs: number;
  #pumping = false;
  #yielding = false;
  inFlight = 0;

  constructor(index: number, target: TargetProducer, source: RecordSource, state: LoadState, pace: Pace) {
    this.#index = index;
    this.#target = target;
    this.#source = source;
    this.#state = state;
    this.#intervalMs = pace.intervalMs;
    this.#nextDueMs = pace.firstDueMs;
    const bytes = Buffer.allocUnsafeSlow(pace.window * source.recordBytes);
    for (let i = 0; i < pace.window; i += 1) {
      const slot: Slot = {
        buffer: bytes.subarray(i * source.recordBytes, (i + 1) * source.recordBytes),
        done: (error, offset) => this.#complete(slot, error, offset),
        sequence: 0,
        dueMs: pace.firstDueMs,
        sentMs: 0,
      };
      this.#free.push(slot);
    }
  }

  /** Records that are due and wait for a slot. */
  behind(nowMs: number): number {
    if (this.#intervalMs === undefined || nowMs < this.#nextDueMs) return 0;
    return Math.floor((nowMs - this.#nextDueMs) / this.#intervalMs);
  }

  /**
   * Sends what may be sent. Never from inside itself (a target may complete at once), and at most a window at a time
   * (a target that always completes at once would keep the event loop for itself).
   */
  pump(): void {
    if (this.#pumping || this.#yielding) return;
    this.#pumping = true;
    const limit = this.#free.length + this.inFlight;
    let sent = 0;
    while (this.#state.running && this.#free.length > 0 && sent < limit) {
      if (this.#intervalMs !== undefined && performance.now() < this.#nextDueMs) break;
      this.#send(this.#free.pop() as Slot);
      sent += 1;
    }
    this.#pumping = false;
    if (sent === limit && this.#free.length > 0) {
      this.#yielding = true;
      setImmediate(() => {
        this.#yielding = false;
        this.pump();
      });
    }
  }

  #send(slot: Slot): void {
    if (this.#intervalMs !== undefined) {
      slot.dueMs = this.#nextDueMs;
      this.#nextDueMs += this.#intervalMs;
    }
    slot.sequence = this.#state.ledger.send(this.#index);
    this.#source.fill(slot.buffer, this.#index, slot.sequence);
    this.inFlight += 1;
    if (this.#state.observer !== undefined) slot.sentMs = performance.now();
    this.#target.send(slot.buffer, slot.done);
  }

  #complete(slot: Slot, error: Error | null, offset: number): void {
    const state = this.#state;
    this.inFlight -= 1;
    if (error === null) state.ledger.acknowledge(this.#index, slot.sequence, offset);
    else state.ledger.fail(this.#index, slot.sequence);
    state.observer?.completed(this.#index, slot.sequence, slot.sentMs, error, offset);
    state.complete(slot.dueMs, error);
    slot.dueMs = performance.now();
    this.#free.push(slot);
    if (state.running) this.pump();
    else state.onIdle?.();
  }
}

interface Pace {
  readonly window: number;
  readonly intervalMs: number | undefined;
  readonly firstDueMs: number;
}

/** A load that is under way, from its construction until `drain`. */
export class Load {
  readonly #state: LoadState;
  readonly #producers: LoadProducer[];
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(
    targets: readonly TargetProducer[],
    source: RecordSource,
    window: number,
    ratePerSecond?: number,
    observer?: LoadObserver,
  ) {
    this.#state = new LoadState(targets.length, observer);
    const now = performance.now();
    const intervalMs = ratePerSecond === undefined ? undefined : (1000 * targets.length) / ratePerSecond;
    this.#producers = targets.map((target, i) => {
      const firstDueMs = now + (intervalMs === undefined ? 0 : (intervalMs * i) / targets.length);
      return new LoadProducer(i, target, source, this.#state, { window, intervalMs, firstDueMs });
    });
    if (intervalMs !== undefined) this.#timer = setInterval(() => this.#pump(), 1);
    this.#pump();
  }

  get ledger(): Ledger {
    return this.#state.ledger;
  }

  get inFlight(): number {
    return this.#producers.reduce((sum, producer) => sum + producer.inFlight, 0);
  }

  get errors(): number {
    return this.#state.errors;
  }

  get firstError(): Error | undefined {
    return this.#state.firstError;
  }

  /** Counts what completes from now on, for about `ms`. */
  async measure(ms: number): Promise<Measured> {
    const state = this.#state;
    state.latency.reset();
    state.records = 0;
    state.measuring = true;
    const start = performance.now();
    await delay(ms);
    const end = performance.now();
    state.measuring = false;
    const behindRecords = this.#producers.reduce((sum, producer) => sum + producer.behind(end), 0);
    return { seconds: (end - start) / 1000, records: state.records, latency: state.latency, behindRecords };
  }

  /** Resolves with the moment of the first acknowledgement of a record that is due after now. */
  nextAcknowledgement(): Promise<number> {
    return new Promise((reached) => {
      this.#state.mark = { ms: performance.now(), reached };
    });
  }

  /** Resolves once `count` records were acknowledged in all. */
  async acknowledged(count: number): Promise<void> {
    while (this.ledger.acknowledged < count) await this.nextAcknowledgement();
  }

  /** Sends nothing more and waits for the answers to what was sent; false when some are missing after `ms`. */
  async drain(ms: number): Promise<boolean> {
    this.#state.running = false;
    clearInterval(this.#timer);
    if (this.inFlight === 0) return true;
    const deadline = new AbortController();
    const idle = new Promise<boolean>((resolve) => {
      this.#state.onIdle = () => {
        if (this.inFlight === 0) resolve(true);
      };
      deadline.signal.addEventListener('abort', () => resolve(this.inFlight === 0));
    });
    const timer = setTimeout(() => deadline.abort(), ms);
    const drained = await idle;
    clearTimeout(timer);
    return drained;
  }

  #pump(): void {
    for (const producer of this.#producers) producer.pump();
  }
}
