/** When all that may become readable of a load is readable. */
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchCluster } from './cluster.js';

const GIVE_UP_MS = 30_000;
/** After a failure: after this long without a new record no more are coming. */
const QUIET_MS = 300;
/** The same where records were sent that nobody acknowledges: nothing says what is still on its way. */
const QUIET_UNACKNOWLEDGED_MS = 600;
const POLL_MS = 3;

export interface Expectation {
  /** The topic must at least reach this offset. */
  readonly least: number;
  /** Nothing failed: once `least` is reached, there is no more. Else the end is where nothing comes for a while. */
  readonly isExact: boolean;
  /** Some records were sent under acks: 0. */
  readonly hasUnacknowledged: boolean;
}

/** The end of the topic's committed records once all of a load's that will come are among them. */
export async function settledEnd(cluster: BenchCluster, topic: string, expected: Expectation): Promise<number> {
  const quietMs = expected.hasUnacknowledged ? QUIET_UNACKNOWLEDGED_MS : QUIET_MS;
  const since = performance.now();
  let end = -1;
  let movedAt = since;
  for (;;) {
    const now = await cluster.endOffset(topic);
    if (now !== end) movedAt = performance.now();
    end = now;
    if (expected.isExact && end >= expected.least) return end;
    const isQuiet = performance.now() - movedAt > quietMs;
    if (isQuiet && (!expected.isExact || expected.hasUnacknowledged)) return end;
    if (performance.now() - since > GIVE_UP_MS) return end;
    await delay(POLL_MS);
  }
}
