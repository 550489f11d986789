// 512 partitions with pending bytes, and one flush. Looking for a file that is not there marks the flush's begin and end
// in a trace of system calls. Prints the journal's own count of syncs in between.
import { accessSync } from 'node:fs';
import { BatchBuilder, openStore } from '../../dist/src/main.js';

const PARTITIONS = 512;
const VALUE_BYTES = 100;

function mark(name) {
  try {
    accessSync(name);
  } catch {}
}

const store = await openStore(process.argv[2], { create: true, checkpointIntervalMs: 3_600_000 });
const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
const logs = await Promise.all(partitions.map((partition) => store.openLog('many', partition, { flush: 'none' })));
const builder = new BatchBuilder();
builder.append(0, null, Buffer.alloc(VALUE_BYTES));
const batch = builder.finish();
for (const log of logs) log.appendProduced(batch, 0, batch.length, 0);
const before = store.stats().journal.syncs;
mark('flush-begins');
await logs[0].flush();
mark('flush-ended');
const durable = logs.filter((log) => log.durable === 1).length;
console.log(JSON.stringify({ syncs: store.stats().journal.syncs - before, durable }));
// Closing would write a checkpoint of 512 logs, which is not what is looked at.
process.exit(0);
