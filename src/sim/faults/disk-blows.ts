/**
 * Blows at nodes whose memory is on disks, at moments that matter: the programs of the clients say
 * when they have come to one (`Journal.reach`), and the machine stops, or the process dies, while
 * the disk is at work. Some come in twos: what is wrong after the first shows by the second.
 */

import type { Prng } from '../../base/prng.js';
import type { FileRange } from '../../runtime/durable.js';
import { FaultKind, type Machine, type SimulatedProcess } from '../../runtime/simulated/world.js';
import type { ClientMoment, Journal } from '../journal.js';
import type { SimulatedRack } from '../rack.js';

/** Until a node that was struck is there again. */
const BACK_MS_MAX = 4_000;
const BACK_LOOK_MS = 0.05;
const FLUSH_FAILS = 1_000_000;
/** In flushes. */
const LATE: readonly number[] = [0, 0.5, 1, 2, 3];
/** So long it is waited for a flush of a machine that is at work, or starts a process again. */
const FLUSH_MS_MAX = 1_000;
/** And until it says to the client that what failed is on the disk. */
const FLUSHED_MS_MAX = 8_000;
/** Of its image, of its superblock, of its log: before which of them a checkpoint is cut off. */
const FLUSHES_OF_START: readonly number[] = [1, 1, 2, 3];
const BETWEEN_MS = [5, 25] as const;
/** So that something comes to its end meanwhile. */
const RARE_MS = [400, 1_500] as const;

type FlushedPart = 'frames' | 'tables' | 'all';

interface AtFlush {
  readonly machine: Machine | undefined;
  readonly what: FlushedPart;
  readonly untilMs: number;
  readonly act: (found: { machine: Machine; node: number }) => void;
}

export class DiskBlows {
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #prng: Prng;
  readonly #usualRate: (kind: FaultKind) => number;
  readonly #betweenMs: readonly [number, number];
  #isWaiting = false;
  #atFlushes: AtFlush[] = [];

  constructor(parts: {
    rack: SimulatedRack;
    journal: Journal;
    prng: Prng;
    usualRate: (kind: FaultKind) => number;
    isRare: boolean;
  }) {
    this.#betweenMs = parts.isRare ? RARE_MS : BETWEEN_MS;
    this.#rack = parts.rack;
    this.#journal = parts.journal;
    this.#prng = parts.prng;
    this.#usualRate = parts.usualRate;
    this.#rack.world.onFlush((machine, ranges) => this.#flushed(machine, ranges));
  }

  /** One after the other, when all nodes serve, for as long as there are faults. */
  start(): void {
    const { world } = this.#rack;
    world.after(this.#prng.between(...this.#betweenMs), () => {
      if (!world.faults.enabled) return;
      if (this.#rack.isComplete && !this.#isWaiting) this.#strike();
      this.start();
    });
  }

  #strike(): void {
    const choice = this.#prng.below(100);
    // Of what a client was just told of it may have been only in memory.
    if (choice < 16) this.#when('the end of a first flush', 0, () => this.#stopAll());
    else if (choice < 25) this.#when('a relocation', this.#late(), () => this.#stopAll());
    else if (choice < 30) this.#when('a flush', this.#late(), () => this.#stopAll());
    else if (choice < 40) this.#when('a relocation', this.#late(), () => this.#killAndStop());
    else if (choice < 54) this.#when('a relocation', 0, () => this.#stopInBatch());
    else if (choice < 68) this.#when('a relocation', 0, () => this.#killAndStopInCheckpoint());
    // Not before what the client asks for can be at its node.
    else this.#when('a flush', this.#latencyMs, (client) => this.#failFlush(client, choice < 82));
  }

  #late(): number {
    const { flushUs } = this.#rack.world.knobs;
    return this.#prng.fraction() * this.#prng.pick(LATE) * (flushUs / 1_000);
  }

  get #latencyMs(): number {
    return this.#rack.world.knobs.latencyNs / 1e6;
  }

  #when(moment: ClientMoment, lateMs: number, act: (client: number) => void): void {
    const { world } = this.#rack;
    this.#isWaiting = true;
    this.#journal.whenReached(moment, (client) => {
      this.#isWaiting = false;
      world.after(lateMs, () => this.#act(`a client has come to ${moment}`, () => act(client)));
    });
  }

  #act(why: string, act: () => void): void {
    if (!this.#rack.world.faults.enabled) return;
    this.#journal.note(`blow: ${why}`);
    act();
  }

  get #nodes(): number[] {
    return Array.from({ length: this.#rack.shape.nodes }, (_, node) => node);
  }

  /** The power of all nodes is gone: nobody knows which of them the client has to do with. */
  #stopAll(): void {
    for (const node of this.#nodes) this.#rack.crashNode(node);
  }

  /** All processes that serve die, and the machines stop when the next ones begin. */
  #killAndStop(): void {
    const { world } = this.#rack;
    for (const node of this.#nodes) {
      const process = this.#rack.nodeProcess(node);
      if (process === undefined) continue;
      world.kill(process);
      const lateMs = this.#late();
      this.#whenBack(node, process, () => {
        world.after(lateMs, () => this.#stop(node, 'has begun again'));
      });
    }
  }

  #stop(node: number, why: string): void {
    this.#act(`n${node + 1} ${why}`, () => this.#rack.crashNode(node));
  }

  /** Calls back when another process is there. */
  #whenBack(node: number, before: SimulatedProcess, act: () => void): void {
    const { world } = this.#rack;
    const startedMs = world.nowMs;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > BACK_MS_MAX) return;
      const process = this.#rack.nodeProcess(node);
      if (process === undefined || process === before) world.after(BACK_LOOK_MS, look);
      else act();
    };
    look();
  }

  /** Before a batch is flushed whose frames were: what they replace must not be gone yet. */
  #stopInBatch(): void {
    this.#atFlush(undefined, 'frames', ({ machine }) => {
      this.#atFlush(machine, 'tables', ({ node }) => this.#stop(node, 'is at a batch'));
    });
  }

  /** Before a batch is written the process dies, and the machine stops in the next one's first. */
  #killAndStopInCheckpoint(): void {
    this.#atFlush(undefined, 'frames', ({ machine, node }) => {
      this.#kill(node);
      const flushes = this.#prng.pick(FLUSHES_OF_START);
      this.#atFlush(machine, 'all', () => {
        this.#atNthFlush(flushes, machine, () => this.#stop(node, 'is at a checkpoint'));
      });
    });
  }

  /**
   * One flush fails; at times the process that has asked for it dies before it is told so. When
   * the client is told nevertheless that its bytes are on the disk, the machine stops.
   */
  #failFlush(client: number, kills: boolean): void {
    const { world } = this.#rack;
    const kind = FaultKind.DiskFlushError;
    this.#atFlush(undefined, 'frames', ({ node }) => {
      world.faults.setRate(kind, FLUSH_FAILS);
      // Right behind the flush.
      world.after(0, () => world.faults.setRate(kind, this.#usualRate(kind)));
      if (kills) this.#kill(node);
      const untilMs = world.nowMs + FLUSHED_MS_MAX;
      const stop = (): void => {
        if (world.nowMs < untilMs) this.#stop(node, 'has flushed what had failed');
      };
      this.#journal.whenReached('the end of a flush', stop, client);
    });
  }

  #kill(node: number): void {
    const process = this.#rack.nodeProcess(node);
    if (process !== undefined) this.#rack.world.kill(process);
  }

  /** Of this machine, or of any. */
  #atFlush(
    machine: Machine | undefined,
    what: FlushedPart,
    act: (found: { machine: Machine; node: number }) => void,
  ): void {
    const { world } = this.#rack;
    this.#atFlushes.push({ machine, what, untilMs: world.nowMs + FLUSH_MS_MAX, act });
  }

  #atNthFlush(n: number, machine: Machine, act: () => void): void {
    if (n === 0) act();
    else this.#atFlush(machine, 'tables', () => this.#atNthFlush(n - 1, machine, act));
  }

  #flushed(machine: Machine, ranges: readonly FileRange[]): void {
    const { world, supervisors, shape } = this.#rack;
    if (!world.faults.enabled || this.#atFlushes.length === 0) return;
    const node = supervisors.findIndex((post) => post.machine === machine);
    const framesEnd = shape.frames * shape.pageBytes;
    // A checkpoint has frames and its image.
    const isTables = ranges.some(({ offset }) => offset >= framesEnd);
    const part = ranges.length === 0 ? 'all' : isTables ? 'tables' : 'frames';
    const isMeant = (one: AtFlush): boolean => {
      return one.what === part && (one.machine ?? machine) === machine;
    };
    const waiting = this.#atFlushes.filter(({ untilMs }) => world.nowMs < untilMs);
    this.#atFlushes = waiting.filter((one) => !isMeant(one));
    for (const { act } of waiting.filter(isMeant)) act({ machine, node });
  }
}
