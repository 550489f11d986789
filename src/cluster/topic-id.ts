/**
 * Topic ids while topics are static: every node must come to the same id by itself, so it is a hash of the cluster id and
 * the topic's name, shaped like a version 8 UUID (RFC 9562 §5.8: custom). 32 hex digits without dashes.
 */
import { createHash } from 'node:crypto';

export function staticTopicId(clusterId: string, topic: string): string {
  const hash = createHash('sha256');
  // The length keeps (cluster "a", topic "bc") apart from (cluster "ab", topic "c").
  hash.update(`varve topic ${clusterId.length} ${clusterId} ${topic}`);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex');
}
