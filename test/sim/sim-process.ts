/**
 * One simulated process: its time, its timers and turns, its randomness, and when its disk's calls complete. It dies, or is
 * paused as by SIGSTOP: then everything that belongs to it waits, and after the pause timers come first and what arrived
 * meanwhile follows, as an event loop has it.
 */
import type { Environment, Timer } from '../../src/environment.js';
import type { Prng } from '../raft/prng.js';
import { EventKind, type EventLoop, type EventOwner, type SimEvent } from './event-loop.js';
import type { SimMachine } from './sim-machine.js';
import type { TwinCall, TwinScheduler } from './twin-process.js';

/** How long what a process does in one turn takes. */
const TURN_MS = 0.02;
const FAST_CALL_MS = 0.02;

export class SimProcess implements EventOwner {
  readonly number: number;
  readonly machine: SimMachine;
  readonly environment: Environment;
  readonly scheduler: TwinScheduler;
  readonly #loop: EventLoop;
  readonly #random: Prng;
  #isDead = false;
  #isPaused = false;
  #deferred: SimEvent[] = [];
  /** Called when it dies: its connections end. */
  readonly onDeath: (() => void)[] = [];

  constructor(loop: EventLoop, machine: SimMachine, number: number, random: Prng) {
    this.#loop = loop;
    this.machine = machine;
    this.number = number;
    this.#random = random;
    this.environment = this.#makeEnvironment();
    this.scheduler = {
      now: () => loop.now,
      complete: (call, task) => void loop.schedule(this.#latencyOf(call), EventKind.Disk, this, task),
      after: (ms, task) => void loop.schedule(ms, EventKind.Disk, this, task),
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  die(): void {
    this.#isDead = true;
    this.#isPaused = false;
    this.#deferred = [];
    for (const ends of this.onDeath.splice(0)) ends();
  }

  pause(): void {
    if (!this.#isDead) this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const deferred = this.#deferred;
    this.#deferred = [];
    const isTimer = (event: SimEvent): boolean => event.kind === EventKind.Timer;
    for (const event of [...deferred.filter(isTimer), ...deferred.filter((each) => !isTimer(each))]) {
      event.at = this.#loop.now;
      this.#loop.push(event);
    }
  }

  defer(event: SimEvent): void {
    this.#deferred.push(event);
  }

  #makeEnvironment(): Environment {
    const loop = this.#loop;
    const random = this.#random;
    const { machine } = this;
    const startedAt = loop.now;
    // A process that was killed in the middle of something asks for nothing any more.
    const after = (ms: number, task: () => void): Timer => {
      const delayMs = Math.max(1, ms) / machine.clockRate + random.next();
      return new SimTimer(loop.schedule(delayMs, EventKind.Timer, this, task));
    };
    return {
      now: () => Math.floor(machine.wallClock()),
      monotonic: () => 1000 + (loop.now - startedAt) * machine.clockRate,
      after,
      every: (ms, task) => {
        const again = (): SimEvent =>
          loop.schedule(Math.max(1, ms) / machine.clockRate + random.next(), EventKind.Timer, this, () => {
            timer.event = again();
            task();
          });
        const timer = new SimTimer(again());
        return timer;
      },
      cancel: (timer) => {
        if (timer !== undefined) (timer as SimTimer).event.isCancelled = true;
      },
      nextTurn: (task) => void loop.schedule(TURN_MS, EventKind.Turn, this, task),
      random: () => random.next(),
      randomBytes: (length) => {
        const bytes = Buffer.alloc(length);
        for (let i = 0; i < length; i++) bytes[i] = random.below(256);
        return bytes;
      },
    };
  }

  #latencyOf({ operation, bytes }: TwinCall): number {
    const { disk } = this.machine;
    switch (operation) {
      case 'sync':
      case 'sync-directory':
        return (
          disk.syncMinMs +
          this.#random.next() * disk.syncSpreadMs +
          (this.#random.chance(disk.stall) ? disk.stallMs : 0)
        );
      case 'write':
        return FAST_CALL_MS * (0.5 + this.#random.next()) + bytes / disk.bytesPerMs;
      default:
        return FAST_CALL_MS * (0.5 + this.#random.next());
    }
  }
}

class SimTimer implements Timer {
  event: SimEvent;

  constructor(event: SimEvent) {
    this.event = event;
  }

  ref(): void {}

  unref(): void {}
}
