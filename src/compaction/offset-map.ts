/**
 * The latest offset of every key in a stretch of a log, in bounded memory: what compaction decides by.
 *
 * Keys are known by 128 bits of a salted SHA-256, so that nobody can make two keys collide: a collision would remove a
 * record that is the last of its key. A slot takes 24 bytes (hash 16, offset 8), open addressing, at most 3/4 full.
 *
 * Contract: `put` in rising offsets. Once the map is full it answers false, and the caller's pass ends before that record.
 */
import { createHash } from 'node:crypto';

export const SLOT_BYTES = 24;
export const SALT_BYTES = 16;
const HASH_WORDS = 4;
const MAX_LOAD = 0.75;
const MIN_SLOTS = 16;
const EMPTY = -1;
const ABSENT = -1;

export class OffsetMap {
  readonly #slots: number;
  readonly #hashes: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #salt: Buffer;
  /** Of the key asked for last. */
  readonly #hash = new Uint32Array(HASH_WORDS);
  readonly capacity: number;
  #size = 0;

  /**
   * @param maxBytes memory it may take
   * @param expectedKeys no more room is made than these need
   * @param salt SALT_BYTES that nobody can guess
   */
  constructor(maxBytes: number, expectedKeys: number, salt: Buffer) {
    this.#salt = salt;
    const affordable = Math.floor(maxBytes / SLOT_BYTES);
    this.#slots = Math.max(MIN_SLOTS, Math.min(affordable, Math.ceil(expectedKeys / MAX_LOAD) + 1));
    this.capacity = Math.floor(this.#slots * MAX_LOAD);
    this.#hashes = new Uint32Array(this.#slots * HASH_WORDS);
    this.#offsets = new Float64Array(this.#slots).fill(EMPTY);
  }

  /** Distinct keys so far. */
  get size(): number {
    return this.#size;
  }

  get memoryBytes(): number {
    return this.#slots * SLOT_BYTES;
  }

  /** The key's latest offset is this one. @returns false when the key is new and there is no room: nothing changed */
  put(key: Uint8Array, offset: number): boolean {
    const slot = this.#find(key);
    if (this.#offsets[slot] === EMPTY) {
      if (this.#size === this.capacity) return false;
      this.#hashes.set(this.#hash, slot * HASH_WORDS);
      this.#size++;
    }
    this.#offsets[slot] = offset;
    return true;
  }

  /** The key's latest offset; −1 when it was never put. */
  get(key: Uint8Array): number {
    const slot = this.#find(key);
    return this.#offsets[slot] === EMPTY ? ABSENT : this.#offsets[slot]!;
  }

  /** The slot of the key, or the free one where it belongs: there always is one, since the map never fills up. */
  #find(key: Uint8Array): number {
    const digest = createHash('sha256').update(this.#salt).update(key).digest();
    const hash = this.#hash;
    for (let word = 0; word < HASH_WORDS; word++) hash[word] = digest.readUInt32LE(4 * word);
    let slot = hash[0]! % this.#slots;
    while (this.#offsets[slot] !== EMPTY && !this.#holds(slot)) slot = slot + 1 === this.#slots ? 0 : slot + 1;
    return slot;
  }

  #holds(slot: number): boolean {
    const at = slot * HASH_WORDS;
    for (let word = 0; word < HASH_WORDS; word++) if (this.#hashes[at + word] !== this.#hash[word]) return false;
    return true;
  }
}
