/**
 * What one log accepts at present: nothing once it is closed; reads alone once its store has failed or is being closed;
 * everything but records while the disk is full.
 */
import { VarveError } from '../errors.js';
import { checkAccepting, type LogHost } from './log-host.js';

export class LogGate {
  readonly #name: string;
  readonly #host: LogHost;
  #closed = false;

  constructor(name: string, host: LogHost) {
    this.#name = name;
    this.#host = host;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
  }

  /** @throws VarveError CLOSED */
  checkOpen(): void {
    if (this.#closed) throw new VarveError('CLOSED', `${this.#name}: the log was closed`);
  }

  /** @throws VarveError CLOSED, DISK_FAILED */
  checkAccepting(): void {
    if (this.#closed) this.checkOpen();
    checkAccepting(this.#host);
  }

  /** @throws VarveError DISK_FULL */
  checkSpace(): void {
    const { full } = this.#host;
    if (full !== undefined) throw full;
  }
}
