/** How transactions ended, as far as their clients know, and as far as readers saw. */
import { FAILED, type HistoryState, OK } from './history-state.js';
import type { EndTransaction } from './operation.js';

export type TransactionEnd = 'committed' | 'aborted' | 'open';

interface Known {
  commitOk: boolean;
  /** A commit that may have had an effect was called then; Infinity: none was. */
  commitBegin: number;
  commitLine: number;
  abortOk: boolean;
  commitFailed: boolean;
  line: number;
  isSeen: boolean;
}

export class Transactions {
  readonly #state: HistoryState;
  readonly #known: Known[] = [];

  constructor(state: HistoryState) {
    this.#state = state;
  }

  end({ transaction, decision, outcome = 'ok', time, begin = time }: EndTransaction, line: number): void {
    const known = this.#of(this.#state.transactions.number(transaction));
    known.line = line;
    if (decision === 'commit' && outcome !== 'failed') {
      known.commitOk ||= outcome === 'ok';
      if (begin < known.commitBegin) {
        known.commitBegin = begin;
        known.commitLine = line;
      }
    } else if (decision === 'commit') {
      known.commitFailed = true;
    } else if (outcome === 'ok') {
      known.abortOk = true;
    }
  }

  /** A read_committed reader had a record of it: an unknown commit took place. */
  markSeen(): void {
    const { records, sends } = this.#state;
    for (let record = 0; record < records.length; record += 1) {
      if (records.committedTime.at(record) === Number.POSITIVE_INFINITY) continue;
      for (const { send } of records.sendsOf(record)) {
        if (sends.transaction.at(send) >= 0 && sends.outcome.at(send) !== FAILED) {
          this.#of(sends.transaction.at(send)).isSeen = true;
        }
      }
    }
  }

  /** Of a send's transaction; no transaction counts as committed. */
  endOf(send: number): TransactionEnd {
    const transaction = this.#state.sends.transaction.at(send);
    if (transaction < 0) return 'committed';
    const { commitOk, abortOk, commitFailed, isSeen, commitBegin } = this.#of(transaction);
    if (commitOk) return 'committed';
    // An abort that succeeded says that no commit of unknown outcome took place.
    if (abortOk) return 'aborted';
    if (commitBegin < Number.POSITIVE_INFINITY) return isSeen ? 'committed' : 'open';
    return commitFailed ? 'aborted' : 'open';
  }

  /** A commit was called then at the earliest; Infinity: never. And the line that says how it ended, or 0. */
  commitOf(send: number): { readonly begin: number; readonly line: number } {
    const { commitBegin, commitLine, line } = this.#of(this.#state.sends.transaction.at(send));
    return { begin: commitBegin, line: commitLine === 0 ? line : commitLine };
  }

  /** Acknowledged, and (if it has one) its transaction committed. */
  isPromised(send: number): boolean {
    return this.#state.sends.outcome.at(send) === OK && this.endOf(send) === 'committed';
  }

  #of(transaction: number): Known {
    let known = this.#known[transaction];
    if (known === undefined) {
      known = {
        commitOk: false,
        commitBegin: Number.POSITIVE_INFINITY,
        commitLine: 0,
        abortOk: false,
        commitFailed: false,
        line: 0,
        isSeen: false,
      };
      this.#known[transaction] = known;
    }
    return known;
  }
}
