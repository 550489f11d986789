/** A transport whose answers the test gives by hand: what was sent lies in `requests` until it is answered. */
import type { PartResult, ProducePart, ProduceTransport } from '../../src/client/accumulator.js';
import type { ErrorCode } from '../../src/errors.js';
import { VarveError } from '../../src/errors.js';
import { decodeBatchAsync } from '../../src/record/decode.js';

export interface ScriptedRequest {
  readonly node: number;
  readonly parts: readonly ProducePart[];
  readonly timeoutMs: number;
  /** The values of the records, per part and batch. */
  readonly values: Promise<string[][][]>;
  resolve(results: readonly PartResult[]): void;
  reject(error: VarveError): void;
}

export const appended = (baseOffset: number): PartResult => ({ error: undefined, baseOffset });
export const refused = (code: ErrorCode): PartResult => ({
  error: new VarveError(code, `scripted ${code}`),
  baseOffset: -1,
});

export class ScriptedTransport implements ProduceTransport {
  leader: (topic: string, partition: number) => number = () => 1;
  /** What `recover` does; by default it lets the test go on by `recoveries`. */
  readonly recoveries: {
    topic: string;
    partition: number;
    attempt: number;
    resolve(): void;
    reject(error: Error): void;
  }[] = [];
  readonly requests: ScriptedRequest[] = [];
  #waiters: (() => void)[] = [];

  leaderOf(topic: string, partition: number): number {
    return this.leader(topic, partition);
  }

  recover(topic: string, partition: number, attempt: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.recoveries.push({ topic, partition, attempt, resolve, reject });
      this.#wake();
    });
  }

  send(node: number, parts: readonly ProducePart[], timeoutMs: number): Promise<readonly PartResult[]> {
    const values = Promise.all(parts.map((part) => Promise.all(part.buffers.map(valuesOf))));
    return new Promise((resolve, reject) => {
      this.requests.push({ node, parts, timeoutMs, values, resolve, reject });
      this.#wake();
    });
  }

  /** The next request that was sent and not taken yet. */
  async nextRequest(): Promise<ScriptedRequest> {
    while (this.requests.length === 0) await this.#somethingHappens();
    return this.requests.shift()!;
  }

  async nextRecovery(): Promise<ScriptedTransport['recoveries'][number]> {
    while (this.recoveries.length === 0) await this.#somethingHappens();
    return this.recoveries.shift()!;
  }

  #somethingHappens(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}

async function valuesOf(batch: Buffer): Promise<string[]> {
  // Copied: the accumulator reuses the bytes once the request has been answered.
  const records = await decodeBatchAsync(Buffer.from(batch), 0, batch.length, { checkCrc: true });
  return records.map(({ value }) => value!.toString());
}

/** Lets everything that is due in this turn of the event loop, and in the next one, happen. */
export async function turns(count = 2): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
