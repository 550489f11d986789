/** Reads a partition straight from a node's data directory, which no process may have open. */
import type { FlushMode } from '../../src/disk/disk.js';
import { openStore } from '../../src/log/store.js';
import { batchSizeAt } from '../../src/record/record-batch.js';

const READ_BYTES = 1024 * 1024;

/** A view may hold several batches. */
async function eachBatch(view: Buffer, take: (batch: Buffer) => Promise<void>): Promise<void> {
  for (let at = 0; at < view.length; ) {
    const end = at + batchSizeAt(view, at);
    await take(view.subarray(at, end));
    at = end;
  }
}

/** Gives the whole batches of [from, to), in order. Stops early where the log ends; returns the offset it came to. */
export async function readStoredLog(
  dataFolder: string,
  topic: string,
  flush: FlushMode,
  from: number,
  to: number,
  take: (batch: Buffer) => Promise<void>,
): Promise<number> {
  const store = await openStore(dataFolder);
  try {
    // Replicated: a log of its own would take everything it holds for committed, and might add to it.
    const log = await store.openLog(topic, 0, { flush, replicated: true });
    let next = Math.max(from, log.start);
    while (next < Math.min(to, log.end)) {
      const { views, nextOffset } = log.viewsFrom(next, READ_BYTES, 'end');
      for (const view of views) await eachBatch(view, take);
      if (nextOffset <= next) break;
      next = nextOffset;
    }
    return next;
  } finally {
    await store.close();
  }
}
