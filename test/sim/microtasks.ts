/**
 * How a simulation is driven: events run one after the other in slices, and after each of them all promise callbacks that
 * are due, at once, so that no event begins while the one before is half done.
 *
 * The event loop of the process is left out between two events (a turn of it costs as much as an event does); it gets its
 * turn between slices. What a simulated process waits for must therefore be events of the simulation: a promise that the
 * real event loop settles makes a run depend on the machine.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--allow-natives-syntax');

/** V8's own: runs promise callbacks until there are none. Does nothing inside of one. */
const runMicrotasks = new Function('%PerformMicrotaskCheckpoint()') as () => void;

const EVENTS_PER_SLICE = 1000;

/**
 * Calls `step` until it returns false, with the promise callbacks of each call run before the next.
 * @throws what `step` throws
 */
export function runToEnd(step: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const slice = (): void => {
      try {
        for (let count = 0; count < EVENTS_PER_SLICE; count++) {
          if (!step()) {
            resolve();
            return;
          }
          runMicrotasks();
        }
      } catch (error) {
        reject(error);
        return;
      }
      setImmediate(slice);
    };
    setImmediate(slice);
  });
}
