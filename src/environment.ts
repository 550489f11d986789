/**
 * What a node takes from the process and machine it runs on: time, timers, turns of the event loop and randomness. Store,
 * replication and connections ask for these here and nowhere else, so that a simulator can be their environment: then a
 * run is a function of its seed. What travels over the network is src/rpc/transport.ts, files are src/disk/disk.ts.
 *
 * Contract for another environment: no task runs inside the call that asks for it; tasks of `nextTurn` run in the order in
 * which they were given, after the promise callbacks that are due.
 */
import { randomBytes } from 'node:crypto';

/** A timer that was set, for `cancel`; one that is unreferenced does not keep the process alive. */
export interface Timer {
  ref(): unknown;
  unref(): unknown;
}

export interface Environment {
  /** Wall clock: milliseconds since 1970. May jump in either direction. */
  readonly now: () => number;
  /** Milliseconds of a clock that never goes back; only differences count. */
  readonly monotonic: () => number;
  /** Runs `task` once, after at least `ms` milliseconds. */
  readonly after: (ms: number, task: () => void) => Timer;
  /** Runs `task` again and again, at least `ms` milliseconds apart. */
  readonly every: (ms: number, task: () => void) => Timer;
  readonly cancel: (timer: Timer | undefined) => void;
  /** Runs `task` after what has arrived by now: when the sockets were drained, before the next wait. */
  readonly nextTurn: (task: () => void) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Bytes that nobody can guess. */
  readonly randomBytes: (length: number) => Buffer;
}

/** The process itself. */
export const systemEnvironment: Environment = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms: number, task: () => void) => setTimeout(task, ms),
  every: (ms: number, task: () => void) => setInterval(task, ms),
  cancel: (timer: Timer | undefined) => clearTimeout(timer as NodeJS.Timeout | undefined),
  nextTurn: (task: () => void) => void setImmediate(task),
  random: () => Math.random(),
  randomBytes: (length: number) => randomBytes(length),
});

/** Leaves the event loop its turn. */
export function turn(environment: Environment): Promise<void> {
  return new Promise((resolve) => environment.nextTurn(resolve));
}

/** @throws the signal's reason, when it comes first */
export function sleep(environment: Environment, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      environment.cancel(timer);
      reject(signal!.reason);
    };
    const timer = environment.after(ms, () => {
      signal?.removeEventListener('abort', abort);
      resolve();
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
