/**
 * What a cell of acks × flush permits to be lost under the faults of a history (docs/HISTORY.md, "What a setting permits";
 * docs/DURABILITY.md is the contract). Asked once everything is known.
 */
import type { PermitReason } from './anomaly.js';
import type { Fault } from './operation.js';
import { majorityOf, type ResolvedSettings } from './settings.js';

/** A record that is gone, and the promise that was given for it. */
export interface Promised {
  readonly acks: number;
  /** When the send was called. */
  readonly begin: number;
  /** The earliest moment at which it was known to be stored: acknowledged, or given to a reader. */
  readonly time: number;
  /** Of the answer; −1: not known. */
  readonly epoch: number;
  /** The node that answered; undefined: not known. */
  readonly node: string | undefined;
  /** Where it was; −1: not known. */
  readonly offset: number;
}

/** `acks: 'all'` as a number. */
export const ACKS_ALL = 2;

export class PermittedLoss {
  readonly #faults: Fault[] = [];
  /** The highest leader epoch that anybody named, by partition. */
  readonly #epochs = new Map<string, number>();

  addFault(fault: Fault): void {
    this.#faults.push(fault);
  }

  addEpoch(partition: string, epoch: number): void {
    if (epoch > (this.#epochs.get(partition) ?? -1)) this.#epochs.set(partition, epoch);
  }

  get faults(): readonly Fault[] {
    return this.#faults;
  }

  reason(partition: string, settings: ResolvedSettings, promised: Promised): PermitReason | undefined {
    const { acks } = promised;
    if (acks === 0) return 'acks-0';
    const leaderOnly = acks === 1 && settings.replicas?.length !== 1;
    if (leaderOnly && this.#isLeaderReplaced(partition, promised)) return 'leader-replaced';
    for (const fault of this.#faults) {
      // What was begun when the fault was over is not its victim.
      if (promised.begin > fault.time) continue;
      const reason = permits(fault, partition, settings, promised, leaderOnly);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  /**
   * A reason why the log may end at `offset` though more had been committed: a fault that was begun before a question was.
   * Bounds are not looked at: what is missing need not be known.
   */
  reasonForLowerEnd(
    partition: string,
    settings: ResolvedSettings,
    offset: number,
    before: number,
  ): PermitReason | undefined {
    for (const fault of this.#faults) {
      const began = fault.begin ?? fault.time;
      if (began > before) continue;
      // A record that was there when the fault began, and was committed that moment.
      const promised = { acks: ACKS_ALL, begin: began, time: fault.time, epoch: -1, node: undefined, offset };
      const reason = permits(fault, partition, settings, promised, false);
      if (reason !== undefined) return reason;
    }
    return undefined;
  }

  #isLeaderReplaced(partition: string, { begin, epoch }: Promised): boolean {
    if (epoch >= 0) return (this.#epochs.get(partition) ?? -1) > epoch;
    return this.#faults.some((fault) => fault.time >= begin);
  }
}

function permits(
  fault: Fault,
  partition: string,
  settings: ResolvedSettings,
  { time, offset, node }: Promised,
  leaderOnly: boolean,
): PermitReason | undefined {
  switch (fault.fault) {
    case 'unclean-recovery':
      return String(fault.partition) === partition && (offset < 0 || offset >= fault.offset!)
        ? 'unclean-recovery'
        : undefined;
    case 'disk-lost':
      return isStruck(fault, settings, leaderOnly, node) ? 'disks-lost' : undefined;
    case 'power-cut': {
      if (settings.flush === 'sync' || !isStruck(fault, settings, leaderOnly, node)) return undefined;
      const unsyncedFrom =
        settings.flush === 'none' ? Number.NEGATIVE_INFINITY : (fault.begin ?? fault.time) - settings.flushMs;
      return time >= unsyncedFrom ? 'power-cut' : undefined;
    }
    default:
      return undefined;
  }
}

/** Did it strike those that the promise relied on? Where that is not known, yes: a doubt is no anomaly. */
function isStruck(
  { nodes = [] }: Fault,
  { replicas }: ResolvedSettings,
  leaderOnly: boolean,
  node: string | undefined,
): boolean {
  const struck = new Set(nodes.map(String));
  if (leaderOnly) return node === undefined || struck.has(node);
  if (replicas === undefined) return true;
  return replicas.filter((replica) => struck.has(replica)).length >= majorityOf(replicas.length);
}
