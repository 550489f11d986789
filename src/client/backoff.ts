/**
 * Waiting times between attempts: the first retry is immediate (the usual cause is stale metadata, which was just
 * thrown away), then they double up to `maxMs`, each spread over its upper half, so that the clients of a node that
 * just died do not come back all at once.
 */
const MIN_MS = 20;
const MAX_MS = 250;

/** Milliseconds to wait before retry number `attempt` (from 0). `random`: uniform in [0, 1). */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  if (attempt === 0) return 0;
  const ceiling = Math.min(MAX_MS, MIN_MS * 2 ** Math.min(attempt - 1, 16));
  return (ceiling / 2) * (1 + random());
}
