/**
 * How a new cluster agrees on who its first voters are: node ids come from the list of peers, directory ids from the
 * directories as they were formatted. Once agreed, it is kept in founding.json, and is the configuration of every partition
 * whose log holds none yet.
 *
 *   founding.json   {"members":[[1,"32 hex digits"],…],"crc32c":123}; written once, durably, before anybody votes
 *
 * One node decides, the one with the lowest id: when every peer has told it over a present connection that it knows of no
 * founding, it writes down the directories it is connected to. All others take over what they are told, from anybody. So a
 * directory that was emptied finds out that the cluster was founded without it, and is a stranger: it never votes, and
 * comes in as a learner of another name. The first start of a cluster therefore needs all its nodes, once.
 *
 * What can go wrong: were two directories emptied while the first decision was still on its way, there could be two of
 * them; but no majority is left then that could act on the first one.
 */
import { crc32c } from '../disk/addon.js';
import { VarveError } from '../errors.js';
import { sameMember } from '../raft/membership.js';
import type { Configuration, Member, NodeId, Sender } from '../raft/types.js';

export const FOUNDING_FILE = 'founding.json';

export interface FoundingOptions {
  readonly self: Member;
  /** All nodes of the list of peers, this one included. */
  readonly nodeIds: readonly NodeId[];
  /** As found in the data directory; undefined: none. */
  readonly members: readonly Member[] | undefined;
  /** Keeps it, durably. */
  readonly save: (bytes: Buffer) => Promise<void>;
  /** It is decided and kept. */
  readonly onFounded: (members: readonly Member[]) => void;
  readonly onError: (error: unknown) => void;
}

export class Founding {
  readonly #options: FoundingOptions;
  #members: readonly Member[] | undefined;
  #saving = false;
  /** Peers that know of none, as they said over the connection that is up. */
  readonly #without = new Map<NodeId, Member>();

  constructor(options: FoundingOptions) {
    this.#options = options;
    this.#members = options.members;
  }

  /** Undefined: not decided yet, as far as is known here. */
  get members(): readonly Member[] | undefined {
    return this.#members;
  }

  get configuration(): Configuration {
    return { voters: this.#members ?? [], outgoing: [], learners: [] };
  }

  /** This directory is none of those that founded the cluster, but its node is. */
  get isStranger(): boolean {
    const { self } = this.#options;
    const same = this.#members?.find(({ id }) => id === self.id);
    return same !== undefined && !sameMember(same, self);
  }

  /** A cluster of one has nobody to ask. */
  start(): void {
    this.#decide();
  }

  /** What a peer says when a connection is up, and again when it learns more. Empty: it knows of none. */
  peerSaid({ id, directory }: Sender, members: readonly Member[]): void {
    if (this.#members !== undefined || this.#saving) return;
    if (members.length > 0) {
      this.#take(members);
    } else {
      this.#without.set(id, { id, directory });
      this.#decide();
    }
  }

  /** What it said counts no more. */
  peerLost(id: NodeId): void {
    this.#without.delete(id);
  }

  #decide(): void {
    const { self, nodeIds } = this.#options;
    if (this.#members !== undefined || this.#saving || self.id !== Math.min(...nodeIds)) return;
    const members = nodeIds.map((id) => (id === self.id ? self : this.#without.get(id)));
    if (members.every((member) => member !== undefined)) this.#take(members);
  }

  #take(members: readonly Member[]): void {
    this.#saving = true;
    const founders = members.map(({ id, directory }): Member => ({ id, directory }));
    this.#options.save(encodeFounding(founders)).then(() => {
      this.#members = founders;
      this.#saving = false;
      this.#options.onFounded(founders);
    }, this.#options.onError);
  }
}

export function encodeFounding(founders: readonly Member[]): Buffer {
  const members = founders.map(({ id, directory }) => [id, directory]);
  return Buffer.from(`${JSON.stringify({ members, crc32c: checksum(members) })}\n`);
}

/** @param path for messages; @throws VarveError DIRECTORY_MISMATCH */
export function decodeFounding(bytes: Buffer, path: string): readonly Member[] {
  try {
    const { members, crc32c: expected } = JSON.parse(bytes.toString('utf8')) as { members: unknown; crc32c: unknown };
    if (checksum(members) === expected) return unpackMembers(members);
  } catch {
    // Said below.
  }
  throw new VarveError(
    'DIRECTORY_MISMATCH',
    `${path} is damaged: delete it, and this node asks its peers again who founded the cluster`,
  );
}

/** @throws VarveError PROTOCOL_ERROR */
export function unpackMembers(packed: unknown): Member[] {
  if (!Array.isArray(packed)) throw new VarveError('PROTOCOL_ERROR', 'a list of members is not an array');
  return packed.map((entry) => {
    const [id, directory] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (!Number.isSafeInteger(id) || (id as number) < 1 || typeof directory !== 'string' || directory === '') {
      throw new VarveError('PROTOCOL_ERROR', 'a member is not a node id and a directory id');
    }
    return { id: id as number, directory };
  });
}

export function packMembers(members: readonly Member[]): [id: number, directory: string][] {
  return members.map(({ id, directory }) => [id, directory]);
}

function checksum(members: unknown): number {
  const bytes = Buffer.from(JSON.stringify(members));
  return crc32c(bytes, 0, bytes.length);
}
