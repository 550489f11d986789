/** The ListOffsets request: where a partition begins and ends, and which offset a time falls on. */
import { VarveError } from '../errors.js';
import { FrameType, type ListOffsetsHeader } from '../rpc/protocol.js';
import type { ClusterClient } from './cluster-client.js';

/** What stands in the place of a timestamp. */
export const LATEST = -1;
export const EARLIEST = -2;

export interface FoundOffset {
  /** −1: no record that young. */
  readonly offset: number;
  /** −1 for the start and the end. */
  readonly timestamp: number;
}

export async function listOffset(
  cluster: ClusterClient,
  topic: string,
  partition: number,
  timestamp: number,
): Promise<FoundOffset> {
  const request: ListOffsetsHeader = [topic, partition, timestamp];
  const { header } = await cluster.requestLeader(topic, partition, FrameType.ListOffsets, request);
  const [offset, found] = header;
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(found)) {
    throw new VarveError(
      'PROTOCOL_ERROR',
      `${topic}-${partition}: a reply to list-offsets names no offset and timestamp`,
    );
  }
  return { offset: offset as number, timestamp: found as number };
}
