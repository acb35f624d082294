/**
 * A rack for tests of the client: a clock that is moved by hand, memory nodes that execute what
 * was sent in order when told to, and a controller in a few lines. Every refusal can be ordered.
 */

import { assert } from '../../base/assert.js';
import { type Outcome, Status } from '../../base/status.js';
import {
  type CompletionSink,
  type Link,
  NOT_NOW,
  type Peer,
  type Window,
} from '../../fabric/link.js';
import type { Timer } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { REGION_BYTES } from '../../wire/limits.js';
import { AllocFlag, MessageType, NodeState } from '../../wire/messages.js';
import type { Fabric } from '../connections.js';
import type { FakeTogether } from './fake-together.js';
import { FakeWindows } from './fake-windows.js';

type Reply = Record<string, unknown> & { readonly status: Status };
type AnyCall = (type: number, request: never) => Reply;

/** Lets promises and what they cause run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

export class FakeWorld {
  now = 1000;
  #timers: { at: number; callback: () => void }[] = [];

  get timersWaiting(): number {
    return this.#timers.length;
  }

  /** Moves time, and runs what is due on the way. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const next = this.#timers
        .filter(({ at }) => at <= end)
        .sort((a, b) => a.at - b.at)
        .at(0);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.now = Math.max(this.now, next.at);
      next.callback();
    }
    this.now = end;
    await settle();
  }

  get runtime(): Runtime {
    const world = {
      clock: { now: () => this.now, wall: () => this.now },
      entropy: { u32: () => 41, u53: () => 41, fraction: () => 0.5 },
      timers: {
        after: (ms: number, callback: () => void): Timer => {
          const timer = { at: this.now + ms, callback };
          this.#timers.push(timer);
          return {
            cancel: () => {
              this.#timers = this.#timers.filter((other) => other !== timer);
            },
          };
        },
        soon: (callback: () => void) => void Promise.resolve().then(callback),
      },
    };
    return world as unknown as Runtime;
  }
}

const CHUNK_BYTES = 64 * 1024;

const wide = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low);

interface Sent {
  readonly what: string;
  readonly address: number;
  readonly execute: () => void;
}

interface Allocation {
  readonly address: number;
  readonly bytes: number;
  readonly nonce: number;
  flags: number;
}

interface AllocRequest {
  readonly region: number;
  readonly bytes: number;
  readonly wish: number;
  readonly flags: number;
  readonly nonce: number;
}

const ANY: Window = { space: 0, id: 0, epoch: 0 };

/** One memory node. Nothing sent takes effect before `execute` (or with `isPrompt`, soon). */
export class FakeNode implements Link {
  readonly id: string;
  readonly mayStep = true;
  readonly allocations = new Map<number, Allocation>();
  readonly log: string[] = [];
  /** Touched pages of `CHUNK_BYTES`, by number. A piece never crosses one. */
  readonly memory = new Map<number, Uint8Array>();
  readonly lostRegions = new Set<number>();
  isPrompt = true;
  isClosed = false;
  /** Statuses for the next operations of a kind, in order; then `Ok`. */
  readonly orders = new Map<string, { status: Status; outcome: Outcome }[]>();
  /** Those that were not ended. */
  readonly reservations = new Set<number>();
  /** The reservation that each write names. */
  readonly paid: number[] = [];
  #sent: Sent[] = [];
  #isScheduled = false;

  constructor(id: string) {
    this.id = id;
  }

  get waiting(): number {
    return this.#sent.length;
  }

  awaits(): boolean {
    return this.#sent.length > 0;
  }

  giveBack(): void {}

  order(what: string, status: Status, outcome: Outcome = 'notApplied'): void {
    const orders = this.orders.get(what) ?? [];
    orders.push({ status, outcome });
    this.orders.set(what, orders);
  }

  execute(count = Number.MAX_SAFE_INTEGER): void {
    for (let i = 0; i < count; i++) {
      const next = this.#sent.shift();
      if (next === undefined) return;
      this.log.push(`${next.what} ${next.address}`);
      next.execute();
    }
  }

  #send(what: string, address: number, execute: () => void): void {
    this.#sent.push({ what, address, execute });
    if (!this.isPrompt || this.#isScheduled) return;
    this.#isScheduled = true;
    void Promise.resolve().then(() => {
      this.#isScheduled = false;
      if (this.isPrompt) this.execute();
    });
  }

  /** Sends an operation whose effect is `apply`, which returns the old value of an atomic. */
  #operate(
    what: string,
    window: Window,
    address: number,
    sink: CompletionSink,
    token: number,
    apply: () => bigint,
  ): void {
    this.#send(what, address, () => {
      const order = this.orders.get(what)?.shift();
      if (order !== undefined && order.status !== Status.Ok) {
        sink.completed(token, order.status, order.outcome, 0, 0);
        return;
      }
      const status = this.windows.statusOf(window, address);
      if (status !== Status.Ok) {
        sink.completed(token, status, 'notApplied', 0, 0);
        return;
      }
      const old = apply();
      sink.completed(token, Status.Ok, 'applied', Number(old & 0xffffffffn), Number(old >> 32n));
    });
  }

  readonly windows = new FakeWindows();

  /** Does at once what nothing that was sent before it keeps waiting. */
  isAtOnce = false;
  /** By default it does only one at once. */
  together?: FakeTogether;
  resultLow = 0;
  resultHigh = 0;

  #now(what: string, window: Window, address: number, apply: () => bigint): number {
    if (!this.isAtOnce || this.#sent.length > 0) return NOT_NOW;
    if (this.windows.statusOf(window, address) !== Status.Ok) return NOT_NOW;
    this.log.push(`${what} ${address}`);
    const order = this.orders.get(what)?.shift();
    if (order !== undefined) return order.status;
    const old = apply();
    this.resultLow = Number(old & 0xffffffffn);
    this.resultHigh = Number(old >> 32n);
    return Status.Ok;
  }

  readNow(window: Window, address: number, into: Uint8Array, start: number, bytes: number) {
    return this.#now('readNow', window, address, () => this.#load(address, into, start, bytes));
  }

  writeNow(window: Window, address: number, from: Uint8Array, start: number, bytes: number) {
    return this.#now('writeNow', window, address, () => {
      this.#touch(address).set(from.subarray(start, start + bytes), address % CHUNK_BYTES);
      return 0n;
    });
  }

  compareAndSwapNow(
    window: Window,
    address: number,
    expectedLow: number,
    expectedHigh: number,
    desiredLow: number,
    desiredHigh: number,
  ): number {
    return this.#now('compareAndSwapNow', window, address, () =>
      this.#swap(address, wide(expectedLow, expectedHigh), wide(desiredLow, desiredHigh)),
    );
  }

  fetchAndAddNow(window: Window, address: number, deltaLow: number, deltaHigh: number): number {
    return this.#now('fetchAndAddNow', window, address, () =>
      this.#add(address, wide(deltaLow, deltaHigh)),
    );
  }

  openWindow(space: number): Promise<Window | Status> {
    const order = this.orders.get('openWindow')?.shift();
    if (order !== undefined && order.status !== Status.Ok) return Promise.resolve(order.status);
    return Promise.resolve({ space, id: 1, epoch: 1 });
  }

  read(
    window: Window,
    address: number,
    into: Uint8Array,
    intoStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#operate('read', window, address, sink, token, () =>
      this.#load(address, into, intoStart, bytes),
    );
  }

  #load(address: number, into: Uint8Array, start: number, bytes: number): bigint {
    const found = this.memory.get(Math.floor(address / CHUNK_BYTES));
    const offset = address % CHUNK_BYTES;
    into.fill(0, start, start + bytes);
    if (found !== undefined) into.set(found.subarray(offset, offset + bytes), start);
    return 0n;
  }

  write(
    window: Window,
    address: number,
    from: Uint8Array,
    fromStart: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
    _deadline: number,
    reservation = 0,
  ): void {
    this.#operate('write', window, address, sink, token, () => {
      this.paid.push(reservation);
      const piece = from.subarray(fromStart, fromStart + bytes);
      this.#touch(address).set(piece, address % CHUNK_BYTES);
      return 0n;
    });
  }

  #touch(address: number): Uint8Array {
    const number = Math.floor(address / CHUNK_BYTES);
    const found = this.memory.get(number) ?? new Uint8Array(CHUNK_BYTES);
    this.memory.set(number, found);
    return found;
  }

  #view(address: number): DataView {
    return new DataView(this.#touch(address).buffer, address % CHUNK_BYTES, 8);
  }

  #word(address: number): bigint {
    return this.#view(address).getBigUint64(0, true);
  }

  #store(address: number, value: bigint): void {
    this.#view(address).setBigUint64(0, value, true);
  }

  compareAndSwap(
    window: Window,
    address: number,
    expectedLow: number,
    expectedHigh: number,
    desiredLow: number,
    desiredHigh: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#operate('compareAndSwap', window, address, sink, token, () =>
      this.#swap(address, wide(expectedLow, expectedHigh), wide(desiredLow, desiredHigh)),
    );
  }

  #swap(address: number, expected: bigint, desired: bigint): bigint {
    const old = this.#word(address);
    if (old === expected) this.#store(address, desired);
    return old;
  }

  fetchAndAdd(
    window: Window,
    address: number,
    deltaLow: number,
    deltaHigh: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#operate('fetchAndAdd', window, address, sink, token, () =>
      this.#add(address, wide(deltaLow, deltaHigh)),
    );
  }

  #add(address: number, delta: bigint): bigint {
    const old = this.#word(address);
    this.#store(address, BigInt.asUintN(64, old + delta));
    return old;
  }

  reserve(
    window: Window,
    address: number,
    _bytes: number,
    sink: CompletionSink,
    token: number,
    _deadline: number,
    reservation = 0,
  ): void {
    this.#operate('reserve', window, address, sink, token, () => {
      this.reservations.add(reservation);
      return 0n;
    });
  }

  unreserve(sink: CompletionSink, token: number, _deadline: number, reservation = 0): void {
    this.#operate('unreserve', ANY, 0, sink, token, () => {
      this.reservations.delete(reservation);
      return 0n;
    });
  }

  fence(sink: CompletionSink, token: number): void {
    this.#operate('fence', ANY, 0, sink, token, () => 0n);
  }

  call(type: number, request: unknown): Promise<never> {
    return new Promise((resolve) => {
      const { address = 0 } = request as { address?: number };
      this.#send(`call ${type}`, address, () => {
        const order = this.orders.get(`call ${type}`)?.shift();
        const isRefused = order !== undefined && order.status !== Status.Ok;
        const reply = isRefused
          ? { status: order.status, reason: '' }
          : this.#answer(type, request);
        resolve(reply as never);
      });
    });
  }

  #answer(type: number, request: unknown): Reply {
    if (type === MessageType.OpenRange) return this.windows.open(request as never);
    if (type === MessageType.RevokeWindow) {
      const { window, epoch } = request as { window: number; epoch: number };
      return this.windows.revoke(window, epoch);
    }
    const { address, nonce } = request as { address: number; nonce: number };
    if (this.lostRegions.has(Math.floor(address / REGION_BYTES))) {
      return { status: Status.NotFound, reason: '' };
    }
    let found = this.allocations.get(address);
    if (type === MessageType.Inspect) {
      found = [...this.allocations.values()].find((one) => {
        return one.address <= address && address < one.address + one.bytes;
      });
    }
    const missing: Reply = { status: Status.NotAllocated, reason: '' };
    if (type === MessageType.Alloc) return this.#alloc(request as never);
    if (type === MessageType.Protect) return { status: Status.Ok };
    const isMeant = type !== MessageType.ConfirmAlloc && nonce === 0;
    if (found?.nonce !== nonce && !isMeant) found = undefined;
    if (found === undefined) return missing;
    if (type === MessageType.Inspect) {
      return { status: Status.Ok, base: found.address, bytes: found.bytes, flags: found.flags };
    }
    if (type === MessageType.ConfirmAlloc) {
      found.flags &= ~AllocFlag.PROVISIONAL;
      return { status: Status.Ok };
    }
    assert(type === MessageType.Free);
    this.allocations.delete(address);
    return { status: Status.Ok, bytes: found.bytes };
  }

  /** What nobody has confirmed in time goes. */
  expire(): void {
    for (const [address, { flags }] of this.allocations) {
      if ((flags & AllocFlag.PROVISIONAL) !== 0) this.allocations.delete(address);
    }
  }

  #alloc(request: AllocRequest): Reply {
    let address = request.wish === 0 ? request.region * REGION_BYTES : request.wish;
    for (const taken of [...this.allocations.values()].sort((a, b) => a.address - b.address)) {
      if (taken.address < address + request.bytes && address < taken.address + taken.bytes) {
        address = taken.address + taken.bytes;
      }
    }
    const isMoved = request.flags !== 0 && address !== request.wish;
    if (address + request.bytes > (request.region + 1) * REGION_BYTES || isMoved) {
      return { status: Status.NoSpace, reason: '' };
    }
    const { bytes, nonce } = request;
    const flags = request.flags | AllocFlag.PROVISIONAL;
    this.allocations.set(address, { address, bytes, nonce, flags });
    return { status: Status.Ok, address };
  }

  close(): void {
    this.isClosed = true;
    for (const { execute } of this.#sent.splice(0)) {
      for (const what of ['read', 'write', 'reserve']) this.order(what, Status.Closed);
      execute();
    }
  }
}

/** The controller, and the way to everybody. */
export class FakeRack implements Fabric {
  readonly world = new FakeWorld();
  readonly nodes: FakeNode[];
  readonly owners = new Map<number, { node: number; lost: number }>();
  readonly states: number[];
  isControllerAway = false;
  /** The space, for everybody. */
  isRemoved = false;
  /** Refuses grants until the clock shows this: what it knows of its nodes is old. */
  fullUntil = 0;
  calls = 0;
  #nextRegion = 1;

  constructor(nodes: number) {
    this.nodes = Array.from({ length: nodes }, (_, i) => new FakeNode(`node-${i}`));
    this.states = this.nodes.map(() => NodeState.SERVING);
  }

  node(index: number): FakeNode {
    return this.nodes[index] as FakeNode;
  }

  link(address: string): Link {
    return this.node(Number(address.slice('tcp://'.length)));
  }

  peer(): Peer {
    const answer: AnyCall = (type, request) => this.#answer(type, request);
    return {
      call: (type, request) => {
        this.calls += 1;
        const away: Reply = { status: Status.Unavailable, reason: '' };
        return Promise.resolve(
          (this.isControllerAway ? away : answer(type, request as never)) as never,
        );
      },
      close: () => {},
    };
  }

  close(): void {}

  #answer(type: number, request: { count?: number; near?: string }): Reply {
    const isOfSpace = type === MessageType.SpaceRegions || type === MessageType.GrantRegions;
    if (this.isRemoved && isOfSpace) return { status: Status.NotFound, reason: 'no such space' };
    if (type === MessageType.SpaceRegions) return this.#places([...this.owners.keys()]);
    if (type === MessageType.ListNodes) return { status: Status.Ok, members: this.#members() };
    assert(type === MessageType.GrantRegions);
    if (this.world.now < this.fullUntil) return { status: Status.NoSpace, reason: 'full' };
    const granted: number[] = [];
    for (let i = 0; i < (request.count ?? 0); i++) {
      const region = this.#nextRegion;
      this.#nextRegion += 1;
      const near = this.nodes.findIndex(({ id }) => id === request.near);
      this.owners.set(region, { node: near >= 0 ? near : region % this.nodes.length, lost: 0 });
      granted.push(region);
    }
    return this.#places(granted);
  }

  #members(): unknown[] {
    return this.nodes.map(({ id }, i) => ({
      id,
      address: `tcp://${i}`,
      machine: 'here',
      state: this.states[i],
      isHost: 0,
      bytesLent: 8 * REGION_BYTES,
      bytesUsed: 0,
      bytesCommitted: 0,
      pid: 1,
      incarnation: 1,
    }));
  }

  #places(regions: readonly number[]): Reply {
    return {
      status: Status.Ok,
      more: 0,
      nodes: this.nodes.map(({ id }, i) => ({
        id,
        address: `tcp://${i}`,
        memoryId: 1 + i,
        state: this.states[i],
      })),
      regions: regions.map((region) => ({ region, epoch: 1, ...this.owners.get(region) })),
    };
  }
}
