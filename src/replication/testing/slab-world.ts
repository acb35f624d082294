/** Machines that lend memory for copies, and a writer's ways to them, in time of its own. */

import { EventQueue, type Queued } from '../../base/event-queue.js';
import { Prng } from '../../base/prng.js';
import { type Outcome, Status } from '../../base/status.js';
import { type CompletionSink, NOT_NOW } from '../../fabric/link.js';
import { outcomeOf } from '../../fabric/verbs.js';
import type { Timer } from '../../runtime/clock.js';
import type { Copy } from '../copy.js';

/** What no program may see. */
export class Broken extends Error {}

interface Happening extends Queued {
  readonly atMs: number;
  readonly run: () => void;
}

/** Time, and chance. */
export class World {
  nowMs = 0;
  readonly prng: Prng;
  readonly #events = new EventQueue<Happening>();
  readonly #turn: () => Promise<void>;

  /** `turn`: resolves when all that has settled has gone on. */
  constructor(seed: number, turn: () => Promise<void>) {
    this.prng = new Prng(seed);
    this.#turn = turn;
  }

  now = (): number => this.nowMs;

  at(atMs: number, run: () => void): void {
    const thenMs = Math.max(atMs, this.nowMs);
    this.#events.push({ atMs: thenMs, atNs: thenMs * 1e6, sequence: 0, run });
  }

  after = (ms: number, run: () => void): Timer => {
    let isCancelled = false;
    this.at(this.nowMs + ms, () => isCancelled || run());
    return { cancel: () => (isCancelled = true) };
  };

  soon = (run: () => void): void => this.at(this.nowMs, run);

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(this.nowMs + ms, resolve));
  }

  /** Until `isOver`; false: it was not within so long. */
  async run(isOver: () => boolean, untilMs: number): Promise<boolean> {
    for (;;) {
      for (let i = 0; i < 3; i++) await this.#turn();
      if (isOver()) return true;
      const next = this.#events.pop();
      if (next === undefined || next.atMs > untilMs) return false;
      this.nowMs = next.atMs;
      next.run();
    }
  }
}

/** A machine that lends memory. */
export class LendingNode {
  epoch = 0;
  isLost = false;
  pausedUntilMs = 0;
  /** Counts its processes. */
  life = 0;
  readonly copies = new Map<number, Uint8Array>();
  /** It has no frames for bytes before that, where nothing was written yet. */
  fullBelow = 0;

  refuses(memory: Uint8Array, at: number, bytes: number): boolean {
    return at < this.fullBelow && memory.subarray(at, at + bytes).every((byte) => byte === 0);
  }
}

/** Whose way it is. */
export interface PathOwner {
  readonly world: World;
  readonly epoch: number;
  /** Now, or when it stands still no more; never when it is dead. */
  whenAwake(run: () => void): void;
}

/** A writer's way to one copy: what it sends is executed in order, or never. */
export class Path implements Copy {
  readonly id: number;
  readonly node: LendingNode;
  readonly #writer: PathOwner;
  /** What was sent and has not been executed, in its order. */
  readonly #queue: { readonly atMs: number; readonly run: () => void }[] = [];

  constructor(id: number, node: LendingNode, writer: PathOwner) {
    this.id = id;
    this.node = node;
    this.#writer = writer;
  }

  failed = (): void => undefined;

  readNow(at: number, into: Uint8Array, start: number, bytes: number): number {
    const memory = this.#memoryNow();
    if (memory === undefined) return NOT_NOW;
    into.set(memory.subarray(at, at + bytes), start);
    return Status.Ok;
  }

  mayWriteNow(): boolean {
    return this.#memoryNow() !== undefined;
  }

  writeNow(at: number, from: Uint8Array, start: number, bytes: number): number {
    const memory = this.#memoryNow();
    if (memory === undefined || this.node.refuses(memory, at, bytes)) return NOT_NOW;
    // A thread may be stopped before all of it is there; blocks are whole here.
    const isStopped = this.#writer.world.prng.chance(5_000);
    const done = isStopped ? bytes - (bytes % 8192) : bytes;
    memory.set(from.subarray(start, start + done), at);
    return isStopped ? Status.OutcomeUnknown : Status.Ok;
  }

  /** Where it can be reached without the node; nothing that was sent before is overtaken. */
  #memoryNow(): Uint8Array | undefined {
    const { world, epoch } = this.#writer;
    const { node } = this;
    const isWell = !node.isLost && world.nowMs >= node.pausedUntilMs && node.epoch === epoch;
    const isNow = isWell && this.#queue.length === 0 && world.prng.chance(700_000);
    return isNow ? node.copies.get(this.id) : undefined;
  }

  read(
    at: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    this.#send(sink, token, deadline, Status.Timeout, (memory) => {
      const copy = memory.slice(at, at + bytes);
      return () => into.set(copy, start);
    });
  }

  write(
    at: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const sent = from.slice(start, start + bytes);
    this.#send(sink, token, deadline, Status.OutcomeUnknown, (memory) => {
      if (this.node.refuses(memory, at, bytes)) return undefined;
      memory.set(sent, at);
      return () => undefined;
    });
  }

  trim(at: number, bytes: number, sink: CompletionSink, token: number, deadline: number): void {
    this.#send(sink, token, deadline, Status.OutcomeUnknown, (memory) => {
      memory.fill(0, at, at + bytes);
      return () => undefined;
    });
  }

  #send(
    sink: CompletionSink,
    token: number,
    deadline: number,
    late: Status,
    execute: (memory: Uint8Array) => (() => void) | undefined,
  ): void {
    const { world } = this.#writer;
    const { node } = this;
    const { prng } = world;
    const life = node.life;
    let isTold = false;
    const tell = (status: Status, outcome: Outcome = outcomeOf(status)): void => {
      if (isTold) return;
      isTold = true;
      this.#writer.whenAwake(() => sink.completed(token, status, outcome, 0, 0));
    };
    const arriveMs = world.nowMs + prng.fraction() * prng.pick([0.2, 1, 1, 5, 40]);
    const arrives = (): void => {
      // What a process had not executed is fenced when its connection is made anew.
      if (node.life !== life) return tell(late);
      const memory = node.copies.get(this.id);
      if (node.epoch !== this.#writer.epoch) return tell(Status.Stale);
      if (memory === undefined) return tell(Status.NotAllocated);
      const answer = execute(memory);
      if (prng.chance(20_000)) return;
      world.after(prng.fraction() * 2, () => {
        if (isTold) return;
        answer?.();
        tell(answer === undefined ? Status.NoSpace : Status.Ok);
      });
    };
    this.#queue.push({ atMs: arriveMs, run: arrives });
    if (this.#queue.length === 1) this.#next();
    world.at(deadline, () => tell(late));
  }

  #next(): void {
    const { world } = this.#writer;
    const [first] = this.#queue;
    if (first === undefined || this.node.isLost) return;
    const atMs = Math.max(first.atMs, this.node.pausedUntilMs);
    if (world.nowMs < atMs) {
      world.at(atMs, () => this.#next());
      return;
    }
    this.#queue.shift();
    first.run();
    this.#next();
  }
}
