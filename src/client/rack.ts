/**
 * A rack, as a program sees it after `connect`: its spaces, its directory of files, its members.
 *
 * The same code runs in real programs and in the simulator: the world comes in as `runtime`.
 */

import { exposition } from '../base/exposition.js';
import { Status } from '../base/status.js';
import { createCounters } from '../fabric/counters.js';
import { createEndpoint } from '../fabric/endpoint.js';
import { sleep } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType, SpaceKind } from '../wire/messages.js';
import { badName } from './arguments.js';
import { clientFabric } from './client-fabric.js';
import { clientMetrics } from './client-metrics.js';
import { Connections, type Fabric } from './connections.js';
import { Control, type Member } from './control.js';
import type { RackCounters } from './counters.js';
import { closed, MemrackError, unawaited, unsupported } from './error.js';
import { FileDirectory } from './files.js';
import type { Lease } from './lease.js';
import { type LeaseOptions, Leases } from './leases.js';
import { Agenda } from './locks/agenda.js';
import { type NodeNumbers, NodeWatch } from './node-watch.js';
import { badOptions, type ConnectOptions, parseRackUrl, TIMEOUT_MS_DEFAULT } from './options.js';
import { RemoteSpace } from './space.js';
import type { RangeWindow } from './window.js';
import { decodeToken } from './window-token.js';

export interface SpaceOptions {
  /** Make it if there is none. Otherwise `NotFound`. */
  readonly create?: boolean;
  /** `dram` (default): gone with its memory node. `persistent`: on disks, see `Space.flush`. */
  readonly kind?: 'dram' | 'persistent';
  /** Of a space that is created: 64 KiB to 1 GiB, a power of two. Default: that of the rack. */
  readonly pageBytes?: number;
}

export interface SpaceSummary {
  readonly name: string;
  readonly id: number;
  readonly kind: 'dram' | 'persistent';
  readonly pageBytes: number;
  /** Regions of 1 GiB that are granted to it. */
  readonly regions: number;
  readonly state: 'serving' | 'removing';
}

const JOIN_POLL_MS = 100;
const GIVE_BACK_MS = 5_000;
const CONNECT_MS_MAX = 5000;
/** A node that is away gets it back another time: somebody waits. */
const FREE_GARBAGE_MS = 2000;

/** What stands on the core of a client shares with it: devices, stores. */
export interface RackCore {
  readonly runtime: Runtime;
  readonly control: Control;
  readonly connections: Connections;
  readonly leases: Leases;
}

interface RackParts {
  readonly runtime: Runtime;
  readonly fabric: Fabric;
  readonly control: Control;
  readonly timeoutMs: number;
  readonly url: string;
  /** By which nodes know this client. */
  readonly clientId?: number;
}

export class Rack {
  readonly url: string;
  /** Whole files by key. */
  readonly files: FileDirectory;
  readonly #runtime: Runtime;
  readonly #fabric: Fabric;
  readonly #control: Control;
  readonly #connections: Connections;
  readonly #timeoutMs: number;
  readonly #agenda: Agenda;
  readonly #spaces = new Map<number, RemoteSpace>();
  readonly #leases: Leases;
  readonly #watch: NodeWatch;
  #isClosed = false;
  /** Of what was given back, when it was closed. */
  #left: number | undefined;

  constructor(parts: RackParts) {
    this.url = parts.url;
    this.#runtime = parts.runtime;
    this.#fabric = parts.fabric;
    this.#control = parts.control;
    this.#timeoutMs = parts.timeoutMs;
    this.#connections = new Connections(parts.fabric);
    this.#agenda = new Agenda(parts.runtime.clock, parts.runtime.timers);
    const { runtime, control, timeoutMs, clientId = 0 } = parts;
    const connections = this.#connections;
    const { clock } = runtime;
    this.#watch = new NodeWatch({ clock, peer: (address) => parts.fabric.peer(address) });
    this.#leases = new Leases({ runtime, control, connections, clientId, timeoutMs });
    this.files = new FileDirectory(runtime, control, timeoutMs, async (place) => {
      const space = await this.spaceOf(place.space);
      await space.freeGarbage(place.address, place.length, Math.min(timeoutMs, FREE_GARBAGE_MS));
    });
  }

  /** @internal */
  get core(): RackCore {
    return {
      runtime: this.#runtime,
      control: this.#control,
      connections: this.#connections,
      leases: this.#leases,
    };
  }

  /** Opens the space of this name, shared with every other process that opens it. */
  space(name: string, options: SpaceOptions = {}): Promise<RemoteSpace> {
    return unawaited(this.#space(name, options));
  }

  async #space(name: string, options: SpaceOptions): Promise<RemoteSpace> {
    this.#checkOpen();
    const wrong = badName('space', name);
    if (wrong !== undefined) throw wrong;
    const { kind } = options;
    if (kind !== undefined && kind !== 'dram' && kind !== 'persistent') {
      const remedy = "use the kind 'dram' or 'persistent'";
      throw new MemrackError('Invalid', `there is no kind '${String(kind)}'`, { remedy });
    }
    const request = {
      create: options.create === true ? 1 : 0,
      kind: kind === 'persistent' ? SpaceKind.PERSISTENT : SpaceKind.DRAM,
      pageBytes: options.pageBytes ?? 0,
      name,
    };
    const what = `opening the space ${name}`;
    const deadline = this.#deadline();
    for (;;) {
      const reply = await this.#control.demand(what, MessageType.OpenSpace, request, deadline);
      this.#checkOpen();
      const isPersistent = reply.kind === SpaceKind.PERSISTENT;
      if (kind !== undefined && (kind === 'persistent') !== isPersistent) {
        const is = isPersistent ? 'persistent' : 'dram';
        throw new MemrackError('Conflict', `${what}: it is of the kind '${is}', not '${kind}'`);
      }
      if (reply.pageBytes !== 0) {
        return this.#opened(name, reply.space, reply.pageBytes, isPersistent);
      }
      await this.#waitForNode(what, reply.space, isPersistent, deadline);
    }
  }

  /** The page size of a space is that of its first region, which takes a node that has joined. */
  async #waitForNode(
    what: string,
    space: number,
    isPersistent: boolean,
    deadline: number,
  ): Promise<void> {
    const granted = await this.#control.grant(space, { count: 1, bytes: 0, near: '' }, deadline);
    if (granted.status === Status.Ok) return;
    if (this.#runtime.clock.now() + JOIN_POLL_MS >= deadline) {
      const memory = isPersistent ? '--persistent FILE --create --memory SIZE' : '--memory SIZE';
      const remedy = `start a memory node: memrack memory-node --join ADDRESS ${memory}`;
      const why = granted.reason === '' ? 'no memory node serves' : granted.reason;
      throw new MemrackError('Unavailable', `${what}: ${why}`, { remedy });
    }
    await sleep(this.#runtime.timers, JOIN_POLL_MS);
  }

  /** The space that a file lies in, by the number in its entry. */
  async spaceOf(id: number): Promise<RemoteSpace> {
    const known = this.#spaces.get(id);
    if (known !== undefined) return known;
    for (const space of await this.#listSpaces()) {
      if (space.id !== id) continue;
      return this.#opened(space.name, id, space.pageBytes, space.kind === 'persistent');
    }
    const remedy = 'it was removed: put the data again';
    throw new MemrackError('NotFound', `there is no space number ${id}`, { remedy });
  }

  /**
   * A window that another process has opened and handed over as its `token`. `Invalid` when the
   * text is no token; `NotFound` when its space was removed.
   */
  window(token: string): Promise<RangeWindow> {
    return unawaited(this.#window(token));
  }

  async #window(token: string): Promise<RangeWindow> {
    this.#checkOpen();
    const facts = decodeToken(token);
    if (facts instanceof MemrackError) throw facts;
    const space = await this.spaceOf(facts.space);
    return space.windowOf(facts);
  }

  #opened(name: string, id: number, pageBytes: number, isPersistent: boolean): RemoteSpace {
    const known = this.#spaces.get(id);
    if (known !== undefined) return known;
    const space = new RemoteSpace({
      runtime: this.#runtime,
      control: this.#control,
      connections: this.#connections,
      isPersistent,
      name,
      id,
      pageBytes,
      timeoutMs: this.#timeoutMs,
      agenda: this.#agenda,
    });
    this.#spaces.set(id, space);
    return space;
  }

  /**
   * Holds the lease of this name over a set of memory nodes: until it is released or lost nobody
   * else does, and what others had under way through its windows counts no more. `Conflict` while
   * somebody holds it, `Unavailable` while a node of the set cannot be reached.
   */
  lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    if (this.#isClosed) return unawaited(Promise.reject(closed('the rack was closed')));
    return this.#leases.acquire(name, options);
  }

  spaces(): Promise<SpaceSummary[]> {
    return unawaited(this.#listSpaces());
  }

  async #listSpaces(): Promise<SpaceSummary[]> {
    this.#checkOpen();
    const found: SpaceSummary[] = [];
    for (let after = ''; ; ) {
      const type = MessageType.ListSpaces;
      const deadline = this.#deadline();
      const reply = await this.#control.demand('listing spaces', type, { after }, deadline);
      for (const { name, space, kind, pageBytes, regions, removing } of reply.spaces) {
        found.push({
          name,
          id: space,
          kind: kind === SpaceKind.PERSISTENT ? 'persistent' : 'dram',
          pageBytes,
          regions,
          state: removing === 1 ? 'removing' : 'serving',
        });
      }
      const last = reply.spaces.at(-1);
      if (reply.more === 0 || last === undefined) return found;
      after = last.name;
    }
  }

  /** Removes a space and all that is in it, for everybody. */
  removeSpace(name: string): Promise<void> {
    return unawaited(this.#removeSpace(name));
  }

  async #removeSpace(name: string): Promise<void> {
    this.#checkOpen();
    const wrong = badName('space', name);
    if (wrong !== undefined) throw wrong;
    const type = MessageType.RemoveSpaceByName;
    await this.#control.demand(`removing the space ${name}`, type, { name }, this.#deadline());
  }

  /** Not in this version. `files` holds whole values by key meanwhile. */
  store(_name: string, _options?: object): Promise<never> {
    const remedy = 'keep values in rack.files, or in a space, meanwhile';
    return unawaited(Promise.reject(unsupported('store', remedy)));
  }

  /** The memory nodes and hosts. */
  nodes(): Promise<Member[]> {
    return unawaited(this.#nodes());
  }

  async #nodes(): Promise<Member[]> {
    this.#checkOpen();
    return this.#control.members(this.#deadline());
  }

  /**
   * What the memory nodes count, of those that serve, each asked for `timeoutMs` at most. For tools
   * that look now and then; docs/metrics.md says what the numbers mean.
   */
  nodeNumbers(timeoutMs = 1_000): Promise<NodeNumbers[]> {
    return unawaited(this.#nodes().then((members) => this.#watch.read(members, timeoutMs)));
  }

  /** Health of the rack: what `memrack status -o json` prints. */
  status(): Promise<unknown> {
    return unawaited(this.#status());
  }

  async #status(): Promise<unknown> {
    this.#checkOpen();
    const type = MessageType.RackStatus;
    const reply = await this.#control.demand('rack status', type, {}, this.#deadline());
    return JSON.parse(reply.json) as unknown;
  }

  /**
   * What this client has counted since `connect`, and how its links stand: connections, retries,
   * losses, windows and delays. A copy; good for metrics of the program.
   */
  counters(): RackCounters {
    const counts = this.#fabric.counts?.() ?? { streams: createCounters() };
    return { ...counts, links: [...this.#connections.links()] };
  }

  /**
   * The same as text in the format of Prometheus, for a program that serves its own `/metrics`; one
   * rack per process, because nothing in it names the rack.
   */
  metrics(): string {
    return exposition(clientMetrics(this.counters()));
  }

  /** Allocations that failed while a node was away, and that it may have; they are given back. */
  get givingBack(): number {
    return this.#left ?? this.#abandoned.length;
  }

  get #abandoned(): Promise<void>[] {
    return [...this.#spaces.values()].flatMap((space) => space.abandoned);
  }

  /**
   * Ends this client. Everything that is still under way rejects with `Closed`. What is being given
   * back to a node that is away is waited for, 5 s at most: `givingBack` says what may stay
   * allocated after that. Idempotent.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#leases.close();
    await Promise.all([...this.#spaces.values()].map((space) => space.closeBlocking()));
    this.#agenda.close();
    this.#watch.close();
    for (const space of this.#spaces.values()) space.close();
    await this.#giveBack();
    this.#connections.close();
    await this.#fabric.close();
  }

  async #giveBack(): Promise<void> {
    const all = this.#abandoned;
    if (all.length > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#runtime.timers.after(GIVE_BACK_MS, resolve);
        void Promise.all(all).then(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    this.#left = this.#abandoned.length;
  }

  #deadline(): number {
    return this.#runtime.clock.now() + this.#timeoutMs;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed('the rack was closed');
  }
}

/**
 * Connects to the rack whose controller listens at `url`. Rejects with `Unavailable` when none
 * answers within the timeout, or within 5 s where that is longer.
 */
export async function connectRack(
  runtime: Runtime,
  url: string,
  options: ConnectOptions = {},
): Promise<Rack> {
  const address = parseRackUrl(url);
  if (address instanceof MemrackError) throw address;
  const wrong = badOptions(options);
  if (wrong !== undefined) throw wrong;
  const endpoint = createEndpoint(runtime, {});
  const fabric = clientFabric(runtime, endpoint, options);
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
  const control = new Control(runtime, fabric.peer(address), url);
  const { clientId } = endpoint;
  const rack = new Rack({ runtime, fabric, control, timeoutMs, url, clientId });
  try {
    const deadline = runtime.clock.now() + Math.min(timeoutMs, CONNECT_MS_MAX);
    await control.members(deadline, 'connecting');
  } catch (error) {
    await rack.close();
    throw error;
  }
  return rack;
}
