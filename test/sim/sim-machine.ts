/**
 * One simulated machine: power, clocks, the speed of its disk, and the processes that run on it one after the other. Its
 * files outlive a process; a power cut leaves of them what the disk's twin says it may.
 */
import { Prng } from '../raft/prng.js';
import type { EventLoop } from './event-loop.js';
import { SimProcess } from './sim-process.js';
import { TwinFileSystem } from './twin-file-system.js';

/** Milliseconds since 1970 when every simulation begins. */
const EPOCH_MS = 1_700_000_000_000;

export interface DiskSpeed {
  readonly syncMinMs: number;
  readonly syncSpreadMs: number;
  readonly bytesPerMs: number;
  /** How often a sync takes `stallMs` more. */
  readonly stall: number;
  readonly stallMs: number;
}

export const FAST_DISK: DiskSpeed = { syncMinMs: 0.2, syncSpreadMs: 1, bytesPerMs: 200_000, stall: 0.005, stallMs: 30 };
export const SLOW_DISK: DiskSpeed = { syncMinMs: 5, syncSpreadMs: 60, bytesPerMs: 10_000, stall: 0.1, stallMs: 400 };

export class SimMachine {
  readonly host: string;
  readonly number: number;
  readonly #loop: EventLoop;
  readonly #random: Prng;
  disk = FAST_DISK;
  fileSystem = new TwinFileSystem();
  isPowered = true;
  /** Speed of its clocks against true time. */
  clockRate = 1;
  wallOffsetMs = 0;
  boots = 1;
  /** Processes so far. */
  starts = 0;
  #process: SimProcess | undefined;

  constructor(loop: EventLoop, host: string, number: number, random: Prng) {
    this.#loop = loop;
    this.host = host;
    this.number = number;
    this.#random = random;
  }

  /** The one that runs. */
  get process(): SimProcess | undefined {
    return this.#process;
  }

  startProcess(): SimProcess {
    this.starts++;
    const random = new Prng(Math.floor(this.#random.next() * 2 ** 32));
    this.#process = new SimProcess(this.#loop, this, this.number, random);
    return this.#process;
  }

  /** Ends the process at once; the kernel tells the other ends of its connections. */
  killProcess(): void {
    const process = this.#process;
    this.#process = undefined;
    process?.die();
  }

  wallClock(): number {
    return EPOCH_MS + this.wallOffsetMs + this.#loop.now * this.clockRate;
  }
}
