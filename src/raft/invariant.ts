/**
 * Assertions of the Raft core. They stay on in production: a node whose state contradicts itself must stop, because going
 * on can lose committed records. The driver turns a `RaftInvariantError` into a stop of the node.
 */
export class RaftInvariantError extends Error {
  override readonly name = 'RaftInvariantError';
}

export function invariant(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new RaftInvariantError(message());
}
