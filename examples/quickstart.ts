/**
 * Writes ten readings to a replicated topic and reads them back.
 *
 *   npx tsc --module nodenext --target es2023 quickstart.ts && node quickstart.js [host:port] [topic]
 *                                                         default: 127.0.0.1:9101 events
 *
 * The README says how to start three nodes. Kill one of them while this runs: it only takes a moment longer.
 */
import { Admin, Consumer, Producer, VarveError } from 'varve';

const [broker = '127.0.0.1:9101', topic = 'events'] = process.argv.slice(2);
const brokers = [broker];

const admin = new Admin({ brokers });
const producer = new Producer({ brokers, acks: 'all', compression: 'lz4' });
try {
  const leader = await admin.waitForLeader(topic, 0);
  console.log(`node ${leader} leads ${topic}-0`);

  // All ten leave in one batch, and resolve when a majority of the nodes has it.
  const readings = Array.from({ length: 10 }, (_, n) => `${(20 + n / 2).toFixed(1)} °C`);
  const sent = await Promise.all(
    readings.map((value) => producer.send({ topic, partition: 0, key: 'sensor-1', value })),
  );
  const first = sent[0]!.offset;
  console.log(`wrote ${sent.length} records`);

  const consumer = new Consumer({ brokers, topic, partition: 0, from: first });
  let read = 0;
  for await (const record of consumer) {
    console.log(`+${record.offset - first} ${record.key} ${record.value}`);
    if (++read === sent.length) await consumer.close();
  }
} catch (error) {
  if (!(error instanceof VarveError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  await producer.close();
  await admin.close();
}
