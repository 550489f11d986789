/**
 * The first frame in each direction: who speaks, for which cluster, in which protocol version. Everything is checked on
 * both sides, and a refusal is an Error frame with a sentence, so that a wrong address in a configuration explains itself.
 */
import { VarveError } from '../errors.js';
import { unpackHeader } from './frame.js';
import { type HandshakeHeader, type HandshakeReplyHeader, PROTOCOL_VERSION } from './protocol.js';

export type Channel = 'control' | 'data' | 'client';

/** What either side says about itself. */
export interface Identity {
  /** Empty for a client that takes any cluster. */
  readonly clusterId: string;
  /** 0 for clients. */
  readonly nodeId: number;
  /** Hex; empty for clients. */
  readonly directoryId: string;
  /** New with every start of a process. */
  readonly incarnation: string;
}

export interface Handshake extends Identity {
  readonly kind: 'node' | 'client';
  readonly channel: Channel;
}

export function packHandshake(handshake: Handshake): HandshakeHeader {
  const { kind, clusterId, nodeId, directoryId, incarnation, channel } = handshake;
  return [PROTOCOL_VERSION, kind, clusterId, nodeId, directoryId, incarnation, channel];
}

export function packHandshakeReply(identity: Identity): HandshakeReplyHeader {
  return [PROTOCOL_VERSION, identity.clusterId, identity.nodeId, identity.directoryId, identity.incarnation];
}

/** @throws VarveError PROTOCOL_ERROR, UNSUPPORTED_VERSION */
export function unpackHandshake(bytes: Buffer): Handshake {
  const header = unpackHeader(bytes);
  checkVersion(header[0]);
  const [, kind, clusterId, nodeId, directoryId, incarnation, channel] = header;
  if (
    (kind !== 'node' && kind !== 'client') ||
    (channel !== 'control' && channel !== 'data' && channel !== 'client') ||
    (kind === 'client') !== (channel === 'client')
  ) {
    throw new VarveError('PROTOCOL_ERROR', 'a handshake names no known kind and channel');
  }
  if (kind === 'node' && (directoryId === '' || incarnation === '')) {
    throw new VarveError('PROTOCOL_ERROR', 'a node has no directory or no incarnation id in its handshake');
  }
  return { kind, channel, ...identity(clusterId, nodeId, directoryId, incarnation) };
}

/** @throws VarveError PROTOCOL_ERROR, UNSUPPORTED_VERSION */
export function unpackHandshakeReply(header: unknown[]): Identity {
  checkVersion(header[0]);
  return identity(header[1], header[2], header[3], header[4]);
}

function checkVersion(version: unknown): void {
  if (!Number.isInteger(version)) throw new VarveError('PROTOCOL_ERROR', 'a handshake names no protocol version');
  if (version !== PROTOCOL_VERSION) {
    throw new VarveError(
      'UNSUPPORTED_VERSION',
      `protocol version ${version} was offered; this side speaks version ${PROTOCOL_VERSION}. Upgrade the older side`,
    );
  }
}

function identity(clusterId: unknown, nodeId: unknown, directoryId: unknown, incarnation: unknown): Identity {
  if (
    typeof clusterId !== 'string' ||
    !Number.isSafeInteger(nodeId) ||
    (nodeId as number) < 0 ||
    typeof directoryId !== 'string' ||
    typeof incarnation !== 'string'
  ) {
    throw new VarveError('PROTOCOL_ERROR', 'a handshake lacks its cluster, node, directory or incarnation id');
  }
  return { clusterId, nodeId: nodeId as number, directoryId, incarnation };
}
