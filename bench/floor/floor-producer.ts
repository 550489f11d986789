/**
 * The client of floor (b): the Producer's own accumulator, so that gathering records and completing each one cost what
 * they cost a cell, over a transport that does nothing but write frames and count answers.
 */
import { connect, type Socket } from 'node:net';
import { Accumulator, type PartResult, type ProducePart, type ProduceTransport } from '../../src/client/accumulator.js';
import type { SendCallback } from '../../src/client/options.js';
import type { PartitionQueue } from '../../src/client/partition-queue.js';
import { resolveBatchingOptions } from '../../src/client/resolved-options.js';
import { VarveError } from '../../src/errors.js';
import type { TargetProducer } from '../target.js';

const FRAME_BYTES = 64 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
/** The floor has one leader, and it never changes. */
const LEADER = 1;

interface SentRequest {
  /** Frames sent when this request's last one was. */
  readonly frames: number;
  readonly results: readonly PartResult[];
  readonly resolve: (results: readonly PartResult[]) => void;
  readonly reject: (error: Error) => void;
}

/** Frames out, one count of frames back (u32, cumulative, wrapping). */
class FloorTransport implements ProduceTransport {
  readonly #socket: Socket;
  readonly #requests: SentRequest[] = [];
  #framesSent = 0;
  #recordsSent = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#fail());
  }

  leaderOf(): number {
    return LEADER;
  }

  recover(): Promise<void> {
    return Promise.reject(new VarveError('CONNECTION_LOST', 'the floor does not recover: its connection ended'));
  }

  send(_node: number, parts: readonly ProducePart[]): Promise<readonly PartResult[]> {
    const results: PartResult[] = [];
    this.#socket.cork();
    for (const part of parts) {
      results.push({ error: undefined, baseOffset: this.#recordsSent });
      this.#recordsSent += part.records;
      for (const buffer of part.buffers) {
        const header = Buffer.allocUnsafe(4);
        header.writeUInt32LE(buffer.length);
        this.#socket.write(header);
        this.#socket.write(buffer);
        this.#framesSent = (this.#framesSent + 1) >>> 0;
      }
    }
    this.#socket.uncork();
    const frames = this.#framesSent;
    return new Promise((resolve, reject) => this.#requests.push({ frames, results, resolve, reject }));
  }

  #onData(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = bytes.length - (bytes.length % 4);
    this.#rest = bytes.subarray(whole);
    if (whole === 0) return;
    const stored = bytes.readUInt32LE(whole - 4);
    // At or before `stored`, in arithmetic that wraps.
    while (this.#requests.length > 0 && ((stored - (this.#requests[0] as SentRequest).frames) | 0) >= 0) {
      const request = this.#requests.shift() as SentRequest;
      request.resolve(request.results);
    }
  }

  #fail(): void {
    const error = new VarveError('OUTCOME_UNKNOWN', 'the connection to the floor ended');
    for (const request of this.#requests.splice(0)) request.reject(error);
  }
}

export class FloorProducer implements TargetProducer {
  readonly #socket: Socket;
  readonly #accumulator: Accumulator;
  readonly #queue: PartitionQueue;

  private constructor(socket: Socket, bufferBytes: number) {
    this.#socket = socket;
    const batching = resolveBatchingOptions({ batchBytes: FRAME_BYTES, bufferBytes });
    this.#accumulator = new Accumulator(
      { ...batching, requestTimeoutMs: REQUEST_TIMEOUT_MS },
      new FloorTransport(socket),
    );
    this.#queue = this.#accumulator.queue('floor', 0);
  }

  /** `bufferBytes` must hold all that a caller has in flight. */
  static connect(port: number, bufferBytes: number): Promise<FloorProducer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
        socket.off('error', reject);
        resolve(new FloorProducer(socket, bufferBytes));
      });
      socket.once('error', reject);
    });
  }

  send(value: Buffer, done: SendCallback): void {
    if (!this.#accumulator.tryAppend(this.#queue, { value }, done)) {
      throw new VarveError('OVERLOADED', 'more records are in flight than the floor was told to hold');
    }
  }

  close(): Promise<void> {
    this.#accumulator.close();
    return new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.destroy();
    });
  }
}
