/*
 * The replicated log of docs/RAFT.md with relaxed flush and forgetful replicas, for a model checker (docs/SPEC.md).
 *
 * Three voters, TERMS leader epochs, logs of at most ENTRIES entries. A single process picks one enabled step at a time;
 * every step is indivisible. The environment may cut the power of any node, or kill its process, at any time and as often
 * as it likes, and may hold back any message for ever.
 *
 *   SYNC          flush: sync  (a replica counts by its durable cursor, a power cut keeps what is durable)
 *   without it    flush: async (it counts by what is written, a power cut keeps any prefix, and the replica is forgetful)
 *   CURSORS       all three cursors are kept: durable <= written <= end; else only those that the flush mode counts by
 *   LATE          appends of a leader also arrive after it stopped leading
 *   MARK          replicas also mark themselves forgetful without a power cut (they learned that they lack something)
 *   STEADY        nobody crashes
 *   LED_DURABLE   the highest term led survives the process, as DESIGN allows
 *   BUG_...       planted bugs, each of which must be found; HELD, ACKS_1: claims that must be refuted (docs/SPEC.md)
 */
#ifndef TERMS
#define TERMS 2
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2
#define NONE 15

typedef Node {
  /* Durable before anything that depends on it leaves the node: steps that change it are its sync, too. */
  byte term;
  byte vote;       /* node + 1; 0: none */
  bit forgetful;
  byte forgot;     /* the durable term at the moment it forgot */

  byte log[ENTRIES];  /* leader epochs */
  byte end;
#if defined(CURSORS)
  byte written;
#endif
#if defined(CURSORS) || defined(SYNC)
  byte durable;
#endif

  /* In memory. */
  byte role;
  byte votes;      /* candidate: who voted for it, a bit for each node */
  byte led;        /* highest term led since start */
  byte goal;       /* forgetful: the log end that a leader of this term reported; NONE: no report yet */
  byte met;        /* leader: whose present incarnation it has seen in this term, a bit for each node */
  byte acked[3];   /* leader: the acknowledged end of each follower */
}

Node node[3];

/* What nobody in the system can see. */
byte leaderOf[TERMS + 1];   /* node + 1 */
byte committed[ENTRIES];    /* epoch of each committed entry */
byte committedIn[ENTRIES];  /* the first term that committed it */
byte committedEnd;
#ifdef LATE
typedef Reign { byte log[ENTRIES]; byte end; byte reaches; }
Reign reign[TERMS + 1];     /* what was sent in a term that is over, and which incarnations it can still reach */
#endif

#ifdef BFS
#define SCRATCH byte
#else
#define SCRATCH hidden byte
#endif
SCRATCH i, j, k, a, b, s, own, count;

#define T(n) node[n].term
#define BIT(n) (1 << (n))
#define has(set, n) (((set) >> (n)) & 1)

#if defined(CURSORS)
#define WRITTEN(n) node[n].written
#else
#define WRITTEN(n) node[n].end
#endif
#if defined(CURSORS) || defined(SYNC)
#define DURABLE(n) node[n].durable
#else
#define DURABLE(n) 0
#endif
#if defined(SYNC) && !defined(BUG_COUNT_WRITTEN)
#define COUNTED(n) DURABLE(n)
#else
#define COUNTED(n) WRITTEN(n)
#endif

/* Transitions of each kind in an exhaustive run: that nothing went wrong means little if nothing happened. */
#ifdef COUNT
c_decl {
  enum { TIMEOUT, VOTE, FORGETFUL_VOTE, ELECTION, APPEND, CONTACT, REPLICATE, TRUNCATION, COMMIT, CUT, KILL, CLEAR, KINDS };
  static const char *kinds[] = { "timeout", "vote", "forgetful-vote", "election", "append", "contact", "replicate",
    "truncation", "commit", "power-cut", "kill", "clear" };
  static unsigned long counts[KINDS];
  static void print_counts(void) {
    int kind;
    for (kind = 0; kind < KINDS; kind++) printf("count %s %lu\n", kinds[kind], counts[kind]);
  }
}
#define NOTE(kind) c_code { counts[kind]++; }
#else
#define NOTE(kind) skip
#endif

/* ---- properties ---- */

/* The end up to which two logs agree, as the append check finds it: by the last entry of equal epoch. */
inline agree(x, y) {
  s = (x.end < y.end -> x.end : y.end);
  do
  :: s > 0 && x.log[s - 1] != y.log[s - 1] -> s--
  :: else -> break
  od
}

inline logMatching() {
  for (a : 0 .. 1) {
    for (b : (a + 1) .. 2) {
      agree(node[a], node[b]);
      for (k : 0 .. ENTRIES - 1) {
        assert(k >= s || node[a].log[k] == node[b].log[k])
      }
    }
  }
  k = 0; s = 0
}

inline electionSafety(n) {
  assert(leaderOf[T(n)] == 0);
  leaderOf[T(n)] = n + 1
}

/* What was committed in earlier terms is in the log of every leader. */
inline leaderCompleteness(n) {
  for (k : 0 .. ENTRIES - 1) {
    assert(k >= committedEnd || committedIn[k] >= T(n) || (k < node[n].end && node[n].log[k] == committed[k]))
  }
}

/* Entries of `n` from `from` on are cut: none of them may be committed. */
inline committedStays(n, from) {
  for (k : 0 .. ENTRIES - 1) {
    assert(k < from || k >= node[n].end || k >= committedEnd || node[n].log[k] != committed[k])
  }
}

/* At the moment of a commit a majority holds it: on disk, or (async) in memory unless it forgot since. */
inline heldByMajority(n, to) {
  count = 0;
  for (a : 0 .. 2) {
    agree(node[n], node[a]);
#ifdef SYNC
    count = count + (s >= to && DURABLE(a) >= to)
#else
    count = count + ((s >= to && WRITTEN(a) >= to) || node[a].forgetful)
#endif
  }
  assert(count >= 2)
}

#ifdef SYNC
#define KEPT(n) DURABLE(n)
#define HOLDERS 2
#else
#define KEPT(n) node[n].end
#define HOLDERS 1
#endif

/* Holds under sync: a committed entry is on the disks of a majority for ever. Under async it is refuted (docs/SPEC.md). */
inline held() {
#if (defined(SYNC) && !defined(ACKS_1)) || defined(HELD)
  for (k : 0 .. ENTRIES - 1) {
    count = 0;
    for (a : 0 .. 2) {
      count = count + (k < KEPT(a) && node[a].log[k] == committed[k])
    }
    assert(k >= committedEnd || count >= HOLDERS)
  }
#endif
  k = 0
}

/* ---- what steps are made of ---- */

/* Leaving a role; what only a leader or candidate knows goes. */
inline resign(n) {
#ifdef LATE
  if
  :: node[n].role == LEADER ->
    reign[T(n)].end = node[n].end;
    reign[T(n)].reaches = 7 - BIT(n);
    for (k : 0 .. ENTRIES - 1) { reign[T(n)].log[k] = node[n].log[k] }
  :: else
  fi;
#endif
  node[n].role = FOLLOWER;
  node[n].votes = 0;
  node[n].met = 0;
  for (k : 0 .. 2) { node[n].acked[k] = 0 }
}

inline enterTerm(n, term_) {
  if
  :: T(n) < term_ -> resign(n); T(n) = term_; node[n].vote = 0; node[n].goal = NONE
  :: else
  fi
}

inline cutAt(n, to) {
  for (k : 0 .. ENTRIES - 1) {
    if
    :: k >= to -> node[n].log[k] = 0
    :: else
    fi
  }
  node[n].end = to;
#if defined(CURSORS)
  if
  :: node[n].written > to -> node[n].written = to
  :: else
  fi;
#endif
#if defined(CURSORS) || defined(SYNC)
  if
  :: node[n].durable > to -> node[n].durable = to
  :: else
  fi;
#endif
  k = 0
}

inline store(n, epoch_) {
  node[n].log[node[n].end] = epoch_;
  node[n].end++
}

#ifdef BUG_FORGETFUL_ACKS
#define mayCount(n) 1
#else
#define mayCount(n) !node[n].forgetful
#endif
#ifdef ACKS_1
#define enough(l, to) (COUNTED(l) >= to)
#else
#define enough(l, to) (count >= 2)
#endif
#ifdef BUG_OLDER_EPOCH
#define ownEpoch(l, to) 1
#else
#define ownEpoch(l, to) (node[l].log[to - 1] == T(l))
#endif

/*
 * Acknowledgements arrive and commits happen as soon as they can. A leader that learned less, or later, could only commit
 * less: it has no step that needs an acknowledgement to be missing.
 */
inline acknowledge(l) {
  for (b : 0 .. 2) {
    if
    :: b != l && has(node[l].met, b) && T(b) == T(l) && mayCount(b) ->
      agree(node[l], node[b]);
      own = (s < COUNTED(b) -> s : COUNTED(b));
#ifndef BUG_OLD_REPORT
      assert(own >= node[l].acked[b]);
#endif
      node[l].acked[b] = (own > node[l].acked[b] -> own : node[l].acked[b])
    :: else
    fi
  }
}

/* The greatest end of the leader's own epoch that a majority acknowledged. */
inline commit(l) {
  for (j : 1 .. ENTRIES) {
    count = (COUNTED(l) >= j) + (node[l].acked[0] >= j) + (node[l].acked[1] >= j) + (node[l].acked[2] >= j);
    if
    :: j <= node[l].end && j > committedEnd && enough(l, j) && ownEpoch(l, j) ->
      NOTE(COMMIT);
      printf("  node %d commits up to %d in term %d\n", l, j, T(l));
#ifndef ACKS_1
      heldByMajority(l, j);
#endif
      for (k : 0 .. ENTRIES - 1) {
        if
        :: k >= committedEnd && k < j -> committed[k] = node[l].log[k]; committedIn[k] = T(l)
        :: else
        fi
      }
      committedEnd = j
    :: j <= node[l].end && j <= committedEnd && enough(l, j) && ownEpoch(l, j) ->
      /* State-machine safety: what a leader may commit is what was committed there. */
      for (k : 0 .. j - 1) {
        assert(node[l].log[k] == committed[k]);
        committedIn[k] = (committedIn[k] < T(l) -> committedIn[k] : T(l))
      }
    :: else
    fi
  }
}

/* Ends every step. */
inline settle() {
  for (i : 0 .. 2) {
    if
    :: node[i].role == LEADER -> acknowledge(i); commit(i)
    :: else
    fi
  }
  for (i : 0 .. 2) {
    if
    :: node[i].role == LEADER -> leaderCompleteness(i)
    :: else
    fi
  }
  logMatching();
  held();
  i = 0; j = 0; k = 0; a = 0; b = 0; s = 0; own = 0; count = 0
}

/* A new process of `n`: nothing in memory is left, and nothing sent to or by the old one arrives once it is known. */
inline restart(n) {
  resign(n);
  node[n].goal = NONE;
  for (i : 0 .. 2) { node[i].met = node[i].met & (7 - BIT(n)) }
#ifdef LATE
  for (i : 1 .. TERMS) { reign[i].reaches = reign[i].reaches & (7 - BIT(n)) }
#endif
}

inline forget(n) {
  if
  :: !node[n].forgetful -> node[n].forgetful = 1; node[n].forgot = T(n)
  :: else
  fi;
  node[n].led = 0
}

/* ---- steps ---- */

/* Any election timeout may expire, a leader's check-quorum too. By symmetry node 0 is the first one. */
#define timeout_(n) \
  :: d_step { \
    T(n) < TERMS && !node[n].forgetful && (n == 0 || T(0) > 0) -> \
    NOTE(TIMEOUT); \
    enterTerm(n, T(n) + 1); \
    node[n].role = CANDIDATE; \
    node[n].vote = n + 1; \
    node[n].votes = BIT(n); \
    printf("node %d starts an election in term %d\n", n, T(n)) \
  }

#define lastEpoch(n) (node[n].end == 0 -> 0 : node[n].log[node[n].end - 1])
#define upToDate(c, v) \
  (lastEpoch(c) > lastEpoch(v) || (lastEpoch(c) == lastEpoch(v) && node[c].end >= node[v].end))

#if defined(BUG_NO_RULE)
#define grants(c, v) upToDate(c, v)
#elif defined(BUG_VOTE_ANY_FORMER_LEADER)
#define grants(c, v) (node[v].forgetful -> node[c].led > 0 : upToDate(c, v))
#elif defined(BUG_FORGETFUL_COMPARES)
#define grants(c, v) upToDate(c, v)
#elif defined(BUG_NO_COMPARISON)
#define grants(c, v) (!node[v].forgetful || node[c].led >= node[v].forgot)
#else
#define grants(c, v) (node[v].forgetful -> node[c].led >= node[v].forgot && node[c].led > 0 : upToDate(c, v))
#endif
#ifdef BUG_VOTE_TWICE
#define voteFree(c, v) 1
#else
#define voteFree(c, v) (T(c) > T(v) || node[v].vote == 0)
#endif

/* A request and its answer. A refusal would only raise the voter's term, which permits nothing that was not permitted. */
#define vote_(c, v) \
  :: d_step { \
    node[c].role == CANDIDATE && T(c) >= T(v) && !has(node[c].votes, v) && voteFree(c, v) && grants(c, v) -> \
    NOTE(VOTE); \
    if :: node[v].forgetful -> NOTE(FORGETFUL_VOTE) :: else fi; \
    enterTerm(v, T(c)); \
    node[v].vote = c + 1; \
    node[c].votes = node[c].votes | BIT(v); \
    printf("node %d votes for node %d in term %d (forgetful: %d)\n", v, c, T(c), node[v].forgetful) \
  }

#define win_(n) \
  :: d_step { \
    node[n].role == CANDIDATE && (node[n].votes == 3 || node[n].votes >= 5) -> \
    NOTE(ELECTION); \
    printf("node %d leads term %d with end %d\n", n, T(n), node[n].end); \
    electionSafety(n); \
    node[n].role = LEADER; \
    node[n].votes = 0; \
    node[n].led = T(n) \
  }

/* The leader's own batches. The first one of its epoch is its leader-change batch. */
#define append_(n) \
  :: d_step { \
    node[n].role == LEADER && node[n].end < ENTRIES -> \
    NOTE(APPEND); \
    store(n, T(n)); \
    printf("node %d appends entry %d of epoch %d\n", n, node[n].end - 1, T(n)) \
  }

/* The log end that clears a forgetful replica. */
#if defined(BUG_OLD_REPORT)
#define before(l, at) (node[l].end > at && node[l].log[at] < T(l))
#define reported(l) (before(l, 0) + (ENTRIES > 1 && before(l, ENTRIES - 1)))
#elif defined(BUG_GOAL_COMMITTED)
#define reported(l) (committedEnd > 0 && node[l].end >= committedEnd && node[l].log[committedEnd - 1] == T(l) -> committedEnd : 0)
#else
#define reported(l) node[l].end
#endif

/* A leader and a follower hear of each other: the first time in a term, or the first time of this incarnation. */
#define contact_(l, f) \
  :: d_step { \
    node[l].role == LEADER && T(l) >= T(f) && !has(node[l].met, f) -> \
    NOTE(CONTACT); \
    enterTerm(f, T(l)); \
    node[f].role = FOLLOWER; \
    node[f].votes = 0; \
    node[l].met = node[l].met | BIT(f); \
    forgetAcks(l, f); \
    node[f].goal = (node[f].forgetful -> reported(l) : NONE); \
    printf("node %d meets node %d in term %d and reports end %d\n", l, f, T(l), node[l].end) \
  }
#ifdef BUG_OLD_REPORT
#define forgetAcks(l, f) skip
#else
#define forgetAcks(l, f) node[l].acked[f] = 0
#endif

/* The first entry that the follower lacks; one that contradicts it, and everything behind, is cut first. */
#define replicate_(l, f) \
  :: d_step { \
    node[l].role == LEADER && has(node[l].met, f) && T(f) == T(l) && lacks(node[l], f) -> \
    NOTE(REPLICATE); \
    agree(node[l], node[f]); \
    take(f, s, node[l].log[s]); \
    printf("node %d stores entry %d of epoch %d from node %d\n", f, node[f].end - 1, node[f].log[node[f].end - 1], l) \
  }
#define lacks(log_, f) (node[f].end < log_.end || log_.end > 0 && node[f].log[log_.end - 1] != log_.log[log_.end - 1])

inline take(f, at, epoch_) {
  own = at;
  count = epoch_;
  if
  :: node[f].end > own ->
    NOTE(TRUNCATION);
    printf("node %d truncates from %d to %d\n", f, node[f].end, own);
    committedStays(f, own);
    cutAt(f, own)
  :: else
  fi;
  store(f, count)
}

#define write_(n) \
  :: d_step { node[n].written < node[n].end -> node[n].written++; printf("node %d has written up to %d\n", n, node[n].written) }
#define sync_(n) \
  :: d_step { node[n].durable < WRITTEN(n) -> node[n].durable++; printf("node %d is durable up to %d\n", n, node[n].durable) }

/* Holds the end that a leader of its term reported after seeing this incarnation: it is a replica like any other again. */
#define clear_(l, f) \
  :: d_step { \
    node[f].forgetful && node[l].role == LEADER && T(l) == T(f) && has(node[l].met, f) && node[f].goal != NONE \
      && holds(node[l], f, node[f].goal) -> \
    NOTE(CLEAR); \
    node[f].forgetful = 0; \
    node[f].forgot = 0; \
    node[f].goal = NONE; \
    printf("node %d holds what node %d reported: no longer forgetful\n", f, l) \
  }
#define holds(log_, f, to) (to == 0 || (WRITTEN(f) >= to && node[f].log[to - 1] == log_.log[to - 1]))

/* A restart of such a node changes nothing. */
#define metBy(n, l) has(node[l].met, n)
#define fresh(n) \
  (node[n].role == FOLLOWER && node[n].led == 0 && node[n].goal == NONE && !metBy(n, 0) && !metBy(n, 1) && !metBy(n, 2))

/* A power cut keeps the durable prefix and any part of what follows; recovery syncs what it keeps before it speaks. */
#define cut_(n, to) \
  :: d_step { \
    to >= DURABLE(n) && to <= WRITTEN(n) && !(fresh(n) && to == node[n].end && synced(n) && unchanged(n)) -> \
    NOTE(CUT); \
    printf("power cut: node %d keeps %d of %d\n", n, to, node[n].end); \
    restart(n); \
    cutAt(n, to); \
    recovered(n); \
    forgets(n) \
  }
#if defined(SYNC) || defined(BUG_NO_RULE)
#define unchanged(n) 1
#define forgets(n) node[n].led = 0
#else
#define unchanged(n) node[n].forgetful
#define forgets(n) forget(n)
#endif
#if defined(CURSORS)
#define recovered(n) node[n].written = node[n].end; node[n].durable = node[n].end
#elif defined(SYNC)
#define recovered(n) node[n].durable = node[n].end
#else
#define recovered(n) skip
#endif
#if defined(CURSORS) || defined(SYNC)
#define unsynced(n) (node[n].durable < node[n].end)
#define synced(n) (node[n].durable == node[n].end)
#else
#define unsynced(n) 0
#define synced(n) 1
#endif

/* The process dies: what was written stays. */
#define kill_(n) \
  :: d_step { \
    !fresh(n) || WRITTEN(n) < node[n].end || unsynced(n) -> \
    NOTE(KILL); \
    printf("kill -9: node %d\n", n); \
    restart(n); \
    cutAt(n, WRITTEN(n)); \
    recovered(n); \
    keepLed(n); \
    keepFlag(n) \
  }
#ifdef LED_DURABLE
#define keepLed(n) skip
#else
#define keepLed(n) node[n].led = 0
#endif
#ifdef BUG_FLAG_NOT_DURABLE
#define keepFlag(n) node[n].forgetful = 0; node[n].forgot = 0
#else
#define keepFlag(n) skip
#endif

#ifdef MARK
#define mark_(n) \
  :: d_step { !node[n].forgetful -> resign(n); node[n].goal = NONE; forget(n); printf("node %d marks itself forgetful\n", n) }
#else
#define mark_(n)
#endif

/* What the leader of term t had sent when it stopped leading; its answers are nobody's business any more. */
#ifdef LATE
#define late_(t, f) \
  :: d_step { \
    has(reign[t].reaches, f) && T(f) <= t && (T(f) < t || node[f].role == CANDIDATE \
      || node[f].forgetful && node[f].goal == NONE || lacks(reign[t], f)) -> \
    printf("node %d hears late from the leader of term %d\n", f, t); \
    if \
    :: T(f) < t || node[f].role == CANDIDATE || node[f].forgetful && node[f].goal == NONE -> \
      enterTerm(f, t); \
      node[f].role = FOLLOWER; \
      node[f].votes = 0; \
      node[f].goal = (node[f].forgetful -> reign[t].end : NONE) \
    :: else -> \
      agree(reign[t], node[f]); \
      take(f, s, reign[t].log[s]) \
    fi \
  } \
  :: d_step { \
    node[f].forgetful && T(f) == t && node[f].goal != NONE && node[f].role == FOLLOWER && has(reign[t].reaches, f) \
      && holds(reign[t], f, node[f].goal) -> \
    node[f].forgetful = 0; \
    node[f].forgot = 0; \
    node[f].goal = NONE \
  }
#define LATE_STEPS(t) late_(t, 0) late_(t, 1) late_(t, 2)
#endif

#define NODES(step) step(0) step(1) step(2)
#define PAIRS(step) step(0, 1) step(0, 2) step(1, 0) step(1, 2) step(2, 0) step(2, 1)

active proctype world() {
  d_step {
#ifdef COUNT
    c_code { atexit(print_counts); };
#endif
    node[0].goal = NONE; node[1].goal = NONE; node[2].goal = NONE
  }
  do
  :: atomic {
    if
    NODES(timeout_)
    PAIRS(vote_)
    NODES(win_)
    NODES(append_)
    PAIRS(contact_)
    PAIRS(replicate_)
#if defined(CURSORS)
    NODES(write_)
#endif
#if defined(CURSORS) || defined(SYNC)
    NODES(sync_)
#endif
    PAIRS(clear_)
#ifndef STEADY
    cut_(0, 0) cut_(1, 0) cut_(2, 0)
    cut_(0, 1) cut_(1, 1) cut_(2, 1)
#if ENTRIES >= 2
    cut_(0, 2) cut_(1, 2) cut_(2, 2)
#endif
#if ENTRIES >= 3
    cut_(0, 3) cut_(1, 3) cut_(2, 3)
#endif
    NODES(kill_)
#endif
    NODES(mark_)
#ifdef LATE
    LATE_STEPS(1)
    LATE_STEPS(2)
#if TERMS >= 3
    LATE_STEPS(3)
#endif
#endif
    fi;
    d_step { settle() }
  }
  od
}
