/**
 * Compares the list of topics with what the data directory holds. A node that was started without a topic it stores, or
 * with fewer partitions of it, would serve less than it has and say nothing: so it is refused, and before the store is
 * opened, because opening one that crashed recovers it.
 */
import { VarveError } from '../errors.js';
import type { NodeStorage } from './node-ground.js';
import type { ResolvedNodeOptions, ResolvedTopic } from './node-options.js';

/** @throws VarveError INVALID_CONFIG */
export async function checkStoredPartitions(options: ResolvedNodeOptions, storage: NodeStorage): Promise<void> {
  const { dataDirectory, clusterId, nodeId, topics } = options;
  const owner = await storage.readOwner(dataDirectory);
  // Missing or somebody else's: opening it says so, and what to do.
  if (owner?.clusterId !== clusterId || owner.nodeId !== nodeId) return;
  const stored = new Map<string, number>();
  for (const { topic, partition } of await storage.listPartitions(dataDirectory)) {
    stored.set(topic, Math.max(stored.get(topic) ?? 0, partition + 1));
  }
  const lacking = [...stored].flatMap(([name, partitions]) => whatLacks(name, partitions, topics));
  if (lacking.length === 0) return;
  throw new VarveError(
    'INVALID_CONFIG',
    `${dataDirectory} holds more than the list of topics names: ${lacking.join('; ')}. Topics and partitions are never removed: name them all, on every node`,
  );
}

function whatLacks(name: string, stored: number, topics: readonly ResolvedTopic[]): string[] {
  const topic = topics.find((known) => known.name === name);
  const held = `${stored} ${stored === 1 ? 'partition' : 'partitions'}`;
  if (topic === undefined) return [`topic ${name} with ${held} is not in the list`];
  if (topic.partitions >= stored) return [];
  return [`topic ${name} has ${held} there, the list says ${topic.partitions}`];
}
