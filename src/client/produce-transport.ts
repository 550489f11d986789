/**
 * Carries the accumulator's requests over the cluster's connections.
 *
 * What a failure means is decided here, once: CONNECTION_LOST, NOT_LEADER and OVERLOADED say that nothing was appended
 * and another try may succeed; OUTCOME_UNKNOWN that it may have been appended. A leader that refuses records because it
 * is closing or its disk has failed leads no longer, or not for long: to the producer that is NOT_LEADER. A server's
 * TIMEOUT means that it took the records and could not say in time what became of them, so to the producer that outcome
 * is unknown as well. Under acks 0 a request is over once the kernel has its bytes; a node that does not take them in time
 * is given up.
 */
import { ERROR_CODES, type ErrorCode, VarveError } from '../errors.js';
import type { Connection } from '../rpc/connection.js';
import { FrameType, type ProduceHeader } from '../rpc/protocol.js';
import type { PartResult, ProducePart, ProduceTransport } from './accumulator.js';
import type { ClusterClient } from './cluster-client.js';
import type { Acks } from './options.js';

const KNOWN_CODES: ReadonlySet<unknown> = new Set(ERROR_CODES);

export class ClusterProduceTransport implements ProduceTransport {
  readonly #cluster: ClusterClient;
  readonly #acks: 0 | 1 | -1;

  constructor(cluster: ClusterClient, acks: Acks) {
    this.#cluster = cluster;
    this.#acks = acks === 'all' ? -1 : acks;
  }

  leaderOf(topic: string, partition: number): number {
    return this.#cluster.leaderOf(topic, partition);
  }

  recover(topic: string, partition: number, attempt: number): Promise<void> {
    return this.#cluster.recover(topic, partition, attempt);
  }

  send(node: number, parts: readonly ProducePart[], timeoutMs: number): Promise<readonly PartResult[]> {
    return new Promise((resolve, reject) => {
      this.#cluster.link(node).use((error, connection) => {
        if (connection === undefined) reject(error);
        else if (this.#acks === 0) this.#sendUnanswered(connection, parts, timeoutMs, resolve, reject);
        else this.#request(connection, parts, timeoutMs, resolve, reject);
      });
    });
  }

  #request(
    connection: Connection,
    parts: readonly ProducePart[],
    timeoutMs: number,
    resolve: (results: readonly PartResult[]) => void,
    reject: (error: VarveError) => void,
  ): void {
    const header = this.#header(parts, timeoutMs);
    // The server's own deadline comes first, because its answer says more than silence.
    const waitMs = timeoutMs + ANSWER_GRACE_MS;
    connection.requestWith(FrameType.Produce, header, bodiesOf(parts), waitMs, (error, reply) => {
      if (error !== undefined) return reject(asProduceError(error.code, error.message, error));
      try {
        resolve(partResults(reply, parts.length));
      } catch (cause) {
        reject(asProduceError('OUTCOME_UNKNOWN', 'the answer to a produce request cannot be read', cause));
      }
    });
  }

  #sendUnanswered(
    connection: Connection,
    parts: readonly ProducePart[],
    timeoutMs: number,
    resolve: (results: readonly PartResult[]) => void,
    reject: (error: VarveError) => void,
  ): void {
    // A node that takes no bytes for so long is stopped or cut off: the end of the connection ends all that waits for it.
    const waitMs = timeoutMs + ANSWER_GRACE_MS;
    const timer = setTimeout(() => {
      connection.destroy(new VarveError('TIMEOUT', `${connection.remote} took no more records for ${waitMs} ms`));
    }, waitMs);
    connection.sendWith(FrameType.Produce, this.#header(parts, timeoutMs), bodiesOf(parts), (error) => {
      clearTimeout(timer);
      if (error !== undefined) reject(error);
      else resolve(parts.map(() => UNANSWERED));
    });
  }

  #header(parts: readonly ProducePart[], timeoutMs: number): ProduceHeader {
    return [this.#acks, timeoutMs, parts.map(({ topic, partition, byteLength }) => [topic, partition, byteLength])];
  }
}

const ANSWER_GRACE_MS = 1000;

const UNANSWERED: PartResult = Object.freeze({ error: undefined, baseOffset: -1 });

function bodiesOf(parts: readonly ProducePart[]): readonly Buffer[] {
  return parts.length === 1 ? parts[0]!.buffers : parts.flatMap(({ buffers }) => buffers);
}

function partResults(reply: readonly unknown[], count: number): PartResult[] {
  const [parts] = reply;
  if (!Array.isArray(parts) || parts.length !== count) throw new TypeError(`it does not name ${count} parts`);
  return parts.map((part: unknown): PartResult => {
    const [code, message, baseOffset] = part as unknown[];
    if (code === '') {
      if (!Number.isSafeInteger(baseOffset) || (baseOffset as number) < 0)
        throw new TypeError('it names no base offset');
      return { error: undefined, baseOffset: baseOffset as number };
    }
    const error = KNOWN_CODES.has(code)
      ? asProduceError(code as ErrorCode, String(message))
      : new VarveError(
          'OUTCOME_UNKNOWN',
          `the server answered with an error this client does not know: ${code}: ${message}`,
        );
    return { error, baseOffset: -1 };
  });
}

/** What a server says of itself, not of the records. */
const UNFIT_TO_LEAD: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CLOSED', 'DISK_FAILED']);

function asProduceError(code: ErrorCode, message: string, cause?: unknown): VarveError {
  if (UNFIT_TO_LEAD.has(code))
    return new VarveError('NOT_LEADER', `${code}: ${message}`, cause === undefined ? {} : { cause });
  const unknown = code === 'TIMEOUT' || code === 'OUTCOME_UNKNOWN';
  if (!unknown && cause instanceof VarveError) return cause;
  const text = unknown ? `${message}; the records may or may not be in the log` : message;
  return new VarveError(unknown ? 'OUTCOME_UNKNOWN' : code, text, cause === undefined ? {} : { cause });
}
