/**
 * A client's way to one address: dials when it is first needed and again after a loss, and hands the connection to its
 * users in the order in which they asked, so that what was asked first is sent first.
 *
 * A failed dial fails everybody who waits, with CONNECTION_LOST (nothing was sent) or with the reason that no retry
 * will change (WRONG_CLUSTER, UNSUPPORTED_VERSION). There is no retry here; callers know their deadlines.
 */
import { VarveError } from '../errors.js';
import type { Connection, Reply } from '../rpc/connection.js';
import { dial } from '../rpc/dial.js';
import type { Handshake } from '../rpc/handshake.js';
import type { BrokerAddress } from './resolved-options.js';

export type LinkUser = (error: VarveError | undefined, connection: Connection | undefined) => void;

export interface NodeLinkOptions extends BrokerAddress {
  readonly handshake: Handshake;
  /** Another node at this address is refused. Undefined: any node (a bootstrap address). */
  readonly nodeId?: number;
  readonly dialTimeoutMs: number;
  /** Requests have waited for a while and nothing at all came from the node: it may be stopped or cut off. */
  readonly onStalled?: () => void;
  /** A connection that had been open has ended. */
  readonly onLost?: () => void;
}

/** Errors of a dial that another attempt will not change. */
const FINAL: ReadonlySet<string> = new Set(['WRONG_CLUSTER', 'UNSUPPORTED_VERSION']);

/** How long a node may say nothing, while requests wait, before somebody else is asked who leads. */
const STALL_MS = 1000;

export class NodeLink {
  readonly #options: NodeLinkOptions;
  readonly #abort = new AbortController();
  #connection: Connection | undefined;
  #dialing = false;
  #waiting: LinkUser[] = [];
  #watch: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: NodeLinkOptions) {
    this.#options = options;
  }

  get address(): string {
    return `${this.#options.host}:${this.#options.port}`;
  }

  isAt({ host, port }: BrokerAddress): boolean {
    return this.#options.host === host && this.#options.port === port;
  }

  /** Calls back with an open connection: at once if there is one and nobody waits, else after dialling. */
  use(user: LinkUser): void {
    if (this.#closed) {
      user(new VarveError('CONNECTION_LOST', `the link to ${this.address} was closed`), undefined);
    } else if (this.#waiting.length === 0 && this.#connection?.isOpen) {
      user(undefined, this.#connection);
    } else {
      this.#waiting.push(user);
      if (!this.#dialing) void this.#dial();
    }
  }

  request(type: number, header: readonly unknown[], timeoutMs: number): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.use((error, connection) => {
        if (connection === undefined) reject(error);
        else connection.request(type, header, undefined, { timeoutMs }).then(resolve, reject);
      });
    });
  }

  /** Ends the present connection: what is in flight on it fails, later users dial anew. */
  reset(reason: VarveError): void {
    this.#connection?.destroy(reason);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    this.#connection?.close();
  }

  async #dial(): Promise<void> {
    const { host, port, handshake, nodeId, dialTimeoutMs } = this.#options;
    this.#dialing = true;
    let failure: VarveError | undefined;
    try {
      const { connection } = await dial({
        host,
        port,
        handshake,
        timeoutMs: dialTimeoutMs,
        signal: this.#abort.signal,
        ...(nodeId === undefined ? {} : { expectNodeId: nodeId }),
      });
      this.#adopt(connection);
    } catch (error) {
      failure = dialFailure(error);
    }
    this.#dialing = false;
    for (const user of this.#waiting.splice(0)) user(failure, failure === undefined ? this.#connection : undefined);
  }

  #adopt(connection: Connection): void {
    this.#connection = connection;
    connection.onClose = () => {
      if (this.#connection === connection) this.#connection = undefined;
      clearInterval(this.#watch);
      if (!this.#closed) this.#options.onLost?.();
    };
    let bytesIn = connection.bytesIn;
    clearInterval(this.#watch);
    this.#watch = setInterval(() => {
      const stalled = connection.inFlight > 0 && connection.bytesIn === bytesIn;
      bytesIn = connection.bytesIn;
      if (stalled) this.#options.onStalled?.();
    }, STALL_MS).unref();
  }
}

function dialFailure(error: unknown): VarveError {
  if (!(error instanceof VarveError)) throw error;
  if (FINAL.has(error.code) || error.code === 'CONNECTION_LOST') return error;
  return new VarveError('CONNECTION_LOST', error.message, { cause: error });
}
