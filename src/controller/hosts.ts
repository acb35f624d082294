/**
 * Hosts: the processes on using machines. They hold nothing that would have to survive, so they are
 * kept in memory only, and one that has been silent for long is forgotten.
 */
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { NODES_MAX } from '../wire/limits.js';
import { isReachable, isShownName } from './join-rules.js';
import { HOST_FORGOTTEN_MS } from './limits.js';
import { quote, refuseName } from './names.js';
import { ok, type Result, refuse } from './refusal.js';

export interface HostJoin {
  readonly id: string;
  readonly address: string;
  readonly pid: number;
  readonly machine: string;
}

/** A door of a host: where something is served to programs. */
export interface Door {
  /** Of `DoorKind`. */
  readonly kind: number;
  readonly address: string;
}

export interface KnownHost extends HostJoin {
  readonly state: 'serving' | 'away';
}

interface Seen {
  readonly host: HostJoin;
  readonly doors: Map<number, Door>;
  seenMs: number;
}

export class Hosts {
  readonly #clock: Clock;
  readonly #awayMs: number;
  readonly #hosts = new Map<string, Seen>();

  constructor(clock: Clock, awayMs: number) {
    this.#clock = clock;
    this.#awayMs = awayMs;
  }

  join(host: HostJoin): Result<object> {
    const wrongName = refuseName('host id', host.id);
    if (wrongName !== undefined) return wrongName;
    if (!isReachable(host.address) || !isShownName(host.machine)) {
      return refuse(Status.Invalid, `host ${quote(host.id)} has no usable address or machine name`);
    }
    this.#forgetOld();
    const before = this.#hosts.get(host.id);
    if (before !== undefined && !isSame(before.host, host) && this.#isServing(before)) {
      return refuse(
        Status.Exists,
        `a host ${quote(host.id)} is alive at ${before.host.address}: give this one another id`,
      );
    }
    if (before === undefined && this.#hosts.size >= NODES_MAX) {
      return refuse(Status.NoSpace, `the rack has ${NODES_MAX} hosts and takes no more`);
    }
    this.#hosts.set(host.id, { host, doors: new Map(), seenMs: this.#clock.now() });
    return ok({});
  }

  /** One of each kind. */
  noteDoor(id: string, door: Door): Result<object> {
    const seen = this.#hosts.get(id);
    if (seen === undefined) return refuse(Status.NotFound, `no host ${quote(id)} has joined`);
    if (!isReachable(door.address)) {
      return refuse(Status.Invalid, `a door of host ${quote(id)} has no usable address`);
    }
    seen.doors.set(door.kind, door);
    return ok({});
  }

  /** Of hosts that serve. */
  doors(): (Door & { readonly host: string })[] {
    return [...this.#hosts.values()].flatMap((seen) => {
      if (!this.#isServing(seen)) return [];
      return [...seen.doors.values()].map((door) => ({ ...door, host: seen.host.id }));
    });
  }

  /** False: it has to join. */
  heartbeat(id: string): boolean {
    const seen = this.#hosts.get(id);
    if (seen === undefined) return false;
    seen.seenMs = this.#clock.now();
    return true;
  }

  list(): KnownHost[] {
    this.#forgetOld();
    return [...this.#hosts.values()].map((seen) => ({
      ...seen.host,
      state: this.#isServing(seen) ? 'serving' : 'away',
    }));
  }

  #isServing(seen: Seen): boolean {
    return this.#clock.now() - seen.seenMs <= this.#awayMs;
  }

  #forgetOld(): void {
    for (const [id, { seenMs }] of this.#hosts) {
      if (this.#clock.now() - seenMs > HOST_FORGOTTEN_MS) this.#hosts.delete(id);
    }
  }
}

function isSame(a: HostJoin, b: HostJoin): boolean {
  return a.address === b.address && a.pid === b.pid && a.machine === b.machine;
}
