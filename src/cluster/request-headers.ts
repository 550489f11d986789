/**
 * The headers of clients' requests, checked field by field: what comes from a socket is nobody's type until then.
 * A header of the wrong shape is PROTOCOL_ERROR, which closes the connection; a value that cannot be right but might be
 * meant (a negative offset, say) is INVALID_ARGUMENT for that request alone.
 */
import { VarveError } from '../errors.js';
import { unpackHeader } from '../rpc/frame.js';
import type {
  DeleteRecordsHeader,
  FetchHeader,
  ListOffsetsHeader,
  MetadataHeader,
  ProduceHeader,
} from '../rpc/protocol.js';

const MAX_PARTS = 4096;

export function produceHeader(bytes: Buffer): ProduceHeader {
  const header = unpackHeader(bytes);
  const [acks, timeoutMs, parts] = header;
  if ((acks !== 0 && acks !== 1 && acks !== -1) || !isCount(timeoutMs) || !Array.isArray(parts)) {
    throw wrongShape('produce');
  }
  if (parts.length === 0 || parts.length > MAX_PARTS) throw wrongShape('produce');
  for (const part of parts as unknown[]) {
    if (!Array.isArray(part)) throw wrongShape('produce');
    const [topic, partition, byteLength] = part as unknown[];
    if (typeof topic !== 'string' || !isCount(partition) || !isCount(byteLength)) throw wrongShape('produce');
  }
  return header as ProduceHeader;
}

export function fetchHeader(bytes: Buffer): FetchHeader {
  const header = unpackHeader(bytes);
  const [topic, partition, offset, maxBytes, minBytes, maxWaitMs] = header;
  if (typeof topic !== 'string' || !isCount(partition) || !isCount(maxBytes) || !isCount(minBytes)) {
    throw wrongShape('fetch');
  }
  if (!Number.isSafeInteger(offset) || !isCount(maxWaitMs)) throw wrongShape('fetch');
  return header as FetchHeader;
}

export function metadataHeader(bytes: Buffer): MetadataHeader {
  const header = unpackHeader(bytes);
  const [topics] = header;
  const isList = Array.isArray(topics) && topics.every((topic) => typeof topic === 'string');
  if (topics !== null && !isList) throw wrongShape('metadata');
  return header as MetadataHeader;
}

export function listOffsetsHeader(bytes: Buffer): ListOffsetsHeader {
  const header = unpackHeader(bytes);
  const [topic, partition, timestamp] = header;
  if (typeof topic !== 'string' || !isCount(partition) || !Number.isSafeInteger(timestamp)) {
    throw wrongShape('list-offsets');
  }
  return header as ListOffsetsHeader;
}

export function deleteRecordsHeader(bytes: Buffer): DeleteRecordsHeader {
  const header = unpackHeader(bytes);
  const [topic, partition, beforeOffset] = header;
  if (typeof topic !== 'string' || !isCount(partition) || !Number.isSafeInteger(beforeOffset)) {
    throw wrongShape('delete-records');
  }
  return header as DeleteRecordsHeader;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function wrongShape(what: string): VarveError {
  return new VarveError('PROTOCOL_ERROR', `the header of a ${what} request has the wrong shape`);
}
