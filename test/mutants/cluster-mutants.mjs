/**
 * Bugs planted in replication, one at a time, which the simulation of whole clusters must find (scripts/mutants.mjs runs
 * them). The table has the form of store-mutants.mjs.
 */
const simulation = {
  files: ['test/sim/cluster.test.ts'],
  test: 'clusters under faults',
  env: { SIM_SEEDS: '20' },
};

export const clusterMutants = [
  {
    name: 'leader-alone',
    says: 'one node is a majority',
    file: 'src/raft/quorum.ts',
    changes: [['return Math.floor(voters / 2) + 1;', 'return Math.min(voters, 1);']],
    killer: simulation,
  },
  {
    name: 'two-votes-in-one-term',
    says: 'a voter that hears no leader votes again in a term in which it has voted',
    file: 'src/raft/voter.ts',
    changes: [['if (this.#outbox.vote === 0) return !hasLeader;', 'if (!hasLeader) return true;']],
    killer: simulation,
  },
  {
    name: 'hard-state-not-awaited',
    says: 'messages leave before the term and vote they stand for are on disk',
    file: 'src/raft/outbox.ts',
    changes: [
      [
        "if (this.settled) {\n      invariant(this.#held.length === 0, () => 'a message would overtake others that wait for a durable hard state');",
        'if (this.#held.length === 0) {',
      ],
    ],
    killer: simulation,
  },
  {
    name: 'old-epoch-committed',
    says: 'a leader commits batches of older epochs by counting replicas',
    file: 'src/raft/replication.ts',
    changes: [['return log.epochAt(end - 1) === term ? end : highWatermark;', 'return end;']],
    killer: simulation,
  },
  {
    name: 'written-counts',
    says: 'under flush sync a replica counts by what is in its page cache',
    file: 'src/cluster/raft-ground.ts',
    changes: [["countBy: log.options.flush === 'sync' ? 'durable' : 'written',", "countBy: 'written',"]],
    killer: simulation,
  },
  {
    name: 'unverified-acknowledged',
    says: 'a follower acknowledges what may be another history',
    file: 'src/raft/following.ts',
    changes: [
      ['return Math.min(this.#cursors.counted, this.verified);', 'return this.#cursors.counted;'],
      ['written: Math.min(written, this.verified),', 'written,'],
      ['durable: Math.min(durable, this.verified),', 'durable,'],
    ],
    killer: simulation,
  },
  {
    name: 'acks-all-by-the-leader',
    says: 'acks all is answered when the leader has it on disk',
    file: 'src/cluster/waiting-produces.ts',
    changes: [['(acks === 1 ? this.#forLeader : this.#forAll).push', 'this.#forLeader.push']],
    killer: simulation,
  },
  {
    name: 'duplicate-answered-at-once',
    says: 'a batch that was sent again is answered before its original is committed',
    file: 'src/cluster/waiting-produces.ts',
    changes: [['(duplicate && end <= (acks === 1 ? this.#storedEnd : highWatermark))', 'duplicate']],
    killer: simulation,
  },
  {
    name: 'dedupe-lost-on-failover',
    says: 'followers do not keep the state of producers in even epochs, so the next leader lacks it',
    file: 'src/log/log-appender.ts',
    changes: [
      [
        'if (hasProducerAt(bytes, pos)) this.#producers.apply(bytes, pos);',
        'if (hasProducerAt(bytes, pos) && epochAt(bytes, pos) % 2 === 1) this.#producers.apply(bytes, pos);',
      ],
    ],
    killer: simulation,
  },
  {
    name: 'uncommitted-read',
    says: 'consumers are given what lies above the high watermark',
    file: 'src/cluster/client-session.ts',
    changes: [['log.viewsFrom(offset, maxBytes);', "log.viewsFrom(offset, maxBytes, 'end');"]],
    killer: simulation,
  },
];
