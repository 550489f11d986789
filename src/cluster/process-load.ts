/** What the process of a node costs: memory, CPU time, and how late its event loop is. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { NodeStatus } from './status.js';

/** How often the event loop's lateness is probed. */
const PROBE_MS = 10;

export type LoadFigures = Pick<NodeStatus, 'pid' | 'memory' | 'cpu' | 'eventLoopDelay'>;

export class ProcessLoad {
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: PROBE_MS });

  start(): void {
    this.#loopDelay.enable();
  }

  stop(): void {
    this.#loopDelay.disable();
  }

  /** The event loop's figures are since the last call. */
  take(): LoadFigures {
    const { heapUsed, external, rss } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const delay = this.#loopDelay;
    const eventLoopDelay = {
      meanMs: lateness(delay.mean),
      p99Ms: lateness(delay.percentile(99)),
      maxMs: lateness(delay.max),
    };
    delay.reset();
    return {
      pid: process.pid,
      memory: { rss, heapUsed, external },
      cpu: { userMs: user / 1000, systemMs: system / 1000 },
      eventLoopDelay,
    };
  }
}

/** The histogram holds the time between two probes, the period included. NaN: none yet. */
function lateness(nanoseconds: number): number {
  return Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - PROBE_MS) : 0;
}
