/** Loops for a given time and counts. */

/** Calls `work` one after the other for about `seconds`. @returns calls per second */
export async function inTurn(seconds: number, work: () => Promise<unknown> | unknown): Promise<number> {
  const began = performance.now();
  const end = began + seconds * 1000;
  let count = 0;
  let now = began;
  do {
    await work();
    count++;
    now = performance.now();
  } while (now < end);
  return (count * 1000) / (now - began);
}

/** Keeps `outstanding` calls under way for about `seconds`. @returns calls per second, those under way at the end included */
export async function outstanding(seconds: number, callers: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  const end = began + seconds * 1000;
  let count = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < end) {
      await work();
      count++;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (count * 1000) / (performance.now() - began);
}

/** Calls `work`, which does `units` of something without waiting, for about `seconds`. @returns nanoseconds per unit */
export function nanosecondsPer(seconds: number, units: number, work: () => void): number {
  const began = performance.now();
  const end = began + seconds * 1000;
  let calls = 0;
  let now = began;
  do {
    work();
    calls++;
    now = performance.now();
  } while (now < end);
  return ((now - began) * 1e6) / (calls * units);
}
