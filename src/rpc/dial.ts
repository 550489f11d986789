/**
 * Opens a connection: TCP connect and handshake under one deadline, the answer checked against what was expected.
 *
 * Errors: CONNECTION_LOST (nobody there, or it hung up), TIMEOUT, WRONG_CLUSTER, WRONG_NODE, UNSUPPORTED_VERSION,
 * PROTOCOL_ERROR (whoever listens there does not speak this protocol).
 */
import { systemEnvironment } from '../environment.js';
import { VarveError } from '../errors.js';
import { Connection, type ConnectionOptions } from './connection.js';
import { type Handshake, type Identity, packHandshake, unpackHandshakeReply } from './handshake.js';
import { FrameType, MAX_HANDSHAKE_BYTES } from './protocol.js';
import { tcpTransport, type Transport } from './transport.js';

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly handshake: Handshake;
  /** When given, another node there is refused: WRONG_NODE. */
  readonly expectNodeId?: number;
  /** For connecting and the handshake together. Default 5,000 ms. */
  readonly timeoutMs?: number;
  readonly connection?: ConnectionOptions;
  /** Default: TCP. */
  readonly transport?: Transport;
  /**
   * Called with the result before any frame that follows the handshake is delivered (it may have come in the same packet):
   * who expects frames that are no replies sets `onFrame` here.
   */
  readonly onOpen?: (dialled: Dialled) => void;
  /** Gives up: the promise rejects with CLOSED. */
  readonly signal?: AbortSignal;
}

export interface Dialled {
  readonly connection: Connection;
  readonly peer: Identity;
}

export function dial(options: DialOptions): Promise<Dialled> {
  const { host, port, handshake, expectNodeId, signal } = options;
  const timeoutMs = options.timeoutMs ?? 5000;
  const environment = options.connection?.environment ?? systemEnvironment;
  const address = `${host}:${port}`;
  return new Promise((resolve, reject) => {
    let connection: Connection | undefined;
    const socket = (options.transport ?? tcpTransport).connect(host, port);
    const fail = (error: VarveError): void => {
      environment.cancel(timer);
      signal?.removeEventListener('abort', onAbort);
      if (connection !== undefined) connection.destroy(error);
      else socket.destroy();
      reject(error);
    };
    const timer = environment.after(timeoutMs, () => {
      fail(new VarveError('TIMEOUT', `no connection to ${address} within ${timeoutMs} ms`));
    });
    const onAbort = (): void => fail(new VarveError('CLOSED', `connecting to ${address} was given up`));
    if (signal?.aborted) return onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });

    const onConnectError = (cause: Error): void =>
      fail(new VarveError('CONNECTION_LOST', `cannot connect to ${address}: ${cause.message}`, { cause }));
    socket.once('error', onConnectError);
    socket.once('connect', () => {
      const opened = new Connection(socket, options.connection, MAX_HANDSHAKE_BYTES);
      connection = opened;
      socket.off('error', onConnectError);
      opened.requestWith(FrameType.Handshake, packHandshake(handshake), undefined, 0, (error, header) => {
        if (error !== undefined) {
          // Before the handshake is through nothing can have happened; the cause says why it was refused.
          return fail(error.cause instanceof VarveError ? error.cause : error);
        }
        try {
          const peer = unpackHandshakeReply(header);
          checkPeer(address, peer, handshake.clusterId, expectNodeId);
          opened.handshaken();
          environment.cancel(timer);
          signal?.removeEventListener('abort', onAbort);
          options.onOpen?.({ connection: opened, peer });
          resolve({ connection: opened, peer });
        } catch (refusal) {
          fail(refusal as VarveError);
        }
      });
      opened.flush();
    });
  });
}

function checkPeer(address: string, peer: Identity, clusterId: string, nodeId: number | undefined): void {
  if (clusterId !== '' && peer.clusterId !== clusterId) {
    throw new VarveError(
      'WRONG_CLUSTER',
      `${address} belongs to cluster "${peer.clusterId}", not "${clusterId}". Check the address and the cluster id`,
    );
  }
  if (nodeId !== undefined && peer.nodeId !== nodeId) {
    throw new VarveError(
      'WRONG_NODE',
      `${address} is node ${peer.nodeId}, not node ${nodeId}. Check the list of peers`,
    );
  }
}
