/** When all that may become readable of a load is readable. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Acks } from '../src/client/options.js';
import type { BenchCluster } from './cluster.js';
import type { Ledger } from './ledger.js';

const GIVE_UP_MS = 30_000;
/** After a failure: after this long without a new record no more are coming. */
const QUIET_MS = 300;
/** The same under acks: 0, where nothing says what is still on its way. */
const QUIET_UNACKNOWLEDGED_MS = 600;
const POLL_MS = 3;

export interface SettleOptions {
  readonly acks: Acks;
  /** Where the topic ended before the load. */
  readonly start: number;
  /** Sends failed, or a node did: what was sent may or may not come. */
  readonly hadFailure: boolean;
}

/** The end of the topic's committed records once all of the load's that will come are among them. */
export async function settledEnd(
  cluster: BenchCluster,
  topic: string,
  ledger: Ledger,
  { acks, start, hadFailure }: SettleOptions,
): Promise<number> {
  // Under acks: 0 no offset is told, but nothing failed, so everything that was sent comes.
  const expected = acks === 0 ? start + ledger.sent : ledger.highestOffset + 1;
  const quietMs = acks === 0 ? QUIET_UNACKNOWLEDGED_MS : QUIET_MS;
  const since = performance.now();
  let end = -1;
  let movedAt = since;
  for (;;) {
    const now = await cluster.endOffset(topic);
    if (now !== end) movedAt = performance.now();
    end = now;
    if (!hadFailure && end >= expected) return end;
    const isQuiet = performance.now() - movedAt > quietMs;
    if (isQuiet && (hadFailure || acks === 0)) return end;
    if (performance.now() - since > GIVE_UP_MS) return end;
    await delay(POLL_MS);
  }
}
