/**
 * Which partition a record goes to: the one it names, else the hash of its key, else the partitions in turn.
 *
 * The hash is Kafka's murmur2 over the key's bytes, sign bit cleared, modulo the number of partitions, so that a key
 * lands where any Kafka client with the default partitioner would put it. Changing it would scatter the keys of every
 * topic that exists.
 */
const SEED = 0x9747b28c;
const M = 0x5bd1e995;
const R = 24;

/** Murmur2 as a signed 32-bit number, as org.apache.kafka.common.utils.Utils.murmur2 returns it. */
export function murmur2(bytes: Uint8Array, length = bytes.length): number {
  let h = SEED ^ length;
  const whole = length & ~3;
  let i = 0;
  for (; i < whole; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    k = Math.imul(k, M);
    k = Math.imul(k ^ (k >>> R), M);
    h = Math.imul(h, M) ^ k;
  }
  const rest = length - whole;
  if (rest > 0) {
    if (rest === 3) h ^= bytes[i + 2]! << 16;
    if (rest >= 2) h ^= bytes[i + 1]! << 8;
    h = Math.imul(h ^ bytes[i]!, M);
  }
  h = Math.imul(h ^ (h >>> 13), M);
  return h ^ (h >>> 15);
}

/** Longest key, in UTF-16 units, whose UTF-8 bytes surely fit into the scratch buffer. */
const SCRATCH_BYTES = 3 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

export function partitionOfKey(key: Uint8Array | string, partitions: number): number {
  let hash: number;
  if (typeof key !== 'string') hash = murmur2(key);
  else if (key.length * 3 <= SCRATCH_BYTES) hash = murmur2(scratch, scratch.write(key, 0));
  else hash = murmur2(Buffer.from(key));
  return (hash & 0x7fffffff) % partitions;
}
