/**
 * Hosts: the processes on using machines. They hold nothing that would have to survive, so they are
 * kept in memory only, and one that has been silent for long is forgotten.
 */
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { DEVICE_TIME_BUCKETS, NODES_MAX } from '../wire/limits.js';
import type { DeviceReport } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import { LEASES_PER_RACK_MAX as DEVICES_MAX } from '../leases/limits.js';
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

export type Note = Fields<typeof DeviceReport>;

/** What a host told last of a device. */
export interface DeviceNote {
  readonly host: string;
  /** That was a moment ago. */
  readonly isThere: boolean;
  readonly told: Note;
  /** What it told the last time before that, and how long before. */
  readonly before?: { readonly told: Note; readonly ms: number } | undefined;
}

/** The part of a host's devices that it tells of. */
export interface DeviceNotes {
  readonly after: number;
  readonly upTo: number;
  readonly devices: readonly Note[];
}

interface Told {
  readonly told: Note;
  readonly atMs: number;
  readonly before: DeviceNote['before'];
}

interface Seen {
  readonly host: HostJoin;
  readonly doors: Map<number, Door>;
  /** By number. */
  readonly devices: Map<number, Told>;
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
    const seenMs = this.#clock.now();
    this.#hosts.set(host.id, { host, doors: new Map(), devices: new Map(), seenMs });
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

  /** Of devices that it does not tell of it has let go. */
  noteDevices(id: string, { after, upTo, devices }: DeviceNotes): Result<object> {
    const seen = this.#hosts.get(id);
    if (seen === undefined) return refuse(Status.NotFound, `no host ${quote(id)} has joined`);
    const before = new Map(seen.devices);
    for (const device of before.keys()) {
      if (device > after && device <= upTo) seen.devices.delete(device);
    }
    const atMs = this.#clock.now();
    for (const told of devices) {
      const isWhole = [told.readTimes, told.writeTimes].every(
        ({ length }) => length === DEVICE_TIME_BUCKETS + 1,
      );
      if (!isWhole) return refuse(Status.Invalid, 'times of devices have other buckets here');
      if (seen.devices.size >= DEVICES_MAX) break;
      const last = before.get(told.device);
      const ms = atMs - (last?.atMs ?? atMs);
      const isNext = last !== undefined && ms > 0;
      const earlier = isNext ? { told: last.told, ms } : last?.before;
      seen.devices.set(told.device, { told, atMs, before: earlier });
    }
    return ok({});
  }

  /** By number, the word of whom holds it under the last epoch; of hosts that are there first. */
  devices(): Map<number, DeviceNote> {
    this.#forgetOld();
    const notes = new Map<number, DeviceNote>();
    for (const seen of this.#hosts.values()) {
      for (const [device, { told, atMs, before }] of seen.devices) {
        const isThere = this.#isServing(seen) && this.#clock.now() - atMs <= this.#awayMs;
        const note = { host: seen.host.id, isThere, told, before };
        if (isBetter(note, notes.get(device))) notes.set(device, note);
      }
    }
    return notes;
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

function isBetter(a: DeviceNote, b: DeviceNote | undefined): boolean {
  if (b === undefined || a.isThere !== b.isThere) return b === undefined || a.isThere;
  return a.told.epoch > b.told.epoch;
}

function isSame(a: HostJoin, b: HostJoin): boolean {
  return a.address === b.address && a.pid === b.pid && a.machine === b.machine;
}
