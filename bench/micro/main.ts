/**
 * `npm run bench:micro [-- TEXT]`: what single operations cost, by tinybench. With TEXT, only those whose name has it.
 *
 * The figures are medians of one process on one machine: they tell a change that halves a cost, not one of five percent.
 */
import Table from 'cli-table3';
import { Bench } from 'tinybench';
import { logSuite } from './log-tasks.js';
import { recordSuite } from './record-tasks.js';
import type { MicroSuite, MicroTask } from './task.js';

const TIME_MS = 400;
const WARMUP_MS = 100;

async function main(filter: string): Promise<void> {
  const table = new Table({
    head: ['operation', 'ns/record', 'records/s', 'MB/s', 'p99 ÷ p50', 'calls'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const makeSuite of [recordSuite, logSuite]) {
    const suite: MicroSuite = await makeSuite();
    try {
      for (const task of suite.tasks) {
        if (task.name.includes(filter)) table.push(await measure(task));
      }
    } finally {
      await suite.close();
    }
  }
  console.log(`Node.js ${process.version}, medians of ${TIME_MS} ms per operation`);
  console.log(table.toString());
}

async function measure(task: MicroTask): Promise<string[]> {
  // One task's garbage is not the next one's pause.
  globalThis.gc?.();
  const bench = new Bench({ time: TIME_MS, warmupTime: WARMUP_MS, iterations: 8 });
  bench.add(task.name, task.run);
  const [done] = await bench.run();
  const result = done!.result;
  if (result.state === 'errored') throw result.error;
  if (result.state !== 'completed') throw new Error(`${task.name}: tinybench ended in state ${result.state}`);
  const { p50, p99 } = result.latency;
  return [
    task.name,
    nanoseconds((p50 * 1e6) / task.records),
    Math.round((task.records / p50) * 1000).toLocaleString('en-US'),
    (task.bytes / p50 / 1000).toFixed(0),
    (p99 / p50).toFixed(1),
    String(done!.runs),
  ];
}

function nanoseconds(value: number): string {
  return value.toFixed(value < 10 ? 1 : 0);
}

await main(process.argv[2] ?? '');
