import { type Environment, systemEnvironment } from '../src/environment.js';

/** The process with another wall clock: milliseconds since 1970. */
export function wallClock(now: () => number): Environment {
  return { ...systemEnvironment, now };
}
