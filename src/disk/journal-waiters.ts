/**
 * Who waits for a journal's writer, and what they are told: flushes, by ticket; closing; and the owner's callbacks. The
 * same over every writer, be it a thread or the simulator's.
 *
 * Waiters are settled before any callback runs. The first failure counts: nothing becomes durable after it.
 */
import { VarveError } from '../errors.js';
import type { JournalOptions, JournalSpace, JournalStats } from './disk.js';
import { JournalStart } from './journal-start.js';

/** What is asked of the writer. */
export interface JournalWriter {
  /** Has everything that was submitted synced. @returns the last ticket of it */
  requestFlush(): number;
  /** Has everything synced, and ends: `progress` says when. */
  requestStop(): void;
  currentFileNumber(): number;
  stats(): JournalStats;
}

/** How far the writer has come. */
export interface JournalProgress {
  readonly durableTicket: number;
  readonly error: Error | undefined;
  readonly stopped: boolean;
  /** Of all bytes so far, those that direct flushes made durable. */
  readonly directBytes: number;
  readonly space: JournalSpace;
  /** The first file is on disk. */
  readonly started: boolean;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class JournalWaiters {
  readonly #writer: JournalWriter;
  readonly #options: Pick<JournalOptions, 'onDurable' | 'onFailure' | 'onSpace'>;
  readonly #start = new JournalStart();
  #durableTicket = 0;
  #failure: Error | undefined;
  #space: JournalSpace = 'enough';
  #flushes: (Waiter & { readonly ticket: number })[] = [];
  #closing: Promise<void> | undefined;
  #stopped: Waiter | undefined;
  #finalFileNumber = 0;
  #finalStats: JournalStats | undefined;

  constructor(writer: JournalWriter, options: Pick<JournalOptions, 'onDurable' | 'onFailure' | 'onSpace'>) {
    this.#writer = writer;
    this.#options = options;
  }

  /** @see Journal.started */
  get started(): Promise<void> {
    return this.#start.promise;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** @throws VarveError CLOSED */
  refuseClosed(): void {
    if (this.#closing) throw new VarveError('CLOSED', 'the journal is closed');
  }

  /** @see Journal.flush */
  async flush(): Promise<void> {
    this.refuseClosed();
    if (this.#failure) throw this.#failure;
    const ticket = this.#writer.requestFlush();
    if (ticket <= this.#durableTicket) return;
    await new Promise<void>((resolve, reject) => this.#flushes.push({ ticket, resolve, reject }));
  }

  /** As it was at the end, once the journal is closed. */
  get currentFileNumber(): number {
    return this.#closing ? this.#finalFileNumber : this.#writer.currentFileNumber();
  }

  stats(): JournalStats {
    return this.#finalStats ?? this.#writer.stats();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#finalFileNumber = this.#writer.currentFileNumber();
    if (this.#failure) {
      this.#finalStats = this.#writer.stats();
      throw this.#failure;
    }
    await new Promise<void>((resolve, reject) => {
      this.#stopped = { resolve, reject };
      this.#writer.requestStop();
    });
  }

  /** The writer has come further. On the event loop. */
  progress({ durableTicket, error, stopped, directBytes, space, started }: JournalProgress): void {
    this.#start.settle(started, error, stopped);
    const moved = durableTicket > this.#durableTicket;
    this.#durableTicket = durableTicket;
    const due = this.#flushes.filter(({ ticket }) => ticket <= durableTicket);
    if (due.length > 0) this.#flushes = this.#flushes.filter(({ ticket }) => ticket > durableTicket);
    for (const waiter of due) waiter.resolve();
    const failedNow = error !== undefined && this.#failure === undefined;
    if (failedNow) {
      this.#failure = error;
      for (const waiter of this.#flushes.splice(0)) waiter.reject(error);
    }
    if (stopped) {
      this.#finalFileNumber = this.#writer.currentFileNumber();
      this.#finalStats = this.#writer.stats();
      if (this.#failure) this.#stopped?.reject(this.#failure);
      else this.#stopped?.resolve();
    }
    const spaceChanged = space !== this.#space;
    this.#space = space;
    if (moved) this.#options.onDurable(durableTicket, directBytes);
    if (failedNow) this.#options.onFailure(error);
    else if (spaceChanged) this.#options.onSpace?.(space);
  }
}
