/**
 * The client of floor (b): gathers the records of one turn of the event loop into frames of at most 64 KiB, and
 * completes each record by its own callback once its frame is acknowledged. Never decodes anything but a count.
 */
import { connect, type Socket } from 'node:net';
import type { SendCallback } from '../../src/client/options.js';
import { VarveError } from '../../src/errors.js';
import type { TargetProducer } from '../target.js';

const FRAME_BYTES = 64 * 1024;
const HEADER_BYTES = 4;
const RECORD_HEADER_BYTES = 4;

interface SentFrame {
  readonly buffer: Buffer;
  readonly callbacks: SendCallback[];
}

export class FloorProducer implements TargetProducer {
  readonly #socket: Socket;
  readonly #inFlight: SentFrame[] = [];
  /** Buffers of acknowledged frames, for the next ones. */
  readonly #spare: Buffer[] = [];
  #frame: Buffer;
  #length = HEADER_BYTES;
  #callbacks: SendCallback[] = [];
  #scheduled = false;
  #acknowledged = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#frame = Buffer.allocUnsafe(HEADER_BYTES + FRAME_BYTES);
    socket.on('data', (chunk) => this.#onData(chunk));
    socket.on('error', (cause) => this.#fail(cause));
    socket.on('close', () => this.#fail());
  }

  static connect(port: number): Promise<FloorProducer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => {
        socket.off('error', reject);
        resolve(new FloorProducer(socket));
      });
      socket.once('error', reject);
    });
  }

  send(value: Buffer, done: SendCallback): void {
    const need = RECORD_HEADER_BYTES + value.length;
    if (this.#length + need > this.#frame.length) {
      this.#flush();
      if (HEADER_BYTES + need > this.#frame.length) this.#frame = Buffer.allocUnsafe(HEADER_BYTES + need);
    }
    this.#frame.writeUInt32LE(value.length, this.#length);
    value.copy(this.#frame, this.#length + RECORD_HEADER_BYTES);
    this.#length += need;
    this.#callbacks.push(done);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.destroy();
    });
  }

  #flush(): void {
    if (this.#callbacks.length === 0) return;
    this.#frame.writeUInt32LE(this.#length - HEADER_BYTES);
    this.#socket.write(this.#frame.subarray(0, this.#length));
    this.#inFlight.push({ buffer: this.#frame, callbacks: this.#callbacks });
    this.#frame = this.#spare.pop() ?? Buffer.allocUnsafe(HEADER_BYTES + FRAME_BYTES);
    this.#length = HEADER_BYTES;
    this.#callbacks = [];
  }

  #onData(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = bytes.length - (bytes.length % 4);
    if (whole > 0) {
      const count = bytes.readUInt32LE(whole - 4);
      while (this.#acknowledged !== count) {
        this.#acknowledged = (this.#acknowledged + 1) >>> 0;
        const { buffer, callbacks } = this.#inFlight.shift() as SentFrame;
        // Acknowledged, so the socket is done with it.
        this.#spare.push(buffer);
        for (const done of callbacks) {
          done(null, this.#offset);
          this.#offset += 1;
        }
      }
    }
    this.#rest = bytes.subarray(whole);
  }

  #fail(cause?: Error): void {
    const callbacks = [...this.#inFlight.splice(0).flatMap((frame) => frame.callbacks), ...this.#callbacks.splice(0)];
    const error = new VarveError('OUTCOME_UNKNOWN', 'the connection to the floor ended', { cause });
    for (const done of callbacks) done(error, -1);
  }
}
