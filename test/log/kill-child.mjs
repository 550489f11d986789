// Appends until it is killed, and says on standard output up to which offset it was acknowledged. Runs the built package.
import { openStore } from '../../dist/src/main.js';

const [path, flush] = process.argv.slice(2);
const store = await openStore(path, {
  create: true,
  journalFileBytes: 1 << 20,
  journalMaxBytes: 8 << 20,
  checkpointIntervalMs: 50,
});
const log = await store.openLog('t', 0, { flush, segmentBytes: 1 << 20 });
process.stdout.write(`open ${log.end}\n`);

let acknowledged = log.end;
async function worker() {
  for (;;) {
    const first = log.end;
    const { baseOffset } = await log.append([{ value: `record ${first}`.padEnd(200 + (first % 3000), '.') }]);
    acknowledged = Math.max(acknowledged, baseOffset + 1);
  }
}
for (let i = 0; i < 16; i++) void worker();
// Appends are acknowledged in order, so one number says it all.
for (;;) {
  await new Promise((resolve) => setImmediate(resolve));
  process.stdout.write(`acknowledged ${acknowledged}\n`);
}
