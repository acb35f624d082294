// A whole rack in the simulator, and threads that block in processes on the machine of its first
// node: what each does is a function that runs in the thread's turn.
import { setImmediate } from 'node:timers';
import { runMicrotasks } from '../microtasks.js';
import type { Runtime } from '../../runtime/runtime.js';
import {
  type FaultRates,
  type SimulatedProcess,
  SimulatedWorld,
} from '../../runtime/simulated/world.js';
import type { ThreadMain } from '../../runtime/thread-main.js';
import type { Thread } from '../../runtime/threads.js';
import { Journal } from '../journal.js';
import { SimulatedRack } from '../rack.js';
import { ROLES, THREADS } from '../roles.js';
import type { LinkChoice } from '../../client/client-fabric.js';
import { connectRack, type Rack } from '../../client/rack.js';
import type { RemoteSpace } from '../../client/space.js';
import type { BlockingSpace } from '../../client/blocking/blocking-space.js';
import { joinBlockingSpace } from '../../client/blocking/join.js';
import type { BlockingService } from '../../client/blocking/service.js';

export const PAGE = 64 * 1024;
const ENTRY = 'blocking-test';

export type Body = (space: BlockingSpace, runtime: Runtime) => void;

/** What threads are to do; a thread's arguments are JSON. */
const bodies: Body[] = [];

const main: ThreadMain = async (runtime, { shared, arguments: given }) => {
  const { facts, body } = given as { facts: object; body: number };
  const start = { ...facts, shared: shared[0] } as BlockingService['start'];
  bodies[body]?.(joinBlockingSpace(runtime, start), runtime);
};

export interface RigOptions {
  readonly seed?: number;
  readonly faults?: FaultRates;
  readonly knobs?: ConstructorParameters<typeof SimulatedWorld>[0]['knobs'];
  readonly nodes?: number;
  readonly frames?: number;
}

export class BlockingRig {
  readonly world: SimulatedWorld;
  rack!: SimulatedRack;
  readonly #options: RigOptions;

  constructor(options: RigOptions = {}) {
    const { seed = 1, faults, knobs } = options;
    this.#options = options;
    this.world = new SimulatedWorld({
      seed,
      immediate: setImmediate,
      microtasks: runMicrotasks,
      roles: ROLES,
      threads: { ...THREADS, [ENTRY]: main },
      ...(faults === undefined ? {} : { faults }),
      ...(knobs === undefined ? {} : { knobs }),
    });
    this.world.faults.enabled = false;
  }

  async start(): Promise<this> {
    const { nodes = 1, frames = 32 } = this.#options;
    const shape = {
      nodes,
      clients: 0,
      frames,
      pageBytes: PAGE,
      heartbeatMs: 100,
      isOneSided: true,
    };
    this.rack = new SimulatedRack(this.world, shape, new Journal());
    await this.until(() => this.rack.isComplete);
    await this.pass(1_000);
    this.world.faults.enabled = this.#options.faults !== undefined;
    return this;
  }

  async until(isSo: () => boolean, forMs = 60_000): Promise<void> {
    const end = await this.world.run({ until: isSo, forMs });
    if (end !== 'condition') throw new Error(`it did not come to that: ${end}`);
  }

  async pass(ms: number): Promise<void> {
    await this.world.run({ forMs: ms });
  }

  async of<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    promise.then(settle, settle);
    await this.until(() => isSettled);
    return promise;
  }

  /** A process beside the first node, with a space of one GiB region or more. */
  async client(link: LinkChoice = 'auto', timeoutMs = 2_000): Promise<Client> {
    const machine = this.rack.supervisors[0]?.machine;
    if (machine === undefined) throw new Error('no node');
    const program = this.world.program(machine, 'client');
    const { runtime } = program;
    const rack = await this.of(connectRack(runtime, this.rack.url, { timeoutMs, link }));
    const space = await this.of(rack.space('test', { create: true }));
    return { program, rack, space };
  }

  /** Starts a thread of the client that does this. */
  thread({ program, space }: Client, body: Body, bytes?: number): Running {
    const port = space.blocking(bytes === undefined ? {} : { bytes });
    const running: Running = { port, thread: undefined as never, isDone: false, error: undefined };
    const number = bodies.push((joined, runtime) => {
      try {
        body(joined, runtime);
      } catch (error) {
        running.error = error;
        throw error;
      } finally {
        running.isDone = true;
      }
    });
    const { shared, ...facts } = port.start;
    running.thread = program.runtime.threads.spawn({
      entry: ENTRY,
      arguments: { facts, body: number - 1 },
      shared: [shared],
      memory: [],
    });
    void running.thread.ended.then(port.ended);
    return running;
  }

  /** Runs it to its end; throws what it threw. */
  async run(client: Client, body: Body, bytes?: number): Promise<void> {
    const running = this.thread(client, body, bytes);
    await this.of(running.thread.ended);
    if (running.error !== undefined) throw running.error;
  }
}

export interface Client {
  readonly program: SimulatedProcess;
  readonly rack: Rack;
  readonly space: RemoteSpace;
}

export interface Running {
  readonly port: BlockingService;
  thread: Thread;
  isDone: boolean;
  error: unknown;
}
