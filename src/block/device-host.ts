/**
 * The devices that a host serves: each is opened when somebody asks for it, and its lease given up
 * when nobody has used it for a while, so that another host can have it.
 */

import { Status } from '../base/status.js';
import type { Timer } from '../runtime/clock.js';
import { type DeviceReport, MessageType } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import { CopyPace } from './copy-pace.js';
import { DeviceCounters } from './device-counters.js';
import { factsOf } from './device-options.js';
import { FairShare } from './fair-share.js';
import { openDevice, PATIENCE_MS } from './open-device.js';
import { ServedDevice } from './served-device.js';
import type { DeviceWorld, NumberedDevice } from './world.js';

/** Between the last connection that leaves and the end of the lease. */
const LINGER_MS = 2_000;
const ASK_MS = 5_000;
/** How long somebody who asks for a device waits for its lease; a handshake waits 10 s. */
const BEGIN_MS = 8_000;
/** Between looks at what devices are allowed. */
const LOOK_MS = 2_000;
/** Devices whose counters go on when they are served again. */
const COUNTERS_MAX = 4_096;

interface Served {
  readonly facts: NumberedDevice;
  readonly device: ServedDevice;
  users: number;
  linger: Timer | undefined;
}

export class DeviceHost {
  readonly #world: DeviceWorld;
  readonly #served = new Map<string, Served>();
  /** By number, the one that was begun last at the end. */
  readonly #counters = new Map<number, DeviceCounters>();
  /** Devices whose end is not over. */
  readonly #closing = new Set<Promise<void>>();
  #isClosed = false;
  #isLooking = false;
  readonly #fairShare: FairShare;

  constructor(world: Omit<DeviceWorld, 'pace'>) {
    const { clock, timers } = world.runtime;
    const pace = new CopyPace({ clock, timers, uses: () => this.#uses() });
    this.#world = { ...world, pace };
    this.#fairShare = new FairShare(clock, timers);
  }

  /**
   * A device that is ready, until `letGo`; or why there is none. With a number: that one, and no
   * later one of the same name.
   */
  async use(name: string, device?: number): Promise<ServedDevice | Status> {
    const facts = await this.#facts(name);
    if (typeof facts === 'number') return facts;
    if (device !== undefined && facts.device !== device) return Status.NotFound;
    if (this.#isClosed) return Status.Closed;
    const served = this.#servedAs(facts);
    served.device.allow(facts.allowance ?? {});
    served.users += 1;
    this.#look();
    served.linger?.cancel();
    const status = await served.device.begin(BEGIN_MS);
    if (status === Status.Ok) {
      // Clients that come now are told what it is now.
      if (facts.bytes !== served.device.bytes) {
        await served.device.measure(() => this.#bytesOf(served.facts));
      }
      return served.device;
    }
    this.letGo(served.device);
    return status;
  }

  #servedAs(facts: NumberedDevice): Served {
    const known = this.#served.get(facts.name);
    if (known?.facts.device === facts.device) return known;
    const { clock, timers } = this.#world.runtime;
    const counters = this.#countersOf(facts.device);
    const device = new ServedDevice({
      ...{ clock, timers, bytes: facts.bytes, isBackedUp: facts.isBackedUp === true },
      open: () => openDevice(this.#world, facts, counters.slabs),
      patienceMs: PATIENCE_MS,
      counters,
      fairShare: this.#fairShare,
    });
    const served = { facts, device, users: 0, linger: undefined };
    // One of that name that was removed ends by itself: its rows are refused.
    this.#served.set(facts.name, served);
    return served;
  }

  /** As long as devices are used: what they are allowed may be another by now. */
  #look(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#world.runtime.timers.after(LOOK_MS, () => {
      void this.#lookNow().finally(() => {
        this.#isLooking = false;
        if (!this.#isClosed && this.#inUse().length > 0) this.#look();
      });
    });
  }

  async #lookNow(): Promise<void> {
    for (const { facts, device } of this.#inUse()) {
      const now = await this.#facts(facts.name);
      if (this.#isClosed) return;
      if (typeof now === 'number' || now.device !== facts.device) continue;
      device.allow(now.allowance ?? {});
    }
  }

  #inUse(): Served[] {
    return [...this.#served.values()].filter(({ users }) => users > 0);
  }

  #uses(): number {
    let uses = 0;
    for (const counters of this.#counters.values()) uses += counters.uses;
    return uses;
  }

  /** What was counted before goes on. */
  #countersOf(device: number): DeviceCounters {
    const counters = this.#counters.get(device) ?? new DeviceCounters();
    this.#counters.delete(device);
    this.#counters.set(device, counters);
    for (const [longest] of this.#counters) {
      if (this.#counters.size <= COUNTERS_MAX) break;
      this.#counters.delete(longest);
    }
    return counters;
  }

  /** Of the devices that are served now, or wait for their lease. */
  reports(): Fields<typeof DeviceReport>[] {
    return [...this.#served.values()].map(({ facts, device }) => device.report(facts.device));
  }

  letGo(device: ServedDevice): void {
    const served = [...this.#served.values()].find((one) => one.device === device);
    if (served === undefined) {
      void device.close();
      return;
    }
    served.users -= 1;
    if (served.users > 0) return;
    served.linger = this.#world.runtime.timers.after(LINGER_MS, () => {
      if (served.users > 0) return;
      if (this.#served.get(served.facts.name) === served) this.#served.delete(served.facts.name);
      const closing = device.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    });
  }

  /** All devices of the rack; undefined where the controller does not say. */
  async list(): Promise<readonly NumberedDevice[] | undefined> {
    const { control, runtime } = this.#world;
    const all: NumberedDevice[] = [];
    for (let after = ''; ; ) {
      const deadline = runtime.clock.now() + ASK_MS;
      const reply = await control.call(MessageType.ListDevices, { after }, deadline);
      if (reply.status !== Status.Ok) return undefined;
      all.push(...reply.devices.map(factsOf));
      after = all.at(-1)?.name ?? '';
      if (reply.more === 0 || reply.devices.length === 0) return all;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#served.values()];
    this.#served.clear();
    for (const { linger } of all) linger?.cancel();
    await Promise.all([...all.map(({ device }) => device.close()), ...this.#closing]);
  }

  async #bytesOf({ name, device }: NumberedDevice): Promise<number | undefined> {
    const facts = await this.#facts(name);
    return typeof facts !== 'number' && facts.device === device ? facts.bytes : undefined;
  }

  async #facts(name: string): Promise<NumberedDevice | Status> {
    const { control, runtime } = this.#world;
    const deadline = runtime.clock.now() + ASK_MS;
    const reply = await control.call(MessageType.OpenDevice, { name }, deadline);
    if (reply.status !== Status.Ok) return reply.status;
    return factsOf(reply);
  }
}
