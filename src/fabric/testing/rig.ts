/** One memory node and one client in a fake world, and a sink that remembers what it was told. */

import { defined } from '../../base/assert.js';
import { type Outcome, Status } from '../../base/status.js';
import { MessageType } from '../../wire/messages.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import type { CompletionSink, Link, Window } from '../link.js';
import { Stations } from '../stations.js';
import { FakeMemory } from './fake-memory.js';
import { FakeWorld } from './fake-world.js';

export interface Told {
  readonly status: Status;
  readonly outcome: Outcome;
  readonly low: number;
  readonly high: number;
}

export class Sink implements CompletionSink {
  readonly told = new Map<number, Told>();
  /** Tokens in the order in which they were told. */
  readonly order: number[] = [];

  completed(token: number, status: Status, outcome: Outcome, low: number, high: number): void {
    if (this.told.has(token)) throw new Error(`operation ${token} was told twice`);
    this.told.set(token, { status, outcome, low, high });
    this.order.push(token);
  }

  status(token: number): Status | undefined {
    return this.told.get(token)?.status;
  }
}

export const NODE = 'tcp://node:1';
export const SPACE = 5;
export const MEMORY_ID = 4711;

/** Every reading of the clock takes a millisecond, which is what no lap is to be charged with. */
export function tickingStations(): Stations {
  let ms = 0;
  return new Stations({ now: () => ms++, wall: () => 0 });
}

/** A fake world whose time passes while something is waited for. */
export class WaitingRig {
  readonly world: FakeWorld;
  readonly sink = new Sink();

  constructor(world = new FakeWorld()) {
    this.world = world;
  }

  /** The result of a promise that only the passing of time settles. */
  async result<T>(promise: Promise<T>): Promise<T> {
    const box: { value?: T; isThere: boolean } = { isThere: false };
    void promise.then((value) => {
      box.value = value;
      box.isThere = true;
    });
    if (!(await this.world.run(() => box.isThere))) throw new Error('it never settles');
    return box.value as T;
  }

  get deadline(): number {
    return this.world.nowMs + 10_000;
  }

  async told(count: number): Promise<void> {
    const isThere = await this.world.run(() => this.sink.told.size >= count);
    if (!isThere) throw new Error(`only ${this.sink.told.size} of ${count} were told`);
  }
}

export class Rig extends WaitingRig {
  readonly memory: FakeMemory;
  server: Endpoint;
  client: Endpoint;
  link: Link;
  /** By a clock of their own, of which each look is a millisecond later than the one before. */
  readonly stations: Stations;
  /** Calls of Alloc that the node has executed. */
  allocs = 0;

  constructor(world = new FakeWorld(), memoryBytes = 64 * 1024, firstSequence = 1) {
    super(world);
    this.memory = new FakeMemory(memoryBytes);
    this.stations = tickingStations();
    this.server = this.serve();
    this.client = createEndpoint(world.runtime(), { firstSequence });
    this.link = this.client.link(NODE);
  }

  /** A new process under the node's address, with the same memory. */
  serve(): Endpoint {
    return this.serveAs(MEMORY_ID, NODE);
  }

  serveAs(memoryId: number, address: string): Endpoint {
    const server = createEndpoint(this.world.runtime(), {
      memoryId,
      stations: this.stations,
    });
    server.serveData(this.memory);
    server.serve(MessageType.OpenWindow, () => ({
      status: Status.Ok,
      window: this.memory.window,
      epoch: this.memory.epoch,
      pageBytes: 65536,
    }));
    server.serve(MessageType.Alloc, async (request) => {
      await new Promise<void>((resolve) => this.world.after(0.5, resolve));
      this.allocs++;
      return { status: Status.Ok, address: request.wish + 1000 * this.allocs };
    });
    void server.listen(address);
    return server;
  }

  async openWindow(): Promise<Window> {
    let window: Window | Status | undefined;
    void this.link.openWindow(SPACE, 30_000).then((opened) => (window = opened));
    await this.world.run(() => window !== undefined);
    if (typeof window !== 'object') throw new Error(`no window: status ${String(window)}`);
    return defined(window);
  }
}
