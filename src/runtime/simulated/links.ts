/**
 * The wires between machines: how long a message travels, and who is cut off from whom.
 *
 * A message waits for the sender's link, travels, and waits for the receiver's link. What is on
 * its way over a cut wire is held by its owner (a stream) until `onHeal`, or lost (a datagram).
 */

import type { Prng } from '../../base/prng.js';
import { type Fault, FaultKind } from './faults.js';
import type { Kernel } from './kernel.js';
import type { Machine } from './task.js';

/** What travels over a wire. */
export type Carrier = 'stream' | 'datagram';

export class Links {
  readonly #kernel: Kernel;
  readonly #prng: Prng;
  /** From machine, to machine: the faults that cut the wire. */
  readonly #cuts: Map<string, Fault[]> = new Map();
  readonly #waiting: Map<string, Set<() => void>> = new Map();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#prng = kernel.prng.fork('links');
  }

  /** Nanoseconds from now until a message is there; takes its share of both links. */
  travelNs(from: Machine, to: Machine, bytes: number, connection: number): number {
    const { knobs } = this.#kernel;
    const slowness = Math.max(from.slowness, to.slowness);
    if (from === to) return this.#kernel.latencyNs(knobs.loopbackNs) * slowness;
    const nics =
      (from.nic?.chargeNs({ connection }) ?? 0) + (to.nic?.chargeNs({ connection }) ?? 0);
    const leftNs = this.#occupy(from, 'sendFreeNs', this.#kernel.nowNs, bytes);
    const arrivedNs = leftNs + this.#kernel.latencyNs(knobs.latencyNs) * slowness + nics;
    return this.#occupy(to, 'receiveFreeNs', arrivedNs, bytes) - this.#kernel.nowNs;
  }

  /**
   * When the link has passed the message on. A link is charged in the order of sending, so one
   * late message does not hold up those that overtake it: only what it takes is added.
   */
  #occupy(
    machine: Machine,
    side: 'sendFreeNs' | 'receiveFreeNs',
    fromNs: number,
    bytes: number,
  ): number {
    if (machine.bytesPerUs === 0) return fromNs;
    const takesNs = Math.ceil((bytes * 1_000) / machine.bytesPerUs);
    const queuedNs = Math.max(0, machine[side] - this.#kernel.nowNs);
    machine[side] = this.#kernel.nowNs + queuedNs + takesNs;
    return fromNs + queuedNs + takesNs;
  }

  /** The fault that keeps messages from coming through, if one does. */
  cut(from: Machine, to: Machine, carrier: Carrier = 'stream'): Fault | undefined {
    if (this.#cuts.size === 0) return undefined;
    return this.#cuts.get(wire(from, to))?.find((fault) => stops(fault, carrier));
  }

  /** Cuts the wire in this direction until `heal` is called with the same fault. */
  block(from: Machine, to: Machine, fault: Fault): void {
    const name = wire(from, to);
    const cuts = this.#cuts.get(name) ?? [];
    cuts.push(fault);
    this.#cuts.set(name, cuts);
  }

  heal(fault: Fault): void {
    for (const [name, cuts] of this.#cuts) {
      const left = cuts.filter((cut) => cut !== fault);
      if (left.length > 0) this.#cuts.set(name, left);
      else this.#cuts.delete(name);
      if (left.some((cut) => stops(cut, 'stream'))) continue;
      const waiting = [...(this.#waiting.get(name) ?? [])];
      this.#waiting.delete(name);
      for (const callback of waiting) callback();
    }
    this.#kernel.faults.end(fault);
  }

  /** Calls back, once, when the wire passes streams again. */
  onHeal(from: Machine, to: Machine, callback: () => void): void {
    const name = wire(from, to);
    const waiting = this.#waiting.get(name) ?? new Set();
    waiting.add(callback);
    this.#waiting.set(name, waiting);
  }

  /** Until a sender tries again what did not come through. */
  resendNs(): number {
    return this.#prng.below(200_000_000);
  }
}

function stops(fault: Fault, carrier: Carrier): boolean {
  if (fault.kind === FaultKind.StreamsCut) return carrier === 'stream';
  return fault.kind !== FaultKind.DatagramsCut || carrier === 'datagram';
}

function wire(from: Machine, to: Machine): string {
  return `${from.id}>${to.id}`;
}
