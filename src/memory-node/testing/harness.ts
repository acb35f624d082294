/**
 * A memory node in a simulated world, driven by hand: messages and calls go straight to its
 * handlers, so that a test sees one node and no network. It can be killed and started again with
 * its memory, as a supervisor does.
 */

import { Status } from '../../base/status.js';
import { memoryFileName } from '../../disk/memory-names.js';
import { slotFileBytes } from '../../disk/slots.js';
import {
  formatTableFile,
  TableFile,
  tableEntriesFor,
  tableFileBytes,
} from '../../disk/table-file.js';
import type { CallHandler, ClientSession, DataSession } from '../../fabric/serve.js';
import { DONE } from '../../fabric/serve.js';
import type { Bytes } from '../../runtime/network.js';
import type { Child } from '../../runtime/processes.js';
import type { RoleMain, RunningRole, Runtime } from '../../runtime/runtime.js';
import type { ThreadMain } from '../../runtime/thread-main.js';
import { REGION_BYTES } from '../../wire/limits.js';
import {
  type CallType,
  dataExtra,
  MessageType,
  type Reply,
  type Request,
} from '../../wire/messages.js';
import type { CallServer } from '../network/call-server.js';
import { type DonorOptions, MemoryNode, type NodeOptions } from '../node.js';
import type { NodeFiles } from '../sharing.js';
import { SLOW_PATH_THREAD } from '../slow/records.js';
import { slowPathThread } from '../slow/worker.js';
import type { NodeFiles as OpenFiles } from './one-sided-thread.js';

export const PAGE = 65536;
export const SPACE = 7;
/** The first address of the region that every test node holds. */
export const BASE = REGION_BYTES;

/** What the test's own file makes a simulated world from; this file may not know the simulator. */
export interface WorldParts {
  readonly seed: number;
  readonly roles: { readonly [name: string]: RoleMain<never> };
  readonly threads: { readonly [name: string]: ThreadMain };
}

export interface TestWorld {
  /** A process that the node's process is started by. */
  readonly supervisor: Runtime;
  /** Lets time pass; tells why it has ended. */
  run(options: { until?: () => boolean; forMs: number }): Promise<string>;
}

export interface HarnessOptions {
  readonly makeWorld: (parts: WorldParts) => TestWorld;
  readonly seed?: number;
  readonly frames?: number;
  readonly commitPages?: number;
  readonly zeroedFrames?: number;
  readonly tableEntries?: number;
  readonly donor?: DonorOptions;
}

/** The nonce of allocations whose test gives them none. */
export const NONCE = 5;

interface AllocMore {
  readonly wish?: number;
  readonly flags?: number;
  readonly region?: number;
  readonly nonce?: number;
}

export interface Result {
  readonly status: Status;
  readonly bytes: Uint8Array;
  /** Of an atomic the old value, of a reservation the pages. */
  readonly value: bigint;
}

/** One client's connection, as the fabric would show it. */
class FakeSession implements DataSession {
  readonly slot: number;
  readonly client: number;
  readonly output: Bytes = bytesOf(new ArrayBuffer(PAGE + 64));
  readonly replyAt = 16;
  readonly mayWait: boolean;
  readonly sinceMs: number;
  isDismissed = false;
  isWaiting = false;
  result: Result | undefined;

  constructor(slot: number, sinceMs: number) {
    this.slot = slot;
    this.sinceMs = sinceMs;
    this.client = 1000 + slot;
    this.mayWait = slot >= 0;
  }

  dismiss(): void {
    this.isDismissed = true;
  }

  finish(status: Status, bytes: number): void {
    const read = this.output.bytes.slice(this.replyAt, this.replyAt + bytes);
    this.result = { status, bytes: read, value: 0n };
  }

  finishValue(status: Status, low: number, high: number): void {
    const value = BigInt(low) + (BigInt(high) << 32n);
    this.result = { status, bytes: new Uint8Array(0), value };
  }

  resume(): void {
    if (!this.mayWait) throw new Error('a session that may not wait was kept');
    this.isWaiting = false;
  }
}

export interface ClientProcess {
  readonly identity: string;
  kill(): Promise<void>;
}

const client = (runtime: Runtime): Promise<RunningRole> => {
  runtime.processes.ready(runtime.processes.identity);
  return Promise.resolve({ address: '', stop: () => Promise.resolve() });
};

function bytesOf(buffer: ArrayBuffer): Bytes {
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

class FakeServer implements CallServer {
  readonly handlers = new Map<CallType, CallHandler<CallType>>();

  serve<T extends CallType>(type: T, handler: CallHandler<T>): void {
    this.handlers.set(type, handler as unknown as CallHandler<CallType>);
  }
}

const TYPES = {
  read: MessageType.Read,
  write: MessageType.Write,
  compareAndSwap: MessageType.CompareAndSwap,
  fetchAndAdd: MessageType.FetchAndAdd,
  reserve: MessageType.Reserve,
  unreserve: MessageType.Unreserve,
  fence: MessageType.Fence,
} as const;

export interface DataRequest {
  readonly slot?: number;
  readonly address?: number;
  readonly bytes?: number;
  readonly data?: Uint8Array;
  readonly operands?: readonly bigint[];
  readonly window?: number;
  /** Number of a reservation; 1 for `reserve` and `unreserve`, 0 for others when missing. */
  readonly reservation?: number;
  readonly epoch?: number;
}

export class Harness {
  readonly world: TestWorld;
  readonly frames: number;
  readonly #options: NodeOptions;
  #child: Child | undefined;
  #node: MemoryNode | string | undefined;
  #server = new FakeServer();
  readonly #sessions = new Map<number, FakeSession>();
  readonly #windows = new Map<number, { window: number; epoch: number }>();

  constructor(options: HarnessOptions) {
    this.frames = options.frames ?? 16;
    const main = async (runtime: Runtime, given: NodeOptions): Promise<RunningRole> => {
      this.#node = await MemoryNode.open(runtime, given);
      runtime.processes.ready({});
      return { address: '', stop: () => Promise.resolve() };
    };
    this.world = options.makeWorld({
      seed: options.seed ?? 1,
      roles: { node: main, client },
      threads: { [SLOW_PATH_THREAD]: slowPathThread },
    });
    const memory = this.#createMemory(options.tableEntries);
    const commitPages = options.commitPages ?? 2 * this.frames;
    const zeroedFrames = options.zeroedFrames ?? Math.ceil(this.frames / 4);
    const { donor } = options;
    this.#options = { ...memory, commitPages, zeroedFrames, donor };
  }

  #createMemory(tableEntries = tableEntriesFor(this.frames)): NodeFiles {
    const facts = {
      nodeId: 'node-1',
      memoryId: 99,
      pageBytes: PAGE,
      frames: this.frames,
      tableEntries,
      regionEntries: 64,
      windowEntries: 64,
      regionBytes: REGION_BYTES,
    };
    const { memory } = this.world.supervisor;
    const table = memory.create(memoryFileName('table', facts), tableFileBytes(facts));
    formatTableFile(table.map(0, table.bytes), facts);
    const frames = memory.create(memoryFileName('frames', facts), this.frames * PAGE);
    const slots = memory.create(memoryFileName('slots', facts), slotFileBytes(this.frames));
    return {
      tableMemory: table.handle,
      frameMemory: frames.handle,
      slotMemory: slots.handle,
    };
  }

  get node(): MemoryNode {
    if (this.#node === undefined || typeof this.#node === 'string') {
      throw new Error(`no node: ${this.#node}`);
    }
    return this.#node;
  }

  /** Starts the process, with a region of `SPACE` from the first time on. */
  async start(): Promise<this> {
    this.#node = undefined;
    const { tableMemory, frameMemory, slotMemory } = this.#options;
    const memory = [tableMemory, frameMemory, slotMemory];
    const config = this.#options;
    this.#child = this.world.supervisor.processes.spawn({ role: 'node', config, memory });
    await this.until(() => this.#node !== undefined);
    this.#server = new FakeServer();
    this.node.serveCalls(this.#server, () => ({}));
    this.#sessions.clear();
    this.#windows.clear();
    await this.call(MessageType.GrantRegion, {
      space: SPACE,
      region: 1,
      epoch: 1,
      pageBytes: PAGE,
      memoryId: this.node.table.facts.memoryId,
    });
    return this;
  }

  async kill(): Promise<void> {
    let hasEnded = false;
    void this.#child?.exited.then(() => {
      hasEnded = true;
    });
    this.#child?.end('kill');
    await this.until(() => hasEnded);
  }

  /** Starts a process that does nothing, for threads that attach. */
  async startClient(): Promise<ClientProcess> {
    const child = this.world.supervisor.processes.spawn({ role: 'client', config: {} });
    let identity = '';
    let hasEnded = false;
    void child.ready.then((message) => {
      identity = message as string;
    });
    void child.exited.then(() => {
      hasEnded = true;
    });
    await this.until(() => identity !== '');
    const kill = async (): Promise<void> => {
      child.end('kill');
      await this.until(() => hasEnded);
    };
    return { identity, kill };
  }

  /** The memory files, as another process of this machine sees them. */
  openFiles(): OpenFiles {
    const { memory } = this.world.supervisor;
    const map = (handle: number) => {
      const file = memory.adopt(handle);
      return file.map(0, file.bytes);
    };
    const mapping = map(this.#options.tableMemory);
    const table = TableFile.open(mapping);
    if (typeof table === 'string') throw new Error(table);
    const frames = map(this.#options.frameMemory).wide;
    const words = PAGE / 8;
    return {
      words: mapping.words,
      pages: table.pages,
      windows: table.windows,
      slots: map(this.#options.slotMemory).words,
      frame: (frame) => frames.subarray(frame * words, (frame + 1) * words),
    };
  }

  async until(condition: () => boolean, forMs = 60_000): Promise<void> {
    const end = await this.world.run({ until: condition, forMs });
    if (end !== 'condition') throw new Error(`the world came to its end (${end}) too early`);
  }

  session(slot: number): ClientSession {
    return this.#session(slot);
  }

  #session(slot: number): FakeSession {
    const known = this.#sessions.get(slot);
    if (known !== undefined) return known;
    const made = new FakeSession(slot, this.world.supervisor.clock.now());
    this.#sessions.set(slot, made);
    return made;
  }

  async call<T extends CallType>(type: T, request: Request<T>, slot = 0): Promise<Reply<T>> {
    const reply = this.begin(type, request, slot);
    await this.until(() => reply() !== undefined);
    return reply() as Reply<T>;
  }

  /** Starts a call; what is returned gives its reply, once there is one. */
  begin<T extends CallType>(type: T, request: Request<T>, slot = 0): () => Reply<T> | undefined {
    const handler = this.#server.handlers.get(type) as unknown as CallHandler<T>;
    let reply: Reply<T> | undefined;
    void Promise.resolve(handler(request, this.#session(slot))).then((given) => {
      reply = given;
    });
    return () => reply;
  }

  /** The address of `pages` new pages, confirmed; throws when it is refused. */
  async alloc(pages: number, more: AllocMore = {}): Promise<number> {
    const address = await this.begun(pages, more);
    const reply = await this.confirm(address, more.nonce);
    if (reply.status !== Status.Ok) throw new Error(`not confirmed: ${reply.status}`);
    return address;
  }

  /** The same, not confirmed. */
  async begun(pages: number, more: AllocMore = {}): Promise<number> {
    const reply = await this.tryAlloc(pages, more);
    if (reply.status !== Status.Ok) throw new Error(`refused: ${reply.status} ${reply.reason}`);
    return reply.address;
  }

  tryAlloc(pages: number, more: AllocMore = {}) {
    const { wish = 0, flags = 0, region = 1, nonce = NONCE } = more;
    const request = { space: SPACE, region, bytes: pages * PAGE, wish, flags, nonce };
    return this.call(MessageType.Alloc, request);
  }

  confirm(address: number, nonce = NONCE) {
    return this.call(MessageType.ConfirmAlloc, { space: SPACE, address, nonce });
  }

  free(address: number, nonce = 0) {
    return this.call(MessageType.Free, { space: SPACE, address, nonce });
  }

  inspect(address: number) {
    return this.call(MessageType.Inspect, { space: SPACE, address, nonce: 0 });
  }

  async windowOf(slot: number): Promise<{ window: number; epoch: number }> {
    const known = this.#windows.get(slot);
    if (known !== undefined) return known;
    const reply = await this.call(MessageType.OpenWindow, { space: SPACE, rights: 3 }, slot);
    if (reply.status !== Status.Ok) throw new Error(`no window: ${reply.status}`);
    this.#windows.set(slot, reply);
    return reply;
  }

  /** How often data messages were given back to a session that may not wait. */
  givenBack = 0;

  /**
   * Executes one data message to its end, waiting for a zeroed frame if it must. The session of
   * slot -1 may not wait, and tries again. `Closed`: another session of the slot is to be used,
   * which is there at the next one.
   */
  async data(verb: keyof typeof TYPES, request: DataRequest = {}): Promise<Result> {
    const session = this.#session(request.slot ?? 0);
    const isNamed = request.window !== undefined && request.epoch !== undefined;
    const open = isNamed ? { window: 0, epoch: 0 } : await this.windowOf(session.slot);
    const { window = open.window, epoch = open.epoch } = request;
    const names = verb === 'reserve' || verb === 'unreserve';
    const extra = dataExtra(window, request.reservation ?? (names ? 1 : 0));
    const input = messageOf({ ...request, epoch });
    session.result = undefined;
    for (;;) {
      const progress = this.node.dataHandler.execute(session, input, 8, TYPES[verb], extra);
      if (progress === DONE) break;
      if (session.isDismissed) {
        this.node.dataHandler.closed(session);
        this.#sessions.delete(session.slot);
        return { status: Status.Closed, bytes: new Uint8Array(0), value: 0n };
      }
      session.isWaiting = session.mayWait;
      if (!session.mayWait) this.givenBack++;
      if (session.mayWait) await this.until(() => !session.isWaiting);
      else await this.world.run({ forMs: 1 });
    }
    const { result } = session as { result: Result | undefined };
    if (result === undefined) throw new Error('done without a result');
    return result;
  }

  counters(): Record<string, number> {
    const handler = this.#server.handlers.get(MessageType.Counters);
    const reply = handler?.({} as never, this.#session(0)) as Reply<typeof MessageType.Counters>;
    if (reply.status !== Status.Ok) throw new Error('no counters');
    return JSON.parse(reply.json) as Record<string, number>;
  }
}

function messageOf(request: DataRequest & { readonly epoch: number }): Bytes {
  const data = request.data ?? new Uint8Array(0);
  const operands = request.operands ?? [];
  const input = bytesOf(new ArrayBuffer(8 + 16 + 16 + Math.ceil(data.length / 8) * 8));
  const address = request.address ?? 0;
  input.view.setUint32(8, address % 2 ** 32, true);
  input.view.setUint32(12, Math.floor(address / 2 ** 32), true);
  input.view.setUint32(16, request.bytes ?? (operands.length > 0 ? 8 : data.length), true);
  input.view.setUint32(20, request.epoch, true);
  operands.forEach((value, i) => input.view.setBigUint64(24 + 8 * i, value, true));
  input.bytes.set(data, 24);
  return input;
}
