/**
 * Blows at nodes whose memory is on disks, at moments that matter: the programs of the clients say
 * when they have come to one (`Journal.reach`), and the machine stops, or the process dies, while
 * the disk is at work. Some come in twos: what is wrong after the first shows by the second.
 */

import type { Prng } from '../../base/prng.js';
import { FaultKind, type SimulatedProcess } from '../../runtime/simulated/world.js';
import type { ClientMoment, Journal } from '../journal.js';
import type { SimulatedRack } from '../rack.js';

const LOOK_MS = 0.02;
/** So long it is waited for the flush that fails. */
const FAILS_MS_MAX = 80;
/** Until a node that was struck is there again. */
const BACK_MS_MAX = 4_000;
const BACK_LOOK_MS = 0.05;
const FLUSH_FAILS = 1_000_000;
/** In flushes. */
const LATE: readonly number[] = [0, 0.5, 1, 2, 3];
/** Until a node serves from a file that was opened anew, and clients have looked at it. */
const SEEN_AFTER_MS: readonly number[] = [10, 60, 200];
const ENDS_MS_MAX = 100;
const BETWEEN_MS = [5, 25] as const;

export class DiskBlows {
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #prng: Prng;
  readonly #usualRate: (kind: FaultKind) => number;
  #isWaiting = false;

  constructor(parts: {
    rack: SimulatedRack;
    journal: Journal;
    prng: Prng;
    usualRate: (kind: FaultKind) => number;
  }) {
    this.#rack = parts.rack;
    this.#journal = parts.journal;
    this.#prng = parts.prng;
    this.#usualRate = parts.usualRate;
  }

  /** One after the other, when all nodes serve, for as long as there are faults. */
  start(): void {
    const { world } = this.#rack;
    world.after(this.#prng.between(...BETWEEN_MS), () => {
      if (!world.faults.enabled) return;
      if (this.#rack.isComplete && !this.#isWaiting) this.#strike();
      this.start();
    });
  }

  #strike(): void {
    const choice = this.#prng.below(100);
    // Of what a client was just told of it may have been only in memory.
    if (choice < 25) this.#when('the end of a first flush', 0, () => this.#stopAll());
    else if (choice < 45) this.#when('a relocation', this.#late(), () => this.#stopAll());
    else if (choice < 53) this.#when('a flush', this.#late(), () => this.#stopAll());
    else if (choice < 68) this.#when('a relocation', this.#late(), () => this.#killAndStop());
    else if (choice < 84) this.#when('a flush', this.#underWay(), () => this.#failFlushes(true));
    else this.#when('a flush', 0, () => this.#failFlushes(false));
  }

  #late(): number {
    const { flushUs } = this.#rack.world.knobs;
    return this.#prng.fraction() * this.#prng.pick(LATE) * (flushUs / 1_000);
  }

  /** Until what a client has just begun is under way at its node. */
  #underWay(): number {
    const { flushUs, latencyNs } = this.#rack.world.knobs;
    return (latencyNs / 1e6) * (1 + this.#prng.fraction()) + this.#late() / 3 + flushUs / 5_000;
  }

  #when(moment: ClientMoment, lateMs: number, act: () => void): void {
    const { world } = this.#rack;
    this.#isWaiting = true;
    this.#journal.whenReached(moment, () => {
      this.#isWaiting = false;
      world.after(lateMs, () => this.#act(`a client has come to ${moment}`, act));
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
      this.#whenBack(node, process, false, () => world.after(lateMs, () => this.#stop(node)));
    }
  }

  #stop(node: number): void {
    this.#act(`n${node + 1} has begun again`, () => this.#rack.crashNode(node));
  }

  /** Calls back when another process is there, or serves. */
  #whenBack(
    node: number,
    before: SimulatedProcess | undefined,
    serves: boolean,
    act: () => void,
  ): void {
    const { world } = this.#rack;
    const startedMs = world.nowMs;
    const look = (): void => {
      if (!world.faults.enabled || world.nowMs - startedMs > BACK_MS_MAX) return;
      const process = this.#rack.nodeProcess(node);
      // It may not have noticed anything.
      const mayEnd = process === before && world.nowMs - startedMs < ENDS_MS_MAX;
      if (process === undefined || mayEnd || (serves && process.running === undefined)) {
        world.after(serves ? 1 : BACK_LOOK_MS, look);
      } else {
        act();
      }
    };
    look();
  }

  /**
   * One flush fails; at times the process that has asked for it dies before it is told so. When
   * the node serves again, and clients have looked at its memory, its machine stops.
   */
  #failFlushes(kills: boolean): void {
    const { world } = this.#rack;
    const { faults } = world;
    const kind = FaultKind.DiskFlushError;
    const before = faults.injected[kind];
    const processes = this.#nodes.map((node) => this.#rack.nodeProcess(node));
    faults.setRate(kind, FLUSH_FAILS);
    if (kills) for (const process of processes) if (process !== undefined) world.kill(process);
    const seenMs = this.#prng.pick(SEEN_AFTER_MS);
    const startedMs = world.nowMs;
    const look = (): void => {
      const isOver = world.nowMs - startedMs > FAILS_MS_MAX;
      if (!isOver && faults.injected[kind] === before) return world.after(LOOK_MS, look);
      faults.setRate(kind, this.#usualRate(kind));
      // Also where nobody noticed it: nothing was killed then.
      for (const node of this.#nodes) {
        this.#whenBack(node, processes[node], true, () =>
          world.after(seenMs, () => this.#stop(node)),
        );
      }
    };
    look();
  }
}
