/**
 * Bugs planted in the Raft core, one at a time, for its own random simulation to find (scripts/mutants.mjs runs them): the
 * reference model, the referee or one of the core's assertions stops the run. Most are of the kind that shows only in a
 * corner, and more than half pass the ordinary tests of test/raft.
 */

/** Random clusters of cores. */
const simulation = (countBy = 'durable', seeds = 150) => ({
  files: ['test/raft/simulation.test.ts'],
  test: countBy,
  env: { RAFT_SEEDS: String(seeds) },
});

/** As storeMutants. @type {readonly { name: string, says: string, file: string, changes: readonly [string, string][], killer: { files: string[], test?: string, env?: object } }[]} */
export const raftMutants = [
  {
    name: 'written-acknowledged-as-durable',
    says: 'a follower says durable of what is only written',
    file: 'src/raft/following.ts',
    changes: [['durable: Math.min(durable, this.verified),', 'durable: Math.min(written, this.verified),']],
    killer: simulation(),
  },
  {
    name: 'configuration-counted-in-memory',
    says: 'under a relaxed flush mode a configuration is committed by what memory holds',
    file: 'src/raft/replication.ts',
    changes: [["if (this.#options.countBy === 'written') {", 'if (term < 0) {']],
    killer: simulation('written'),
  },
  {
    name: 'vote-for-a-longer-log',
    says: 'voters take a longer log of an older epoch for as good as theirs',
    file: 'src/raft/election.ts',
    changes: [
      [
        'return request.lastEpoch > log.lastEpoch;',
        'return request.lastEpoch > log.lastEpoch || request.end > log.end;',
      ],
    ],
    killer: simulation(),
  },
  {
    name: 'vote-released-with-its-term',
    says: 'a vote leaves when its term is durable, and not the vote',
    file: 'src/raft/outbox.ts',
    changes: [['same(issued.state, state)', 'issued.state.term === state.term']],
    killer: simulation(),
  },
  {
    name: 'election-by-the-new-voters',
    says: 'in the joint phase a candidate needs a majority of the new voters only',
    file: 'src/raft/quorum.ts',
    changes: [['this.#sets = votingSets(configuration);', 'this.#sets = votingSets(configuration).slice(0, 1);']],
    killer: simulation(),
  },
  {
    name: 'read-joins-the-round-under-way',
    says: 'a read is answered by a round of heartbeats that left before it was asked for',
    file: 'src/raft/read-index.ts',
    changes: [['this.#queued.push(id);', '(this.#asked.length > 0 ? this.#asked : this.#queued).push(id);']],
    killer: simulation(),
  },
  {
    name: 'first-commit-of-any-epoch',
    says: 'the first commit of a log may be of an older epoch',
    file: 'src/raft/replication.ts',
    changes: [['log.epochAt(end - 1) === term ? end', 'log.epochAt(end - 1) === term || highWatermark === 0 ? end']],
    killer: simulation(),
  },
  {
    name: 'commit-by-the-sets-it-is-in',
    says: 'in the joint phase a leader that is in one set of voters counts that one only',
    file: 'src/raft/replication.ts',
    changes: [
      [
        'this.#sets = votingSets(configurations.current).map((voters) =>',
        'this.#sets = votingSets(configurations.current).filter((set, i) => i === 0 || set.some((voter) => sameMember(voter, self))).map((voters) =>',
      ],
    ],
    killer: simulation(),
  },
  {
    name: 'refusal-before-its-term',
    says: 'a vote is refused in a term that is not durable yet',
    file: 'src/raft/outbox.ts',
    changes: [
      [
        'if (this.settled) {',
        "if (this.settled || (this.#held.length === 0 && message.type === 'vote-reply' && !message.granted)) {",
      ],
    ],
    killer: simulation(),
  },
  {
    name: 'forgetful-flag-lost-at-a-restart',
    says: 'a forgetful replica is an ordinary one after its next start',
    file: 'src/raft/raft.ts',
    changes: [
      [
        'this.#outbox = new Outbox(options.hardState);',
        'this.#outbox = new Outbox({ term: options.hardState.term, vote: options.hardState.vote });',
      ],
    ],
    killer: simulation('written'),
  },
  {
    name: 'forgetful-acknowledgements-counted',
    says: 'what a forgetful replica acknowledges counts for commits',
    file: 'src/raft/progress.ts',
    changes: [['return this.forgetful ? 0 : this.match;', 'return this.match;']],
    killer: simulation('written'),
  },
  {
    name: 'recovered-by-an-old-report',
    says: 'a log end that was reported to a former incarnation ends the abstention of this one',
    file: 'src/raft/abstention.ts',
    changes: [
      [
        'if (recovery?.incarnation !== this.#parts.self.incarnation || this.#recoverTo >= 0) return;',
        'if (recovery === undefined || this.#recoverTo >= 0) return;',
      ],
    ],
    killer: simulation('written'),
  },
  {
    name: 'recovered-by-a-report-of-an-older-term',
    says: 'a log end that the leader of an older term reported is still good in the next',
    file: 'src/raft/abstention.ts',
    changes: [['newTerm(): void {\n    this.#recoverTo = -1;', 'newTerm(): void {']],
    killer: simulation('written'),
  },
  {
    name: 'forgetful-vote-for-any-former-leader',
    says: 'a forgetful replica votes for a candidate that led anything, before what it forgot too',
    file: 'src/raft/abstention.ts',
    changes: [['(request.led > 0 && request.led >= forgot)', 'request.led > 0']],
    killer: simulation('written'),
  },
];
