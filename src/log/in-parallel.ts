/** Work on many files of which each waits for the disk: a few at a time, since parallel syncs help and memory is bounded. */

/** Syncs of this many files at once cost a few times that of one; more gain little. */
export const PARALLEL_FILES = 8;

/**
 * Runs `work` on each item, at most `limit` at a time, in order of their beginnings. After a failure nothing new is begun;
 * what is under way is waited for, so that nothing goes on behind the caller's back.
 * @throws the first failure
 */
export async function inParallel<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); failure === undefined && !next.done; next = rest.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  if (failure !== undefined) throw failure.error;
}
