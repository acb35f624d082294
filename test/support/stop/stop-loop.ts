// The stop loop: clients read and write the memory of nodes by every link; processes are stopped,
// go on, and are killed at random, many in the middle of a step that the node has no part in; what
// was acknowledged must be there, and what was taken away must stay as it is.
import { connect, type Rack, type Space } from '../../../src/apps/library.js';
import { Prng } from '../../../src/base/prng.js';
import { parentOf, pidsOf, type TestRack, until } from '../rack.js';
import { Canaries } from './canaries.js';
import { type Items, type Plan, StopClient } from './clients.js';
import { LedgerCheck, type Places } from './ledger-check.js';
import { CountersOfNodes } from './node-counters.js';
import { must, pause } from './persist.js';
import { type SlotPlace, SlotWatch } from './slot-watch.js';
import { Stage, type StagePlaces } from './stage.js';
import { stateOf } from './what-is-open.js';

const NODES = 3;
const CLIENTS = 8;
const LINKS = ['shm', 'auto', 'tcp', 'shm', 'auto', 'shm', 'tcp', 'auto'] as const;
const COUNTERS = 8;
const LOCKS = 2;
const REGISTERS = 4;
const MARKS = { bulk: 0x10, guard: 0x20, window: 0x30, doomed: 0x40, multi: 0x50 };
const CANARIES = 60;
const CANARIES_CHURNED = 20;
const BLOWS = [
  ...new Array<'stop'>(9).fill('stop'),
  ...new Array<'kill'>(3).fill('kill'),
  ...new Array<'killNode'>(2).fill('killNode'),
  ...new Array<'stopNode'>(2).fill('stopNode'),
  ...new Array<'stopAndKillNode'>(4).fill('stopAndKillNode'),
];
type Blow = (typeof BLOWS)[number];

/** Where a stopped thread is in the middle of a step, and on what. */
interface Aim {
  readonly node: number;
  readonly part: 'guard' | 'window' | 'doomed' | undefined;
}

/** How often a client is stopped and let go on, until it is in the middle of a step. */
const AIMS = 40;
const BACK_WITHIN_MS = 30_000;
const TAKE_WITHIN_MS = 60_000;

export interface StopTotals {
  readonly blows: Record<Blow, number>;
  /** Blows that met a thread in the middle of a step. */
  met: number;
  /** Of them those that met it at work on what was taken away then. */
  metTaken: number;
  /** Times that a thread was seen to be waited for, and frames that rested for one. */
  heldBack: number;
  rested: number;
}

export class StopLoop {
  readonly totals: StopTotals = {
    blows: { stop: 0, kill: 0, killNode: 0, stopNode: 0, stopAndKillNode: 0 },
    met: 0,
    metTaken: 0,
    heldBack: 0,
    rested: 0,
  };
  readonly counters: CountersOfNodes;
  readonly #rack: TestRack;
  readonly #prng: Prng;
  readonly #folder: string;
  readonly #racks: Rack[] = [];
  readonly #busy = new Set<StopClient>();
  #clients: StopClient[] = [];
  #watch: SlotWatch | undefined;
  #canaries: Canaries | undefined;
  #stage: Stage | undefined;
  #ledgers: LedgerCheck | undefined;
  #isStageTaken = false;
  #arena = 0;

  constructor(rack: TestRack, seed: number, folder: string) {
    this.#rack = rack;
    this.#prng = new Prng(seed);
    this.#folder = folder;
    this.counters = new CountersOfNodes(rack);
  }

  get checked(): number {
    return (this.#ledgers?.checked ?? 0) + (this.#canaries?.checked ?? 0);
  }

  async start(): Promise<void> {
    this.#watch = new SlotWatch(this.#rack);
    const { url } = this.#rack;
    for (const link of ['tcp', 'shm'] as const) {
      this.#racks.push(await connect(url, { link, timeoutMs: 5_000 }));
    }
    const arenas = await this.#open('arena');
    const [space] = arenas as [Space];
    this.#arena = space.id;
    const places = await allocate(space);
    this.#canaries = new Canaries(await this.#open('canaries'), new Prng(this.#prng.u32()));
    await this.#canaries.fill(CANARIES);
    const plan: Plan = {
      url,
      space: 'arena',
      pageBytes: space.pageBytes,
      marks: MARKS,
      items: ITEMS,
      ...places,
    };
    this.#clients = LINKS.map((link, i) => new StopClient(i, link, plan, this.#folder));
    this.#ledgers = new LedgerCheck(arenas, this.#clients, ITEMS, places);
    const [own] = places.stages as [StagePlaces];
    this.#stage = new Stage(space, arenas.slice(1), own, MARKS.window);
    await this.#stage.give();
    // While nodes are struck nobody can be asked where they are.
    await this.counters.now();
    await Promise.all(this.#clients.map((client) => client.start()));
  }

  #open(name: string): Promise<Space[]> {
    return Promise.all(this.#racks.map((rack) => rack.space(name, { create: true })));
  }

  /** Lets the load run for a moment, strikes one to three times at once, and checks everything. */
  async round(): Promise<string> {
    await pause(20 + this.#prng.below(150));
    const blows = Array.from({ length: 1 + this.#prng.below(3) }, () => this.#prng.pick(BLOWS));
    await Promise.all(
      blows.map(async (blow) => {
        // Of its own, so that what is drawn does not depend on whose turn comes first.
        const prng = new Prng(this.#prng.u32());
        this.totals.blows[blow] += 1;
        await pause(prng.below(200));
        await this.#strike(blow, prng);
      }),
    );
    await this.check();
    const dead = this.#clients.filter(({ pid }) => pid === undefined);
    await Promise.all(dead.map((client) => client.start()));
    await this.#canaries?.churn(CANARIES_CHURNED);
    await this.#canaries?.fill(CANARIES);
    return blows.join('+');
  }

  async check(): Promise<void> {
    for (const client of this.#clients) client.check();
    await this.#ledgers?.run();
    await this.#canaries?.check();
  }

  #strike(blow: Blow, prng: Prng): Promise<void> {
    if (blow === 'killNode') return this.#strikeNode(prng.below(NODES), 'SIGKILL', prng);
    if (blow === 'stopNode') return this.#strikeNode(prng.below(NODES), 'SIGSTOP', prng);
    return this.#strikeClient(blow, prng);
  }

  async #strikeClient(blow: Blow, prng: Prng): Promise<void> {
    const client = this.#clients[prng.below(CLIENTS)] as StopClient;
    if (client.pid === undefined || this.#busy.has(client)) return;
    this.#busy.add(client);
    try {
      const aim = await this.#aim(client, prng);
      if (aim !== undefined) this.totals.met += 1;
      if (aim?.part !== undefined) this.totals.metTaken += 1;
      if (blow === 'kill') await client.kill();
      else await this.#holdStopped(client, blow, aim, prng);
    } finally {
      client.signal('SIGCONT');
      this.#busy.delete(client);
    }
  }

  /** What all use is taken away meanwhile, and must stay as it is when the client goes on. */
  async #holdStopped(
    client: StopClient,
    blow: Blow,
    aim: Aim | undefined,
    prng: Prng,
  ): Promise<void> {
    const node = aim?.node ?? 0;
    const isNodeKilled = blow === 'stopAndKillNode';
    const killed = isNodeKilled ? this.#strikeNode(node, 'SIGKILL', prng) : undefined;
    const taken = this.#take(aim?.part === 'doomed');
    const isAwaited = aim?.part !== undefined || prng.chance(500_000);
    await Promise.all([pause(stopMs(prng)), killed, isAwaited && taken]);
    await this.#look();
    client.signal('SIGCONT');
    await Promise.all([taken, pause(20 + prng.below(60))]);
    if (!(await taken)) return;
    await this.#stage?.check();
    await this.#stage?.give();
    this.#isStageTaken = false;
  }

  /** False: somebody else is about it. Frames that were freed may be asked to find new users. */
  async #take(isRoundTrip: boolean): Promise<boolean> {
    if (this.#isStageTaken || this.#stage === undefined) return false;
    this.#isStageTaken = true;
    const startMs = performance.now();
    await this.#stage.take();
    const tookMs = performance.now() - startMs;
    if (tookMs > TAKE_WITHIN_MS) throw new Error(`it took ${tookMs} ms to take memory away`);
    if (isRoundTrip) await this.#canaries?.churn(CANARIES);
    return true;
  }

  async #look(): Promise<void> {
    for (const { slotsHeldBack, framesResting } of await this.counters.now(300)) {
      this.totals.heldBack += slotsHeldBack;
      this.totals.rested += framesResting;
    }
  }

  /** Stops it, at best in the middle of a step on what is going to be taken away. */
  async #aim(client: StopClient, prng: Prng): Promise<Aim | undefined> {
    const { pid } = client;
    if (pid === undefined || this.#watch === undefined) return undefined;
    const slots = this.#watch.slotsOf(pid);
    for (let i = 0; ; i++) {
      client.signal('SIGSTOP');
      await until(BACK_WITHIN_MS, () => isStopped(pid) || undefined, 0);
      const found = this.#aimAt(slots);
      const isGood = i < AIMS / 2 ? found?.part !== undefined : found !== undefined;
      if (isGood || i >= AIMS || slots.length === 0) return found;
      client.signal('SIGCONT');
      await pause(1 + prng.below(5));
    }
  }

  #aimAt(slots: readonly SlotPlace[]): Aim | undefined {
    const slot = slots.find((one) => this.#watch?.isInStep(one));
    if (slot === undefined) return undefined;
    const address = this.#watch?.addressOf(slot, this.#arena);
    const isTaken = address === undefined || this.#isStageTaken;
    return { node: slot.node, part: isTaken ? undefined : this.#stage?.partAt(address) };
  }

  async #strikeNode(node: number, signal: 'SIGKILL' | 'SIGSTOP', prng: Prng): Promise<void> {
    const supervisor = this.#watch?.supervisors[node] ?? 0;
    // A node of an earlier blow may still be on its way back.
    const pid = await until(BACK_WITHIN_MS, () => this.#nodeOf(supervisor));
    const isMet = (this.#watch?.inStepAt(node) ?? 0) > 0;
    try {
      process.kill(pid, signal);
      if (isMet && signal === 'SIGKILL') this.totals.met += 1;
      if (signal === 'SIGSTOP') await pause(stopMs(prng));
    } finally {
      if (signal === 'SIGSTOP') goOn(pid);
    }
  }

  #nodeOf(supervisor: number): number | undefined {
    return pidsOf(this.#rack, 'memory-node').find((pid) => parentOfOrNone(pid) === supervisor);
  }

  /** Ends the clients, checks once more in peace, and gives all memory back. */
  async finish(): Promise<{ touches: number; operations: number }> {
    const told = await Promise.all(this.#clients.map((client) => client.end()));
    await this.check();
    await this.counters.now();
    for (const name of ['arena', 'canaries']) {
      await must('removing a space', async () => this.#racks[0]?.removeSpace(name));
    }
    await this.#close();
    const sum = (of: (one: (typeof told)[number]) => number) =>
      told.reduce((total, one) => total + of(one), 0);
    return { touches: sum(({ touches }) => touches), operations: sum((one) => one.operations) };
  }

  async #close(): Promise<void> {
    for (const rack of this.#racks) await rack.close();
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** Without looking at anything, after a failure too. */
  async abandon(): Promise<void> {
    for (const client of this.#clients) client.signal('SIGKILL');
    for (const pid of pidsOf(this.#rack, 'memory-node')) goOn(pid);
    await this.#close();
    await this.counters.close();
  }
}

const ITEMS: Items = {
  counters: range(0, COUNTERS),
  locks: range(COUNTERS, LOCKS),
  registers: range(COUNTERS + LOCKS, REGISTERS),
  multi: COUNTERS + LOCKS + REGISTERS,
  count: COUNTERS + LOCKS + REGISTERS + 1,
};

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

interface ArenaPlaces extends Places {
  readonly bulk: number;
  readonly stages: readonly StagePlaces[];
}

/** What is small lies on pages of different nodes, as far as the rack's placement has it so. */
async function allocate(space: Space): Promise<ArenaPlaces> {
  const pages = (count: number) => must('alloc', () => space.alloc(count * space.pageBytes));
  const several = async (count: number, size: number): Promise<number[]> => {
    const found: number[] = [];
    for (let i = 0; i < count; i++) found.push(await pages(size));
    return found;
  };
  const words = await several(4, 1);
  const word = (i: number): number => (words[i % 4] as number) + 64 * Math.floor(i / 4);
  const registerPages = await several(4, 1);
  const register = (client: number, lane: number): number =>
    (registerPages[(client + lane) % 4] as number) + 256 * client + 8 * lane;
  const registers = range(0, CLIENTS).map((client) =>
    range(0, REGISTERS).map((lane) => register(client, lane)),
  );
  const stages: StagePlaces[] = [];
  for (let i = 0; i < 2; i++) {
    stages.push({ board: await pages(1), guard: await pages(4), window: await pages(4) });
  }
  return {
    counters: range(0, COUNTERS).map(word),
    locks: range(COUNTERS, LOCKS).map(word),
    registers,
    multis: await several(CLIENTS, 3),
    bulk: await pages(4),
    stages,
  };
}

/** 10 ms to 3 s, mostly shorter than a second. */
function stopMs(prng: Prng): number {
  return Math.floor(10 * 300 ** (prng.fraction() * prng.fraction() ** 0.5));
}

function isStopped(pid: number): boolean {
  try {
    return stateOf(pid) === 'T';
  } catch {
    return true;
  }
}

function parentOfOrNone(pid: number): number {
  try {
    return parentOf(pid);
  } catch {
    return -1;
  }
}

function goOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // It has ended.
  }
}
