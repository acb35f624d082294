/**
 * The ways of a blocking thread to memory of this machine: per region the node's attachment and the
 * window, as the I/O thread has told them, good for as long as its version stays.
 */

import type { Window } from '../../fabric/link.js';
import { Attachment } from '../../fabric/shm/attachment.js';
import { OneSided } from '../../fabric/shm/one-sided.js';
import type { Runtime } from '../../runtime/runtime.js';
import { REGION_BYTES } from '../../wire/limits.js';
import type { Channel } from './channel.js';
import { Ask, BUSY, CLOSED, type RouteFacts } from './port.js';

/** Where there is no way it is asked for again after so many operations there. */
const ASK_AGAIN = 64;

export interface ThreadRoute {
  readonly region: number;
  version: number;
  /** The seat of its `steps`; -1: none. */
  seat: number;
  /** Undefined: everything goes by the I/O thread. */
  steps: OneSided | undefined;
  window: Window;
  /** Operations until the way is asked for again, although the version is the same. */
  patience: number;
}

interface Seat {
  readonly number: number;
  readonly attachment: Attachment;
  readonly steps: OneSided;
}

const NOTHING = (): void => undefined;

export class ThreadRoutes {
  /** The one that was used last; a region that cannot be before that. */
  last: ThreadRoute;
  readonly #runtime: Runtime;
  readonly #channel: Channel;
  readonly #space: number;
  readonly #routes = new Map<number, ThreadRoute>();
  readonly #seats = new Map<number, Seat>();

  constructor(runtime: Runtime, channel: Channel, space: number) {
    this.#runtime = runtime;
    this.#channel = channel;
    this.#space = space;
    this.last = this.#none(-1);
  }

  #none(region: number): ThreadRoute {
    const window = { space: this.#space, id: 0, epoch: 0 };
    return { region, version: CLOSED, seat: -1, steps: undefined, window, patience: 0 };
  }

  /** Of the address; `last` from now on. */
  to(address: number): ThreadRoute {
    const region = Math.floor(address / REGION_BYTES);
    if (this.last.region === region) return this.last;
    let route = this.#routes.get(region);
    if (route === undefined) {
      route = this.#none(region);
      this.#routes.set(region, route);
    }
    this.last = route;
    return route;
  }

  /**
   * After the route could not be used: asks for what is known now where that may be something else;
   * true: it may be tried again. The channel is prepared.
   */
  isRenewed(route: ThreadRoute): boolean {
    if (route.version === this.#channel.version && route.patience > 0) {
      route.patience -= 1;
      return false;
    }
    const { steps } = route;
    const { id, epoch } = route.window;
    this.#ask(route);
    route.patience = ASK_AGAIN;
    if (route.steps === undefined) return false;
    const isOther = id !== route.window.id || epoch !== route.window.epoch;
    return isOther || steps !== route.steps;
  }

  #ask(route: ThreadRoute): void {
    const channel = this.#channel;
    const before = route.seat;
    route.steps = undefined;
    route.seat = -1;
    // Read before the question, so that no change after the answer goes unseen.
    route.version = channel.version;
    if (!channel.ask(Ask.Route, route.region)) return;
    const { text } = channel;
    if (text === '' || channel.failure('route') !== undefined) return this.#leave(before);
    const facts = JSON.parse(text) as RouteFacts;
    const seat = this.#seatOf(facts, route.version);
    if (seat === undefined) return;
    route.seat = facts.seat;
    route.window = { space: this.#space, id: facts.window.id, epoch: facts.window.epoch };
    route.steps = seat.steps;
  }

  #seatOf(facts: RouteFacts, version: number): Seat | undefined {
    const known = this.#seats.get(facts.seat);
    if (known?.number === facts.number) return known;
    this.#leave(facts.seat);
    const opened = this.#open(facts, version);
    if (opened === undefined) return undefined;
    if (typeof opened === 'string') {
      this.#channel.ask(Ask.Unusable, facts.seat, facts.number);
      return undefined;
    }
    const { memory } = this.#runtime;
    const steps = new OneSided(opened, memory, NOTHING);
    const seat: Seat = { number: facts.number, attachment: opened, steps };
    this.#seats.set(facts.seat, seat);
    return seat;
  }

  /** Gives the node's files up: it may be gone, and nobody has its memory as long as we hold it. */
  #leave(index: number): void {
    const seat = this.#seats.get(index);
    if (seat === undefined) return;
    this.#seats.delete(index);
    for (const route of this.#routes.values()) {
      if (route.seat !== index) continue;
      route.seat = -1;
      route.steps = undefined;
      route.version = CLOSED;
    }
    seat.attachment.release();
  }

  /** Undefined: the slot may be ours no more. */
  #open(facts: RouteFacts, version: number): Attachment | string | undefined {
    const { words } = this.#channel;
    const { client, memoryId } = facts;
    // Opening stores into our slot, as a step does.
    Atomics.store(words, BUSY, 1);
    try {
      if (this.#channel.version !== version) return undefined;
      const { identity } = this.#runtime.processes;
      return Attachment.open(this.#runtime, facts, { client, memoryId, identity });
    } finally {
      Atomics.store(words, BUSY, 0);
    }
  }

  /** Gives up what is held of the nodes' files: no step is made any more. */
  close(): void {
    for (const { attachment } of this.#seats.values()) attachment.release();
    this.#seats.clear();
    this.#routes.clear();
    this.last = this.#none(-1);
  }
}
