/**
 * Taking away, moving, freeing and dying, while threads without the node read and write, each of
 * which may stop between any two of its accesses, for ever or for a while. What is checked:
 *
 *   - what was acknowledged stays; a value that was seen is not taken back; words are whole
 *   - when it is told that access has ended, nothing that was under it changes any more
 *   - no store reaches a frame that is another page's, or is free
 *   - moves alone make no outcome unknown
 *
 * `MEMRACK_FUZZ` sets the number of turns, 400 for each seed.
 */
import { afterEach, expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { EntryFlag, NO_FRAME, RIGHTS_MASK } from '../../disk/page-table.js';
import { memoryNodeFaults } from '../planted.js';
import { keyOf, OneSidedModel, type Written } from '../testing/one-sided-model.js';
import { NodeMemory, OneSidedNode } from '../testing/one-sided-node.js';
import { type Access, runStep, type Step } from '../testing/one-sided-thread.js';
import { NO_PARENT } from '../translate/window-tree.js';

const SPACE = 7;
const FIRST_PAGE = 16384;
const PAGES = 3;
const THREADS = 4;
/** In each of these chunks of a page every thread has one word of its own. */
const CHUNKS = [0, 7, 15].map((chunk) => chunk * 512);
const PLACES = CHUNKS.flatMap((chunk) => Array.from({ length: THREADS }, (_, t) => chunk + t));
const threadOf = (at: number): number => at % 512;
const CLIENT = 5;

const SEEDS = Math.ceil(Number(process.env['MEMRACK_FUZZ'] ?? 20_000) / 400);
const FAULT_SEEDS = 30;
const TEST_MS = 600_000;

class Death extends Error {}

interface Thread {
  readonly number: number;
  slot: number;
  incarnation: number;
  window: number;
  epoch: number;
  isStopped: boolean;
  step: Step | undefined;
  run: Generator<void, void> | undefined;
  seenBefore: ReadonlyMap<string, number>;
  written: Written[];
}

interface Options {
  readonly seed: number;
  readonly steps: number;
  readonly actions: readonly Action[];
}

type Action = 'revoke' | 'protect' | 'move' | 'free' | 'die' | 'end thread';

class Fuzz {
  readonly random: Prng;
  readonly memory: NodeMemory;
  node: OneSidedNode;
  readonly threads: Thread[] = [];
  readonly model = new OneSidedModel();
  unknowns = 0;
  verified = 0;
  copied = 0;
  moved = 0;
  cancelled = 0;
  #life = 0;
  #pending = 0;
  #diesIn = Number.POSITIVE_INFINITY;
  #isInside = false;
  readonly #identities: string[] = [];
  /** Threads and pages of which something is being taken away just now. */
  readonly #revoking = new Set<number>();
  readonly #protecting = new Set<number>();
  readonly options: Options;

  constructor(options: Options) {
    this.options = options;
    this.random = new Prng(options.seed);
    // With few of them there is none for a copy at times.
    this.memory = new NodeMemory(PAGES + 1 + (options.seed % 7));
    this.node = this.#open();
    for (let number = 0; number < THREADS; number++) this.#attach(number);
    for (let i = 0; i < PAGES; i++) this.#allocate(FIRST_PAGE + i);
  }

  below(end: number): number {
    return this.random.u32() % end;
  }

  #open(): OneSidedNode {
    const life = this.#life;
    const hooks = {
      meanwhile: () => {
        if (life !== this.#life) throw new Death();
        this.#inside();
      },
      beforeStore: () => {
        this.#diesIn -= 1;
        if (this.#diesIn < 0) throw new Death();
      },
    };
    return new OneSidedNode(this.memory, hooks, this.random);
  }

  /** Threads go on between two accesses of the node. */
  #inside(): void {
    if (this.#isInside || this.threads.length < THREADS || this.below(3) > 0) return;
    this.#isInside = true;
    this.#runThreads(this.below(this.below(6) === 0 ? 100 : 6));
    this.#isInside = false;
  }

  #attach(number: number): void {
    const identity = `here/thread-${number}-${this.random.u32()}`;
    const slot = this.node.slots.give({ client: CLIENT, token: number + 1, identity });
    if (typeof slot !== 'number') throw new Error(slot.reason);
    const thread: Thread = {
      number,
      slot,
      incarnation: this.node.table.incarnation,
      window: -1,
      epoch: 0,
      isStopped: false,
      step: undefined,
      run: undefined,
      seenBefore: new Map(),
      written: [],
    };
    this.#openWindow(thread);
    this.threads[number] = thread;
    this.#identities[number] = identity;
  }

  #openWindow(thread: Thread): void {
    const range = { space: SPACE, rights: RIGHTS_MASK, base: 0, end: 2 ** 53 };
    const facts = { opener: CLIENT, space: SPACE, isShared: false, parent: NO_PARENT };
    thread.window = this.node.windows.openRange(range, { ...facts, lease: 0, leaseEpoch: 0 });
    thread.epoch = this.node.windows.epochOf(thread.window);
    thread.incarnation = this.node.table.incarnation;
    this.model.release(this.#wordsOf(thread), 'revoked');
  }

  #wordsOf({ number }: Thread): string[] {
    return this.model.keys((_, at) => threadOf(at) === number);
  }

  #allocate(page: number): void {
    this.model.allocate(page, PLACES);
    this.node.allocate(page);
  }

  #runThreads(accesses: number): void {
    for (let i = 0; i < accesses; i++) {
      const thread = this.threads[this.below(THREADS)] as Thread;
      if (thread.isStopped) continue;
      if (thread.run === undefined) this.#begin(thread);
      if (thread.run?.next().done === true) this.#end(thread);
      // Half of those that stop are in the middle of a step.
      if (this.below(150) === 0) thread.isStopped = true;
    }
  }

  #begin(thread: Thread): void {
    const accesses = Array.from({ length: 1 + this.below(3) }, () => this.#access(thread));
    const step: Step = { accesses, made: 0, isVerified: undefined };
    thread.step = step;
    thread.written = [];
    thread.seenBefore = this.model.seen();
    thread.run = runStep(
      {
        files: this.node.files,
        slot: thread.slot,
        incarnation: thread.incarnation,
        window: { window: thread.window, epoch: thread.epoch, space: SPACE, rights: RIGHTS_MASK },
        stores: (frame, access) => this.#checkFrame(frame, access.page),
      },
      step,
    );
  }

  #access(thread: Thread): Access {
    const page = FIRST_PAGE + this.below(PAGES);
    const found: bigint[] = [];
    if (this.below(3) === 0) {
      return { page, kind: 'read', at: CHUNKS.map((c) => c + this.below(THREADS)), found };
    }
    let allocation = 0;
    const at = CHUNKS.filter(() => this.below(2) === 0).map((chunk) => chunk + thread.number);
    let next = 0;
    return {
      page,
      kind: 'write',
      at,
      found,
      begins: () => {
        allocation = this.model.allocationOf(page);
      },
      value: () => {
        const written = this.model.write(keyOf(page, at[next++] as number), allocation);
        thread.written.push(written);
        return written.value;
      },
    };
  }

  /** A frame that a thread stores to is its page's, or nobody's. */
  #checkFrame(frame: number, page: number): void {
    for (let other = FIRST_PAGE; other < FIRST_PAGE + PAGES; other++) {
      if (other !== page && this.node.frameOf(other) === frame) {
        this.model.problem(`a store for page ${page} reached page ${other}`);
      }
    }
  }

  #end(thread: Thread): void {
    const { step, written } = thread;
    thread.run = undefined;
    thread.step = undefined;
    if (step?.isVerified === undefined) return this.model.problem('a step ended without an end');
    if (!step.isVerified) {
      if (written.length > 0) this.unknowns += 1;
      return this.#renew(thread);
    }
    this.verified += 1;
    for (const one of written) this.model.acknowledge(one);
    for (const access of step.accesses.slice(0, step.made)) {
      access.found.forEach((value, i) => {
        const key = keyOf(access.page, access.at[i] as number);
        this.model.hasRead(key, value, thread.seenBefore);
      });
    }
    if (step.made < step.accesses.length) {
      this.#elsewhere(thread, step.accesses[step.made] as Access);
    }
  }

  /** The node lives on, or another one does; who was revoked opens a window some time later. */
  #renew(thread: Thread): void {
    if (this.#isInside) return;
    if (this.node.windows.epochOf(thread.window) === thread.epoch && this.#isOfNow(thread)) return;
    if (this.#isQuiet(thread)) this.#openWindow(thread);
  }

  #isOfNow(thread: Thread): boolean {
    return thread.incarnation === this.node.table.incarnation;
  }

  /** Not while the revocation of its window before is being waited for. */
  #isQuiet(thread: Thread): boolean {
    return !this.#revoking.has(thread.number);
  }

  /** The operation goes to the node as a message, if that has the time just now. */
  #elsewhere(thread: Thread, access: Access): void {
    if (this.#isInside) return;
    this.#renew(thread);
    if (this.node.windows.epochOf(thread.window) !== thread.epoch || !this.#isOfNow(thread)) return;
    if (access.kind === 'read') return;
    const flags = this.node.flagsOf(access.page);
    if (flags < 0 || (flags & EntryFlag.WRITE) === 0) return;
    if (this.node.frameOf(access.page) === NO_FRAME) {
      this.node.clean();
      if (!this.node.touch(access.page)) return;
    }
    const words = this.node.page(access.page) as BigUint64Array;
    for (const at of access.at) {
      const { page } = access;
      const written = this.model.write(keyOf(page, at), this.model.allocationOf(page));
      words[at] = written.value;
      this.model.acknowledge(written);
    }
  }

  /** As a message would find it. */
  readonly #now = (page: number): BigUint64Array | undefined => this.node.page(page);

  /** Starts a call of the node; `then` runs in the turn in which it is answered. */
  #call<T>(call: () => Promise<T>, then: (result: T) => void): void {
    const life = this.#life;
    this.#pending += 1;
    void (async () => {
      try {
        const result = await call();
        if (life === this.#life) then(result);
      } catch (error) {
        if (!(error instanceof Death)) this.model.problem(String((error as Error).stack));
      } finally {
        if (life === this.#life) this.#pending -= 1;
      }
    })();
  }

  act(action: Action): void {
    const page = FIRST_PAGE + this.below(PAGES);
    const thread = this.threads[this.below(THREADS)] as Thread;
    if (action === 'revoke') this.#revoke(thread);
    else if (action === 'protect') this.#protect(page);
    else if (action === 'move')
      this.#call(
        () => this.node.relocation.move(SPACE, FIRST_PAGE, PAGES),
        () => {},
      );
    else if (action === 'free') this.#free(page);
    else if (action === 'end thread') this.#endThread(thread);
    else if (this.#diesIn === Number.POSITIVE_INFINITY) this.#diesIn = this.below(40);
  }

  #revoke(thread: Thread): void {
    if (this.#revoking.has(thread.number) || !this.#isOfNow(thread)) return;
    if (this.node.windows.epochOf(thread.window) !== thread.epoch) return;
    this.#revoking.add(thread.number);
    const { window } = thread;
    this.#call(
      () => {
        this.node.windows.closeFamily(window);
        return this.node.revocation.settled();
      },
      (isSettled) => {
        this.#revoking.delete(thread.number);
        if (isSettled) this.model.fix(this.#wordsOf(thread), 'revoked', this.#now);
      },
    );
  }

  #protect(page: number): void {
    if (this.#protecting.has(page)) return;
    const keys = this.model.keys((of) => of === page);
    if ((this.node.flagsOf(page) & EntryFlag.WRITE) === 0) {
      this.model.release(keys, 'protected');
      void this.node.protect(page, RIGHTS_MASK).catch(() => {});
      return;
    }
    this.#protecting.add(page);
    const allocation = this.model.allocationOf(page);
    this.#call(
      () => this.node.protect(page, EntryFlag.READ),
      (isSettled) => {
        if (this.model.allocationOf(page) !== allocation) return;
        this.#protecting.delete(page);
        if (isSettled) this.model.fix(keys, 'protected', this.#now);
      },
    );
  }

  #free(page: number): void {
    this.node.free(page);
    this.#protecting.delete(page);
    this.#allocate(page);
  }

  /** Its process is killed in the middle of whatever it does, and another one comes. */
  #endThread(thread: Thread): void {
    if (this.#revoking.has(thread.number)) return;
    this.memory.processes.ended.add(this.#identities[thread.number] as string);
    const diesIn = this.#diesIn;
    this.#diesIn = Number.POSITIVE_INFINITY;
    this.#attach(thread.number);
    this.#diesIn = diesIn;
  }

  #reopen(): void {
    this.#life += 1;
    this.#pending = 0;
    this.#diesIn = Number.POSITIVE_INFINITY;
    this.#revoking.clear();
    this.#protecting.clear();
    this.end();
    this.node = this.#open();
    // What was half done is done or not; what pages there are, the table says.
    for (let page = FIRST_PAGE; page < FIRST_PAGE + PAGES; page++) {
      if (this.node.flagsOf(page) === 0) this.#allocate(page);
      const isWritable = (this.node.flagsOf(page) & EntryFlag.WRITE) !== 0;
      if (isWritable)
        this.model.release(
          this.model.keys((of) => of === page),
          'protected',
        );
    }
    for (const thread of this.threads) if (thread.run === undefined) this.#openWindow(thread);
  }

  end(): void {
    this.copied += this.node.revocation.pagesCopied;
    this.moved += this.node.relocation.pagesMoved;
    this.cancelled += this.node.relocation.movesCancelled;
    this.node.stop();
  }

  async drain(): Promise<void> {
    for (let i = 0; i < 40; i++) await Promise.resolve();
  }

  async run(): Promise<void> {
    const { steps, actions } = this.options;
    for (let i = 0; i < steps && this.model.problems.length === 0; i++) {
      try {
        await this.#turn(actions);
      } catch (error) {
        if (!(error instanceof Death)) throw error;
      }
      if (this.#diesIn < 0) this.#reopen();
      this.node.clean();
      this.model.check(this.#now);
    }
  }

  async #turn(actions: readonly Action[]): Promise<void> {
    this.#runThreads(this.below(40));
    if (this.below(4) === 0 && this.#pending < 3) {
      this.act(actions[this.below(actions.length)] as Action);
    }
    if (this.below(3) === 0) this.memory.time.pass(1 + this.below(this.below(2) * 120 + 3));
    await this.drain();
    for (const thread of this.threads) {
      if (thread.isStopped && this.below(25) === 0) thread.isStopped = false;
      if (thread.run === undefined) this.#renew(thread);
    }
  }
}

async function play(seed: number, actions: readonly Action[], steps = 400): Promise<Fuzz> {
  const fuzz = new Fuzz({ seed, steps, actions });
  await fuzz.run();
  fuzz.end();
  return fuzz;
}

const ALL: readonly Action[] = ['revoke', 'protect', 'move', 'free', 'die', 'end thread'];

type FaultName = 'revokeBeforeSlots' | 'noCopyOnRevoke' | 'forcedNotRaised' | 'moveWithoutPause';
const FAULTS: Readonly<Record<FaultName, readonly Action[]>> = {
  revokeBeforeSlots: ['revoke', 'protect'],
  noCopyOnRevoke: ['revoke', 'protect'],
  forcedNotRaised: ['revoke', 'protect'],
  moveWithoutPause: ['move'],
};

afterEach(() => {
  for (const name of Object.keys(FAULTS)) memoryNodeFaults[name as FaultName] = false;
});

test(
  'taking away, moving, freeing and dying while threads are stopped anywhere',
  async () => {
    const sum = { verified: 0, unknowns: 0, copied: 0, moved: 0, cancelled: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fuzz = await play(seed, ALL);
      expect([seed, fuzz.model.problems]).toEqual([seed, []]);
      sum.verified += fuzz.verified;
      sum.unknowns += fuzz.unknowns;
      sum.copied += fuzz.copied;
      sum.moved += fuzz.moved;
      sum.cancelled += fuzz.cancelled;
    }
    for (const count of Object.values(sum)) expect(count).toBeGreaterThan(10);
  },
  TEST_MS,
);

test(
  'moves alone make no outcome unknown, and lose nothing',
  async () => {
    let moved = 0;
    let cancelled = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const fuzz = await play(seed, ['move']);
      expect([seed, fuzz.model.problems, fuzz.unknowns]).toEqual([seed, [], 0]);
      moved += fuzz.moved;
      cancelled += fuzz.cancelled;
    }
    expect(Math.min(moved, cancelled)).toBeGreaterThan(10);
  },
  TEST_MS,
);

/** The first seed with which the checks find something. */
async function foundBy(actions: readonly Action[], seeds: number): Promise<number> {
  for (let seed = 1; seed <= seeds; seed++) {
    const fuzz = await play(seed, actions);
    if (fuzz.model.problems.length > 0) return seed;
  }
  return -1;
}

for (const [name, actions] of Object.entries(FAULTS)) {
  test(`a node with ${name} is found out`, async () => {
    expect(await foundBy(actions, FAULT_SEEDS)).toBe(-1);
    memoryNodeFaults[name as FaultName] = true;
    const seed = await foundBy(actions, 10 * FAULT_SEEDS);
    expect(seed).toBeGreaterThan(0);
  });
}
