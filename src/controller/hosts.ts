/**
 * Hosts: the processes on using machines. They hold nothing that would have to survive, so they are
 * kept in memory only, and one that has been silent for long is forgotten.
 */
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { NODES_MAX } from '../wire/limits.js';
import { HOST_FORGOTTEN_MS } from './limits.js';
import { quote, refuseName } from './names.js';
import { isReachable, isShownName } from './join-rules.js';
import { ok, refuse, type Result } from './refusal.js';

export interface HostJoin {
  readonly id: string;
  readonly address: string;
  readonly pid: number;
  readonly machine: string;
}

export interface KnownHost extends HostJoin {
  readonly state: 'serving' | 'away';
}

interface Seen {
  readonly host: HostJoin;
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
    this.#hosts.set(host.id, { host, seenMs: this.#clock.now() });
    return ok({});
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
