/**
 * Which segments hold memory at present (a mapping, loaded indexes), over all logs of a store, and which of them gives it
 * up when there are too many: one that was not used for a while and has no unsynced bytes. It is mapped again at its next
 * use. Views that are held keep their own mapping.
 *
 * The choice is second chance (an approximation of least recently used) because uses are frequent: noting one sets a
 * flag. When everything must stay (unsynced bytes everywhere) there are more than the limit until a checkpoint
 * has synced them.
 */

/** A segment, as this list knows it. */
export interface Evictable {
  /** Set at every use. */
  recentlyUsed: boolean;
  /** Drops what the engine holds. False: it has to stay. */
  evict(): boolean;
}

/** Looked at per new mapping: enough to find one to evict, and little when all have to stay. */
const STEPS_PER_ADDITION = 64;

export class MappedSegments {
  readonly max: number;
  /** From the one that is asked next to the one that is asked last. */
  readonly #held = new Set<Evictable>();
  readonly #paths = new Set<string>();
  #mappings = 0;
  #evictions = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Segments that hold memory. */
  get count(): number {
    return this.#held.size;
  }

  /** How often a segment was mapped since the store was opened. */
  get mappings(): number {
    return this.#mappings;
  }

  get evictions(): number {
    return this.#evictions;
  }

  add(segment: Evictable): void {
    this.#held.delete(segment);
    this.#evictDownTo(this.max - 1, STEPS_PER_ADDITION);
    segment.recentlyUsed = true;
    this.#held.add(segment);
  }

  remove(segment: Evictable): void {
    this.#held.delete(segment);
  }

  /** A file of this name was mapped, and views of it may be held: it is not shortened any more. */
  noteMapped(path: string): void {
    this.#mappings++;
    this.#paths.add(path);
  }

  wasMapped(path: string): boolean {
    return this.#paths.has(path);
  }

  /** The file is gone. */
  forget(path: string): void {
    this.#paths.delete(path);
  }

  /** After a checkpoint: what had to stay may go now. */
  trim(): void {
    // Each may have to be asked twice: the first time takes its second chance.
    if (this.#held.size > this.max) this.#evictDownTo(this.max, 2 * this.#held.size);
  }

  #evictDownTo(target: number, steps: number): void {
    while (this.#held.size > target && steps-- > 0) {
      const segment = this.#held.values().next().value!;
      this.#held.delete(segment);
      if (!segment.recentlyUsed && segment.evict()) {
        this.#evictions++;
        continue;
      }
      segment.recentlyUsed = false;
      this.#held.add(segment);
    }
  }
}
