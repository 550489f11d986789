/** What a configuration says about a member. Pure functions. */
import type { Configuration, Member } from './types.js';

export const NOBODY: Configuration = { voters: [], outgoing: [], learners: [] };

export function sameMember(a: Member, b: Member): boolean {
  return a.id === b.id && a.directory === b.directory;
}

export function includes(members: readonly Member[], member: Member): boolean {
  return members.some((other) => sameMember(other, member));
}

export function isJoint({ outgoing }: Configuration): boolean {
  return outgoing.length > 0;
}

export function isVoter({ voters, outgoing }: Configuration, member: Member): boolean {
  return includes(voters, member) || includes(outgoing, member);
}

export function isMember(configuration: Configuration, member: Member): boolean {
  return isVoter(configuration, member) || includes(configuration.learners, member);
}

/** Voters first, then those on their way out, then learners; each once. */
export function membersOf({ voters, outgoing, learners }: Configuration): Member[] {
  const members = [...voters];
  for (const member of [...outgoing, ...learners]) if (!includes(members, member)) members.push(member);
  return members;
}

/** Its decisions need nobody else. */
export function isSoleVoter(configuration: Configuration, member: Member): boolean {
  const { voters } = configuration;
  return voters.length === 1 && includes(voters, member) && !isJoint(configuration);
}

export function sameMembers(a: readonly Member[], b: readonly Member[]): boolean {
  return a.length === b.length && a.every((member) => includes(b, member));
}

/** Why this cannot be the configuration of a group, or undefined. A sentence. */
export function impossible({ voters, outgoing, learners }: Configuration): string | undefined {
  for (const [name, members] of Object.entries({ voters, outgoing, learners })) {
    for (const [i, member] of members.entries()) {
      if (!Number.isSafeInteger(member.id) || member.id < 1) {
        return `${name}: node ids are whole numbers from 1 on, not ${member.id}`;
      }
      if (member.directory === '') return `${name}: node ${member.id} has no directory id`;
      if (members.findIndex(({ id }) => id === member.id) !== i) {
        return `${name}: node ${member.id} appears twice; one node has one directory`;
      }
    }
  }
  const both = learners.find((member) => includes(voters, member));
  return both && `node ${both.id} can't be a voter and a learner`;
}

export function describeMembers(members: readonly Member[]): string {
  return members.map(({ id, directory }) => `${id} (${directory})`).join(', ') || 'nobody';
}
