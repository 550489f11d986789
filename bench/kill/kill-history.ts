/**
 * Writes down what a kill test does to a cluster, as a history that `varve check` judges (docs/HISTORY.md): every send with
 * its answer, every batch that is read back, the kills, and at the end the batches of each node's data directory.
 *
 * The value of a record is its identity, `run-producer-sequence`, if every byte is right, and else a text that nobody sent.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Operation, ReadRecord, ReplicaBatch, TimedOperation } from '../../src/checker/operation.js';
import type { Acks } from '../../src/client/options.js';
import type { FlushMode } from '../../src/disk/disk.js';
import { VarveError } from '../../src/errors.js';
import { forEachRecordAsync } from '../../src/record/decode.js';
import { baseOffsetAt, epochAt, isControlAt, lastOffsetAt, crcAt } from '../../src/record/record-batch.js';
import type { LoadObserver } from '../load.js';
import type { RecordSource } from '../payload/record-source.js';

const WRITE_CHARACTERS = 1024 * 1024;

type Untimed<T> = T extends { readonly time: number } ? Omit<T, 'time' | 'partition'> : never;

export class KillHistory {
  readonly #file: number;
  readonly #partition: string;
  readonly #sources: RecordSource[] = [];
  #text = '';

  constructor(path: string, topic: string, flush: FlushMode, nodes: readonly number[]) {
    this.#file = openSync(path, 'w');
    this.#partition = `${topic}-0`;
    this.#write({ op: 'history', version: 1 });
    this.#write({ op: 'partition', partition: this.#partition, flush, replicas: nodes });
  }

  /** What a load calls for each answer. */
  observer(source: RecordSource, acks: Acks): LoadObserver {
    this.#sources.push(source);
    return {
      completed: (producer, sequence, begin, error, offset) => {
        const outcome = error === null ? 'ok' : error instanceof VarveError && error.retriable ? 'failed' : 'unknown';
        const value = identityOf(source, producer, sequence);
        const name = `${source.runId}-${producer}`;
        this.#add({ op: 'send', producer: name, value, acks, outcome, begin, ...(offset >= 0 && { offset }) });
      },
    };
  }

  /** `begin`: before it was done. */
  kill(node: number, begin: number): void {
    this.#add({ op: 'fault', fault: 'kill', nodes: [node], begin }, false);
  }

  /** Everything is well again. */
  heal(): void {
    this.#add({ op: 'heal' }, false);
  }

  /** Whoever reads batches from `start` on gives them here, in order. */
  reader(consumer: string, start: number): (batches: readonly Buffer[], begin: number) => Promise<void> {
    let from = start;
    return async (batches, begin) => {
      const records: ReadRecord[] = [];
      let next = from;
      for (const batch of batches) {
        // A fetch may begin inside a batch that was given before.
        if (lastOffsetAt(batch, 0) < from) continue;
        next = Math.max(next, lastOffsetAt(batch, 0) + 1);
        if (!isControlAt(batch, 0)) await this.#read(batch, from, records);
      }
      this.#add({ op: 'poll', consumer, from, next, records, begin });
      from = next;
    };
  }

  /** The batches of a node's files, below the high watermark. */
  replica(node: number, logStart: number, highWatermark: number, batches: readonly ReplicaBatch[]): void {
    this.#add({ op: 'replica', node, logStart, highWatermark, batches });
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  async #read(batch: Buffer, from: number, records: ReadRecord[]): Promise<void> {
    const epoch = epochAt(batch, 0);
    try {
      await forEachRecordAsync(
        batch,
        0,
        batch.length,
        (offset, _time, bytes, _key, _keyLength, start, length) => {
          if (offset >= from) records.push([offset, this.#identify(bytes, start, length, offset), epoch]);
        },
        { checkCrc: true },
      );
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      records.push([baseOffsetAt(batch, 0), `a damaged batch: ${error.message}`, epoch]);
    }
  }

  #identify(bytes: Buffer, start: number, length: number, offset: number): string {
    for (let i = this.#sources.length - 1; i >= 0; i -= 1) {
      const source = this.#sources[i] as RecordSource;
      const identity = source.identify(bytes, start, length);
      if (identity === undefined) continue;
      const { producer, sequence } = identity;
      if (source.matches(bytes, start, producer, sequence)) return identityOf(source, producer, sequence);
    }
    return `other bytes, at offset ${offset}`;
  }

  #add(operation: Untimed<TimedOperation>, isOfPartition = true): void {
    const partition = isOfPartition ? { partition: this.#partition } : {};
    this.#write({ ...operation, ...partition, time: performance.now() } as Operation);
  }

  #write(operation: Operation): void {
    this.#text += `${JSON.stringify(operation)}\n`;
    if (this.#text.length >= WRITE_CHARACTERS) this.#flush();
  }

  #flush(): void {
    writeSync(this.#file, this.#text);
    this.#text = '';
  }
}

/** As a `replica` line has it. */
export function replicaBatch(batch: Buffer): ReplicaBatch {
  return [baseOffsetAt(batch, 0), lastOffsetAt(batch, 0), epochAt(batch, 0), crcAt(batch, 0)];
}

function identityOf({ runId }: RecordSource, producer: number, sequence: number): string {
  return `${runId}-${producer}-${sequence}`;
}
