/**
 * What `npm run spec` asks the model checker: claims that must hold in every state, and controls, which must be refuted
 * with a counterexample. A planted bug shows that the claim would notice; a refuted promise, that the contract does not
 * promise too little.
 */
const ALWAYS = ['timeout', 'vote', 'election', 'append', 'contact', 'replicate', 'truncation', 'commit', 'power-cut'];
const FORGETFUL = [...ALWAYS, 'forgetful-vote', 'clear'];

const claim = (name, says, flags, terms, entries, more = {}) => {
  const reaches = flags.includes('SYNC') ? ALWAYS : FORGETFUL;
  return { name, says, flags, terms, entries, refuted: false, big: false, reaches, ...more };
};
const control = (name, says, flags, terms, entries, more = {}) => {
  return { name, says, flags, terms, entries, refuted: true, big: false, reaches: [], ...more };
};
const big = { big: true };

/** @type {readonly { name: string, says: string, flags: string[], terms: number, entries: number, refuted: boolean, big: boolean, reaches: string[] }[]} */
export const runs = [
  claim('sync', 'acks all, flush sync', ['SYNC'], 2, 2),
  claim('sync-cursors', 'the same with accepted, written and durable kept apart', ['SYNC', 'CURSORS'], 2, 2),
  claim('async', 'acks all, flush async, replicas that forget', [], 2, 2),
  claim('async-cursors', 'the same with accepted, written and durable kept apart', ['CURSORS'], 2, 1),
  claim('async-late', 'the same, and appends arrive after their leader has stopped', ['LATE'], 2, 2),
  claim(
    'async-marks',
    'the same, and replicas mark themselves; the led term survives kill -9',
    ['MARK', 'LED_DURABLE'],
    2,
    2,
  ),
  claim('async-3-epochs', 'three epochs', [], 3, 1, { reaches: FORGETFUL }),
  claim('sync-big', 'acks all, flush sync', ['SYNC'], 3, 2, big),
  claim('async-big', 'acks all, flush async', [], 3, 2, big),
  claim('async-4-epochs', 'four epochs', [], 4, 1, big),
  claim('async-cursors-big', 'accepted, written and durable kept apart', ['CURSORS'], 2, 2, big),
  claim('async-3-entries', 'three entries', [], 2, 3, big),

  control('no-rule', 'a power cut under relaxed flush, and nobody is forgetful', ['BUG_NO_RULE'], 2, 2),
  control('flag-not-durable', 'the flag is gone after another restart', ['BUG_FLAG_NOT_DURABLE'], 2, 2),
  control('forgetful-acks', 'acknowledgements of forgetful replicas count', ['BUG_FORGETFUL_ACKS'], 3, 1),
  control('commit-clears', 'the commit index, not the log end, clears the flag', ['BUG_GOAL_COMMITTED'], 3, 1),
  control(
    'old-report-clears',
    'incarnations are ignored: a log end from before the restart clears',
    ['BUG_OLD_REPORT'],
    2,
    2,
  ),
  control(
    'any-former-leader',
    'a forgetful replica votes for a leader of any term',
    ['BUG_VOTE_ANY_FORMER_LEADER'],
    3,
    1,
  ),
  control('forgetful-compares', 'a forgetful replica votes by comparing logs', ['BUG_FORGETFUL_COMPARES'], 2, 2),
  control('figure-8', 'an older epoch is committed by count', ['SYNC', 'STEADY', 'BUG_OLDER_EPOCH'], 4, 1),
  control('written-counts', 'under flush sync, replicas count by what is written', ['SYNC', 'BUG_COUNT_WRITTEN'], 2, 2),
  control('no-comparison', 'votes without comparing logs', ['SYNC', 'BUG_NO_COMPARISON'], 2, 2),
  control('vote-twice', 'two votes in one term', ['SYNC', 'BUG_VOTE_TWICE'], 2, 2),

  control('acks-1-sync', 'acks 1, flush sync: it is lost if the leader is replaced', ['SYNC', 'ACKS_1'], 2, 2),
  control('acks-1-async', 'acks 1, flush async: the same, without a sync', ['ACKS_1'], 2, 2),
  control('async-all-cut', 'acks all, flush async: a power cut of a majority takes it from every log', ['HELD'], 2, 2),
];
