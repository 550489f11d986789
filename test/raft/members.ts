/** Names for tests: node 2 has directory d2, and its first process is i2.1. */
import type { Configuration, Member, Sender } from '../../src/raft/types.js';

export function member(id: number): Member {
  return { id, directory: `d${id}` };
}

export function sender(id: number, start = 1): Sender {
  return { ...member(id), incarnation: `i${id}.${start}` };
}

export function votersOf(...ids: number[]): Configuration {
  return { voters: ids.map(member), outgoing: [], learners: [] };
}

/** "1 2d2x+3": voters, directories where they are not the usual ones, learners behind a plus. Joint: "1 2 > 1 3". */
export function describeConfiguration({ voters, outgoing, learners }: Configuration): string {
  const names = (members: readonly Member[]): string =>
    members.map(({ id, directory }) => (directory === `d${id}` ? `${id}` : `${id}${directory}`)).join(' ');
  const from = outgoing.length > 0 ? `${names(outgoing)} > ` : '';
  return `${from}${names(voters)}${learners.length > 0 ? ` + ${names(learners)}` : ''}`;
}
