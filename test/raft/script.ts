/**
 * Scenario scripts: a text file of commands, each followed by the whole trace it caused.
 *
 *   # a comment
 *   deliver 1->2
 *   ----
 *   recv 1->2 vote term 1 epoch -1 end 0
 *   2 persists term 1 vote 1
 *   send 2->1 vote-reply term 1 granted
 *
 * Commands (one block each, blocks end with an empty line):
 *   cluster 3 [spare=2] [count=written] [disk=manual] [unclean=longest-log]
 *                                                nodes 1..n, empty, not started; spare ones are no members;
 *     [messages=8] [bytes=1000] [append=1000]                limits of what is in flight
 *   node 2 [term=4] [vote=1] [log=1,1,4] [hw=2] [random=0.5]   what node 2 finds at start; log: one record per epoch named,
 *     [start=3]                                              2×3: a batch of 3 records; start: its log start
 *   start [2]                                                  starts one node, or all
 *   elect 1                                                    lets node 1 win an election and settles; one line of trace
 *   tick 1 [n]                                                 n ticks
 *   deliver [1->2] [type]                                      the oldest matching message, or all of 1->2 with `all`
 *   duplicate 1->2                                             delivers the oldest message and keeps it
 *   drop [1->2] [type]                                         loses all matching messages
 *   settle                                                     delivers (and syncs) until nothing moves
 *   isolate 1 / cut 2->1 / heal                                what 1 sends and gets is lost / what 2 sends to 1 / no longer
 *   propose 1 [records] [bytes]                                the leader appends a batch
 *   delete 1 5                                                 retention: node 1's log starts at 5 now
 *   sync 2 [n] [late]                                          the disk takes n changes; `late` keeps the report back
 *   report 2                                                   delivers the oldest report that was kept back, as it was
 *   crash 1 / kill 1 / restart 1                               power cut; kill -9; start from the disk
 *   lose 2 5                                                   the disk of node 2, which is down, lost all from 5 on
 *   wipe 2                                                     the disk of node 2, which is down, is replaced by an empty one
 *   unreachable 1 2 / reset 1 2                                node 1's connection to 2 broke / was made anew
 *   change 1 1,2,3 [learners=4,5]                              the leader is asked for these voters and learners
 *   transfer 1 2                                               node 1 is asked to hand the leadership to node 2
 *   read 1                                                     node 1 is asked for a read index; reads count from 1
 *   status                                                     roles, terms, cursors, logs as epochs, peers of the leader
 */
import { Raft } from '../../src/raft/raft.js';
import type { LogProgress, Member, Message, RaftOptions, Ready, Recovery, Sender } from '../../src/raft/types.js';
import { describeConfiguration, votersOf } from './members.js';
import { MemoryStore, type StoredBatch } from './memory-store.js';

interface ScriptNode {
  readonly id: number;
  directory: string;
  starts: number;
  store: MemoryStore;
  raft: Raft | undefined;
  random: number;
  late: LogProgress[];
}

interface InFlight {
  readonly message: Message;
  readonly batches: readonly StoredBatch[];
}

/** Runs a script and returns it with the traces it really caused. */
export function runScript(script: string): string {
  const cluster = new ScriptCluster();
  const blocks = script.trimEnd().split(/\n{2,}/);
  return `${blocks.map((block) => runBlock(cluster, block)).join('\n\n')}\n`;
}

function runBlock(cluster: ScriptCluster, block: string): string {
  const [input = ''] = block.split(/^----$/m);
  const lines = input.trimEnd().split('\n');
  const commands = lines.filter((line) => !line.startsWith('#'));
  if (commands.length === 0) return lines.join('\n');
  const trace = commands.flatMap((command) => cluster.run(command));
  return [...lines, '----', ...trace].join('\n');
}

class ScriptCluster {
  #nodes: ScriptNode[] = [];
  #network: InFlight[] = [];
  #isolated = new Set<number>();
  /** "2->1" */
  #cut = new Set<string>();
  #countBy: 'durable' | 'written' = 'durable';
  #manualDisk = false;
  #uncleanRecovery: 'never' | 'longest-log' = 'never';
  #limits = { maxInflightMessages: 8, maxInflightBytes: 1000, maxAppendBytes: 1000 };
  #trace: string[] = [];
  #values = 0;
  #reads = 0;

  run(command: string): string[] {
    this.#trace = [];
    const words = command.split(' ');
    const [name, ...rest] = words;
    const settings = new Map(
      rest.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]),
    );
    const args = rest.filter((word) => !word.includes('='));
    try {
      const action = this.#commands[name!];
      if (action === undefined) throw new Error(`no such command: ${command}`);
      action(args, settings);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'RaftInvariantError') throw error;
      this.#trace.push(`! ${error.message}`);
    }
    return this.#trace;
  }

  readonly #commands: Record<string, (args: string[], settings: Map<string, string>) => void> = {
    cluster: ([size], settings) => this.#cluster(Number(size), settings),
    node: ([id], settings) => this.#found(this.#node(id), settings),
    start: ([id]) => {
      for (const node of id === undefined ? this.#nodes : [this.#node(id)]) this.#start(node);
    },
    restart: ([id]) => this.#start(this.#node(id)),
    crash: ([id]) => this.#crash(this.#node(id), true),
    kill: ([id]) => this.#crash(this.#node(id), false),
    tick: ([id, times = '1']) => {
      for (let i = 0; i < Number(times); i++) this.#call(this.#node(id), (raft) => raft.tick());
    },
    elect: ([id]) => this.#elect(this.#node(id)),
    deliver: (args) => this.#transport('deliver', args),
    duplicate: (args) => this.#transport('duplicate', args),
    drop: (args) => this.#transport('drop', args),
    settle: () => this.#settle(),
    isolate: ([id]) => {
      this.#isolated.add(Number(id));
    },
    cut: ([link]) => {
      this.#cut.add(link!);
    },
    heal: () => {
      this.#isolated.clear();
      this.#cut.clear();
    },
    propose: ([id, records = '1', bytes = '10']) => this.#propose(this.#node(id), Number(records), Number(bytes)),
    delete: ([id, to]) => this.#node(id).store.deleteBefore(Number(to)),
    sync: ([id, ...rest]) => this.#sync(this.#node(id), rest.includes('late'), Number(rest[0])),
    report: ([id]) => this.#report(this.#node(id)),
    lose: ([id, from]) => this.#node(id).store.lose(Number(from)),
    wipe: ([id]) => this.#wipe(this.#node(id)),
    change: ([id, voters = ''], settings) => this.#change(this.#node(id), voters, settings.get('learners') ?? ''),
    transfer: ([id, target]) => this.#transfer(this.#node(id), this.#node(target)),
    read: ([id]) => this.#call(this.#node(id), (raft) => raft.readIndex(++this.#reads)),
    unreachable: ([id, peer]) => this.#call(this.#node(id), (raft) => raft.peerUnreachable(Number(peer))),
    reset: ([id, peer]) => this.#call(this.#node(id), (raft) => raft.peerReset(this.#sender(this.#node(peer)))),
    status: () => this.#status(),
  };

  #node(id: number | string | undefined): ScriptNode {
    const node = this.#nodes[Number(id) - 1];
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  #cluster(size: number, settings: Map<string, string>): void {
    this.#countBy = settings.get('count') === 'written' ? 'written' : 'durable';
    this.#manualDisk = settings.get('disk') === 'manual';
    this.#uncleanRecovery = settings.get('unclean') === 'longest-log' ? 'longest-log' : 'never';
    this.#limits = {
      maxInflightMessages: Number(settings.get('messages') ?? 8),
      maxInflightBytes: Number(settings.get('bytes') ?? 1000),
      maxAppendBytes: Number(settings.get('append') ?? 1000),
    };
    const founding = votersOf(...Array.from({ length: size }, (_, i) => i + 1));
    for (let id = 1; id <= size + Number(settings.get('spare') ?? 0); id++) {
      const store = new MemoryStore(id <= size ? founding : undefined);
      this.#nodes.push({ id, directory: `d${id}`, starts: 0, store, raft: undefined, random: 0, late: [] });
    }
  }

  /** An empty disk finds out from the others who founded the group, and that it is none of them. */
  #wipe(node: ScriptNode): void {
    if (node.raft !== undefined) throw new Error(`node ${node.id} is running`);
    node.directory += 'x';
    node.store = new MemoryStore(node.store.founding);
  }

  #change(node: ScriptNode, voters: string, learners: string): void {
    const members = (list: string): Member[] =>
      list
        .split(',')
        .filter(Boolean)
        .map((id) => ({ id: Number(id), directory: this.#node(id).directory }));
    this.#call(node, (raft) => {
      const refusal = raft.changeMembership({ voters: members(voters), learners: members(learners) });
      if (refusal !== undefined) this.#trace.push(`refused: ${refusal}`);
    });
  }

  #transfer(node: ScriptNode, { id, directory }: ScriptNode): void {
    this.#call(node, (raft) => {
      const refusal = raft.transferTo({ id, directory });
      if (refusal !== undefined) this.#trace.push(`refused: ${refusal}`);
    });
  }

  #sender({ id, directory, starts }: ScriptNode): Sender {
    return { id, directory, incarnation: `i${id}.${starts}` };
  }

  #found(node: ScriptNode, settings: Map<string, string>): void {
    const { store } = node;
    node.random = Number(settings.get('random') ?? 0);
    store.image.state = { term: Number(settings.get('term') ?? 0), vote: Number(settings.get('vote') ?? 0) };
    for (const entry of (settings.get('log') ?? '').split(',').filter(Boolean)) {
      const [epoch = 0, records = 1] = entry.split('×').map(Number);
      const start = store.end;
      store.append({ start, end: start + records, epoch, bytes: 10, value: start * 100 + epoch });
    }
    store.highWatermark = Number(settings.get('hw') ?? 0);
    store.deleteBefore(Number(settings.get('start') ?? 0));
    store.sync(store.pending.length);
    store.floor = store.highWatermark;
  }

  #start(node: ScriptNode): void {
    const { store } = node;
    store.onDurableState = (state) => this.#call(node, (raft) => raft.hardStateDurable(state));
    node.starts++;
    const options: RaftOptions = {
      self: this.#sender(node),
      configurations: store.configurations,
      hardState: store.image.state,
      highWatermark: store.floor,
      progress: store.progress,
      log: store,
      countBy: this.#countBy,
      uncleanRecovery: this.#uncleanRecovery,
      heartbeatTicks: 2,
      electionTicks: 10,
      ...this.#limits,
      random: () => node.random,
    };
    node.raft = new Raft(options);
    this.#drain(node);
  }

  #crash(node: ScriptNode, power: boolean): void {
    node.raft = undefined;
    node.late = [];
    if (power) node.store.cutPower(0);
    else node.store.killProcess();
    if (power && this.#countBy === 'written') node.store.forget();
    this.#network = this.#network.filter(({ message }) => message.from.id !== node.id && message.to.id !== node.id);
  }

  #propose(node: ScriptNode, records: number, bytes: number): void {
    const { store } = node;
    const start = store.end;
    store.append({ start, end: start + records, epoch: node.raft!.term, bytes, value: ++this.#values });
    this.#call(node, (raft) => {
      raft.accepted();
      raft.logProgress(store.progress);
    });
  }

  #elect(node: ScriptNode): void {
    const trace = this.#trace;
    this.#trace = [];
    while (node.raft?.role === 'follower') this.#call(node, (raft) => raft.tick());
    this.#settle();
    this.#trace = trace;
    const { role, term, leader, highWatermark } = node.raft!;
    this.#trace.push(`${node.id} is ${role} term ${term} leader ${leader} high watermark ${highWatermark}`);
  }

  // ---- disk ----

  #sync(node: ScriptNode, late: boolean, count: number): void {
    const report = node.store.sync(Number.isNaN(count) ? node.store.pending.length : count);
    if (late) node.late.push(report);
    else this.#call(node, (raft) => raft.logProgress(node.store.progress));
  }

  #report(node: ScriptNode): void {
    const report = node.late.shift()!;
    this.#call(node, (raft) => raft.logProgress(report));
  }

  // ---- network ----

  #transport(how: 'deliver' | 'duplicate' | 'drop', args: string[]): void {
    const link = args.find((arg) => arg.includes('->'));
    const type = args.find((arg) => !arg.includes('->') && arg !== 'all');
    const matching = this.#network.filter(
      ({ message }) =>
        (link === undefined || link === `${message.from.id}->${message.to.id}`) &&
        (type === undefined || type === message.type),
    );
    if (matching.length === 0) this.#trace.push('nothing there');
    const many = how === 'drop' || args.includes('all');
    for (const inFlight of many ? matching : matching.slice(0, 1)) {
      if (how !== 'duplicate') this.#network.splice(this.#network.indexOf(inFlight), 1);
      if (how === 'drop') this.#trace.push(`lost ${describe(inFlight.message)}`);
      else this.#arrive(inFlight);
    }
  }

  #settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const node of this.#nodes) {
        if (node.raft === undefined || node.store.pending.length === 0) continue;
        this.#sync(node, false, Number.NaN);
        moved = true;
      }
      const inFlight = this.#network.shift();
      if (inFlight === undefined) continue;
      this.#arrive(inFlight);
      moved = true;
    }
  }

  #arrive({ message, batches }: InFlight): void {
    const to = this.#node(message.to.id);
    if (to.raft === undefined) {
      this.#trace.push(`lost ${describe(message)}`);
      return;
    }
    this.#trace.push(`recv ${describe(message)}`);
    const arrived = message.type === 'append' ? { ...message, batches } : message;
    this.#call(to, (raft) => raft.step(arrived));
  }

  // ---- the driver ----

  #call(node: ScriptNode, action: (raft: Raft) => void): void {
    if (node.raft === undefined) throw new Error(`node ${node.id} is not running`);
    action(node.raft);
    this.#drain(node);
  }

  #drain(node: ScriptNode): void {
    for (;;) {
      const ready = node.raft!.ready();
      if (ready !== undefined) this.#perform(node, node.raft!, ready);
      else if (this.#manualDisk || node.store.pending.length === 0) return;
      else node.raft!.logProgress(node.store.sync(node.store.pending.length));
    }
  }

  #perform(node: ScriptNode, raft: Raft, ready: Ready): void {
    const { id, store } = node;
    for (const write of ready.writes) {
      if (write.type === 'truncate') {
        this.#trace.push(`${id} truncates to ${write.to}`);
        store.truncate(write.to);
      } else if (write.type === 'reset') {
        this.#trace.push(`${id} resets to ${write.logStart}`);
        store.reset(write.logStart, write.prevEpoch, write.configuration);
      } else if (write.type === 'leader-change') {
        const start = store.end;
        this.#trace.push(`${id} writes leader-change epoch ${write.epoch} at ${start}`);
        store.append({ start, end: start + 1, epoch: write.epoch, bytes: 10, value: -write.epoch });
      } else if (write.type === 'configuration') {
        const start = store.end;
        const { configuration, epoch } = write;
        this.#trace.push(`${id} writes configuration ${describeConfiguration(configuration)} at ${start}`);
        store.append({ start, end: start + 1, epoch, bytes: 10, value: start, configuration });
      } else {
        this.#trace.push(`${id} writes [${write.from}, ${write.message.end})`);
        for (const batch of write.message.batches as StoredBatch[]) if (batch.start >= write.from) store.append(batch);
      }
    }
    if (ready.hardState !== undefined) {
      const { term, vote, forgot } = ready.hardState;
      const flag = forgot === undefined ? '' : ` forgot in term ${forgot}`;
      this.#trace.push(`${id} persists term ${term} vote ${vote}${flag}`);
      store.saveState(ready.hardState);
    }
    for (const message of ready.messages) this.#send(node, message);
    if (ready.highWatermark !== undefined) {
      this.#trace.push(`${id} high watermark ${ready.highWatermark}`);
      store.highWatermark = ready.highWatermark;
    }
    if (ready.leadership !== undefined) {
      const { role, term, leader } = ready.leadership;
      this.#trace.push(`${id} is ${role} term ${term} leader ${leader}`);
    }
    if (ready.membership !== undefined) {
      const { configuration, committed } = ready.membership;
      this.#trace.push(`${id} members ${describeConfiguration(configuration)}${committed ? ' (committed)' : ''}`);
    }
    if (ready.changeFailed !== undefined) this.#trace.push(`${id} gave up the change: ${ready.changeFailed}`);
    if (ready.forgetful !== undefined) this.#trace.push(`${id} ${ready.forgetful ? 'abstains' : 'abstains no more'}`);
    if (ready.unclean !== undefined) this.#trace.push(`${id} ${ready.unclean}`);
    if (ready.transferFailed !== undefined) this.#trace.push(`${id} leads on: ${ready.transferFailed}`);
    for (const read of ready.reads ?? []) {
      this.#trace.push(`${id} answers read ${read.id}: ${read.highWatermark < 0 ? 'no leader' : read.highWatermark}`);
    }
    if (ready.writes.some(({ type }) => type === 'leader-change' || type === 'configuration')) raft.accepted();
    if (ready.writes.length > 0) raft.logProgress(store.progress);
  }

  #send(node: ScriptNode, message: Message): void {
    const { from, to } = message;
    const lost = this.#isolated.has(from.id) || this.#isolated.has(to.id) || this.#cut.has(`${from.id}->${to.id}`);
    this.#trace.push(`send ${describe(message)}${lost ? ' (lost)' : ''}`);
    const batches = message.type === 'append' ? node.store.slice(message.start, message.end) : [];
    if (!lost) this.#network.push({ message, batches });
  }

  #status(): void {
    for (const { id, store, raft } of this.#nodes) {
      const { generation, written, durable } = store.progress;
      const epochs = store.batches.map((batch) =>
        batch.end - batch.start > 1 ? `${batch.epoch}×${batch.end - batch.start}` : batch.epoch,
      );
      const from = store.logStart > 0 ? `from ${store.logStart} ` : '';
      const who = raft === undefined ? 'down' : `${raft.role} term ${raft.term} leader ${raft.leader}`;
      this.#trace.push(
        `${id} ${who} high watermark ${raft?.highWatermark ?? store.floor} written ${written} durable ${durable}` +
          `${generation > 0 ? ` generation ${generation}` : ''} log ${from}${epochs.join(',') || 'empty'}` +
          `${(raft?.membership.offset ?? -1) < 0 ? '' : ` members ${describeConfiguration(raft!.membership.configuration)}`}`,
      );
      for (const peer of raft?.peers() ?? []) {
        this.#trace.push(
          `  ${peer.voter ? 'peer' : 'learner'} ${peer.id} ${peer.state} next ${peer.next} written ${peer.written} durable ${peer.durable} ` +
            `in flight ${peer.inflightMessages} of ${peer.inflightBytes} bytes`,
        );
      }
    }
  }
}

function told({ recovery }: { readonly recovery?: Recovery }): string {
  return recovery === undefined ? '' : ` recovers at ${recovery.end}`;
}

function describe(message: Message): string {
  const name = ({ id, directory }: Member): string => (directory === `d${id}` ? `${id}` : `${id}${directory}`);
  const head = `${name(message.from)}->${name(message.to)} ${message.type} term ${message.term}`;
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      return `${head} epoch ${message.lastEpoch} end ${message.end}${message.transfer ? ' transfer' : ''}${message.led > 0 ? ` led ${message.led}` : ''}`;
    case 'pre-vote-reply':
    case 'vote-reply':
      return `${head} ${message.granted ? 'granted' : 'refused'}`;
    case 'append':
      return `${head} [${message.start}, ${message.end}) prev ${message.prevEpoch} hw ${message.highWatermark}${told(message)}`;
    case 'append-reply': {
      const cursors = `written ${message.written} durable ${message.durable}`;
      const generation = message.generation > 0 ? ` generation ${message.generation}` : '';
      const { epoch, end } = message.hint;
      const rejects =
        message.rejectedStart >= 0 ? ` rejects ${message.rejectedStart} hint epoch ${epoch} end ${end}` : '';
      return `${head}${rejects} ${cursors}${generation}${message.forgetful ? ' forgetful' : ''}`;
    }
    case 'heartbeat':
      return `${head} hw ${message.highWatermark}${message.round > 0 ? ` round ${message.round}` : ''}${told(message)}`;
    case 'heartbeat-reply':
      return `${head}${message.round > 0 ? ` round ${message.round}` : ''}${message.forgetful ? ' forgetful' : ''}`;
    case 'reset':
      return `${head} log start ${message.logStart} prev ${message.prevEpoch}`;
    case 'timeout-now':
      return head;
  }
}
