/**
 * One batch of a producer on its way: the callbacks of its records and, once it is closed, its bytes. The records
 * themselves are not kept: they were encoded as they came.
 */
import { invariant, VarveError } from '../errors.js';
import type { SendCallback } from './options.js';

export class ProducerBatch {
  readonly partition: number;
  /** performance.now() time of its first record. */
  readonly createdAtMs: number;
  /** Bytes of the batch before compression; final once it is closed. */
  bytes = 0;
  /** Bytes of its records, as counted against bufferBytes. */
  recordBytes = 0;
  /** One record larger than batchBytes: it travels alone, so that its refusal for size touches no other record. */
  isOversized = false;
  /** Why it could not be encoded (its compression failed). */
  sealError: VarveError | undefined;

  readonly #callbacks: SendCallback[] = [];
  #encoded: Buffer | undefined;
  #sealing: Promise<void> | undefined;
  #whenFinished: (() => void)[] | undefined;

  constructor(partition: number, createdAtMs: number) {
    this.partition = partition;
    this.createdAtMs = createdAtMs;
  }

  get records(): number {
    return this.#callbacks.length;
  }

  /** The batch as it goes over the wire. */
  get encoded(): Buffer {
    invariant(this.#encoded !== undefined, 'a batch is sent after it was sealed');
    return this.#encoded;
  }

  /** Resolves when the bytes (or `sealError`) are there; undefined: they are. Never rejects. */
  get sealing(): Promise<void> | undefined {
    return this.#sealing;
  }

  add(callback: SendCallback): void {
    this.#callbacks.push(callback);
  }

  /** Takes the bytes: a Buffer at once, or a promise of one while they are being compressed. */
  seal(bytes: Buffer | Promise<Buffer>): void {
    if (Buffer.isBuffer(bytes)) {
      this.#encoded = bytes;
      return;
    }
    this.#sealing = bytes.then(
      (encoded) => {
        this.#encoded = encoded;
        this.#sealing = undefined;
      },
      (cause: unknown) => {
        this.sealError =
          cause instanceof VarveError
            ? cause
            : new VarveError('INVALID_BATCH', `the batch could not be compressed: ${String(cause)}`, { cause });
        this.#sealing = undefined;
      },
    );
  }

  /** The bytes, given up for reuse; undefined when they were never made or are still being made. */
  takeEncoded(): Buffer | undefined {
    const encoded = this.#encoded;
    this.#encoded = undefined;
    return encoded;
  }

  onFinished(callback: () => void): void {
    this.#whenFinished ??= [];
    this.#whenFinished.push(callback);
  }

  /** Runs the callbacks in order. One that throws does not keep the others from running: its error is thrown later. */
  finish(error: VarveError | undefined, baseOffset: number): void {
    const { partition } = this;
    const callbacks = this.#callbacks;
    for (let i = 0; i < callbacks.length; i++) {
      try {
        if (error === undefined) callbacks[i]!(null, baseOffset < 0 ? -1 : baseOffset + i, partition);
        else callbacks[i]!(error, -1, partition);
      } catch (thrown) {
        process.nextTick(() => {
          throw thrown;
        });
      }
    }
    for (const done of this.#whenFinished ?? []) done();
  }
}
