/** A Producer of the package as the load generator wants it. */
import type { ProducerOptions, SendCallback } from '../src/client/options.js';
import { Producer } from '../src/client/producer.js';
import { VarveError } from '../src/errors.js';
import type { CellSettings } from './plan.js';
import type { TargetProducer } from './target.js';

export class CellProducer implements TargetProducer {
  readonly #producer: Producer;
  readonly #topic: string;

  constructor(options: ProducerOptions, topic: string) {
    this.#producer = new Producer(options);
    this.#topic = topic;
  }

  send(value: Buffer, done: SendCallback): void {
    if (!this.#producer.enqueue({ topic: this.#topic, partition: 0, value }, done)) {
      throw new VarveError('OVERLOADED', 'more records are in flight than the producer was told to hold');
    }
  }

  close(): Promise<void> {
    return this.#producer.close();
  }
}

/** The producer's options for a cell; `bufferBytes` must hold all that the load has in flight. */
export function producerOptions(cell: CellSettings, brokers: readonly string[], bufferBytes: number): ProducerOptions {
  return {
    brokers,
    acks: cell.acks,
    compression: cell.compression,
    ...(cell.batch === 'record' ? { batchRecords: 1 } : { batchBytes: cell.batch }),
    bufferBytes,
  };
}

/** Room for everything in flight, with what the format adds, and never less than the default. */
export function bufferBytesFor(window: number, recordBytes: number): number {
  return Math.max(32 * 1024 * 1024, 2 * window * (recordBytes + 128));
}
