/**
 * A deleted segment keeps its space as long as a buffer over it exists, and an idle process may not collect garbage for
 * hours. On a full disk that is too long: here the collection is asked for. It stops the process for as long as one takes.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | undefined;

export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  collect();
}
