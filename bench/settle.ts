/** When all that may become readable of a load is readable. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Acks } from '../src/client/options.js';
import type { BenchCluster } from './cluster.js';
import type { Ledger } from './ledger.js';

const GIVE_UP_MS = 30_000;
/** After this long without a new record no more are coming. */
const QUIET_MS = 300;
const POLL_MS = 3;

/**
 * The end of the topic's committed records once the load's are among them. acks: 0 tells no offsets: there, and after a
 * failure, the end is where nothing new has come for a while.
 */
export async function settledEnd(
  cluster: BenchCluster,
  topic: string,
  ledger: Ledger,
  acks: Acks,
  hadFailure: boolean,
): Promise<number> {
  const start = performance.now();
  let end = -1;
  let movedAt = start;
  for (;;) {
    const now = await cluster.endOffset(topic);
    if (now !== end) movedAt = performance.now();
    end = now;
    if (acks !== 0 && !hadFailure && end > ledger.highestOffset) return end;
    if (performance.now() - movedAt > QUIET_MS && (end > ledger.highestOffset || hadFailure || acks === 0)) return end;
    if (performance.now() - start > GIVE_UP_MS) return end;
    await delay(POLL_MS);
  }
}
