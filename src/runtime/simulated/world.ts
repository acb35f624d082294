/**
 * A whole rack in one process from one seed: machines, processes, network, disks, time.
 *
 *   const world = new SimulatedWorld({ seed: 7, immediate: setImmediate, roles, threads,
 *                                      faults: ROUGH_FAULTS });
 *   const a = world.machine('a');                     // reachable at a.host, e.g. 10.0.0.1
 *   const server = world.start(a, 'memory-node', config);    // runs the RoleMain of that name
 *   await world.run({ until: () => server.running !== undefined, forMs: 10_000 });
 *   const client = world.start(world.machine('b'), 'my-workload', { address: ... });
 *
 * Time passes only within `await world.run(...)`: it takes the next event, runs it, lets all
 * promises settle, and goes on until the condition holds, the time is up or nothing is left
 * (`RunEnd`). It rejects when a process trips an assertion or a callback throws: a bug was found;
 * `world.report()` then has the last events. Code of the simulated processes uses its own
 * `Runtime` and never the world's clock.
 *
 * Who drives faults (a nemesis) either acts between two `run`s or is itself an async function on
 * `world.sleep(ms)` / a callback of `world.after(ms, ...)`:
 *   world.kill(process)   world.terminate(process)   world.pause(process)   world.resume(process)
 *   world.crash(machine)  world.restart(machine)     // then start its processes again
 *   const cut = world.partition([a], [b], { oneWay: true });   world.heal(cut);
 *   world.setPath(a, b, 8_972)   const less = world.shrinkPath([a], [b], { bytes: 1_472 });
 *   world.restorePath(less)
 *   world.slow(machine, 20)   world.jumpWall(machine, ms)   world.diskCapacity(machine, bytes)
 *   world.fillDisk(machine)   world.freeDisk(machine)
 *   world.calm()          // liveness phase: no more faults, wires whole, everybody runs
 * Faults that come by themselves have rates (`options.faults`, `world.faults.setRate`).
 *
 * `world.noteOutcome(process, startedMs, 'ok' | 'retried' | 'failed' | 'unknown')` after each
 * operation of a workload tells which faults mattered; `startedMs` is `world.nowMs` (the world's
 * time, not the process' clock) from before it. `world.faults.injected[kind]`,
 * `world.faultMattered(kind)`. `world.traceHash()` is the same for the same seed, everywhere.
 *
 * `world.program(machine, name)` is a process without a main, for a test that wants a `Runtime`;
 * `await world.drive(promise)` lets time pass until something that it does is done.
 * A promise of a process that was killed never settles. `processes.exit` throws `SimulatedExit`;
 * where that surfaces as an unhandled rejection it is to be ignored (`instanceof`).
 */

import { assert } from '../../base/assert.js';
import { crc32c } from '../../base/crc32c.js';
import { Prng } from '../../base/prng.js';
import type { FileRange } from '../durable.js';
import type { Checksum, LogLevel, RoleMain, Runtime } from '../runtime.js';
import type { ThreadMain } from '../thread-main.js';
import { SimulatedClock, SimulatedTimers } from './clock.js';
import { type DatabaseCopy, DatabaseStore, SimulatedDatabases } from './database.js';
import { DiskStore, SimulatedDisk } from './disk.js';
import { SimulatedDurables } from './durable.js';
import { type Fault, FaultKind, type FaultRates, Faults, NO_FAULTS } from './faults.js';
import { NicModel, type NicOptions } from './hardware.js';
import { Mounts, SimulatedFuse, type SimulatedMount } from './fuse.js';
import { Kernel, NS_PER_MS, SimulatedCrash, SimulatedExit } from './kernel.js';
import { type Knobs, PLAIN_KNOBS, shakenKnobs } from './knobs.js';
import { Links } from './links.js';
import { SimulatedMemory } from './memory.js';
import { Fabric, SimulatedNetwork } from './network.js';
import { ProcessTable, type RuntimeNeeds, type SimulatedProcess } from './processes.js';
import { Machine } from './task.js';
import { SimulatedThreads } from './threads.js';
import { simulatedTls } from './tls.js';
import { EventKind, Trace } from './trace.js';
import { type Immediate, runTurns } from './turns.js';

export type { Fault, FaultRates, Immediate, Knobs, Machine, SimulatedProcess };
export type { DatabaseCopy } from './database.js';
export { FAULT_KINDS, FaultKind, NO_FAULTS, ROUGH_FAULTS } from './faults.js';
export { PLAIN_NIC } from './hardware.js';
export { SimulatedCrash, SimulatedExit } from './kernel.js';
export { PLAIN_KNOBS } from './knobs.js';

export interface SimulatedWorldOptions {
  /** An integer below 2^53; everything follows from it. */
  readonly seed: number;
  /** `setImmediate`. */
  readonly immediate: Immediate;
  /** The `main` of each role by its name; a workload's client is a role too. */
  readonly roles?: { readonly [name: string]: RoleMain<never> };
  readonly threads?: { readonly [name: string]: ThreadMain };
  /** Ports of protocols without checksums: nothing is corrupted on the way there. */
  readonly plainPorts?: readonly number[];
  /**
   * Runs all promises that have settled, from within a callback. Needed where a thread blocks: then
   * the rest of the world has its turns within the blocked thread's.
   */
  readonly microtasks?: () => void;
  /** Faults that come by themselves, per million operations of their sort; none by default. */
  readonly faults?: FaultRates;
  /** False: the plain knobs instead of such that the seed draws. */
  readonly shake?: boolean;
  /** Knobs that are set whatever the seed says. */
  readonly knobs?: Partial<Knobs>;
  /** Names of bugs that the simulation plants to see whether its checkers find them. */
  readonly plantedBugs?: Iterable<string>;
  /** How many events `report` shows. */
  readonly traceEvents?: number;
  /** A faster one than ours; it must give the same numbers. */
  readonly checksum?: Checksum;
  readonly onLog?: (entry: LogEntry) => void;
}

export interface LogEntry {
  readonly atMs: number;
  readonly process: string;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

export interface MachineOptions {
  /** Of its link; the knob's value otherwise. */
  readonly bytesPerUs?: number;
  readonly nic?: NicOptions;
  /** Processor time, in whole ns, of a task here for a datagram that it has received. */
  readonly workNs?: (datagram: Uint8Array) => number;
  readonly memoryAvailableBytes?: number;
}

export interface RunOptions {
  /** Looked at after every turn. */
  readonly until?: () => boolean;
  /** At most this much more simulated time. */
  readonly forMs?: number;
  /** At most until this simulated time. */
  readonly untilMs?: number;
  /** At most this many turns: against worlds that never come to rest. */
  readonly turns?: number;
}

export type RunEnd = 'condition' | 'idle' | 'time' | 'turns';

export type OperationOutcome = 'ok' | 'retried' | 'failed' | 'unknown';

const CLOCK_START_MS_MAX = 1_000_000;

export class SimulatedWorld {
  readonly seed: number;
  readonly faults: Faults;
  readonly knobs: Readonly<Knobs>;
  readonly plantedBugs: ReadonlySet<string>;
  /** For the workload's and the nemesis' own choices. */
  readonly prng: Prng;
  readonly #kernel: Kernel;
  readonly #options: SimulatedWorldOptions;
  readonly #links: Links;
  readonly #fabric: Fabric;
  readonly #mounts: Mounts;
  readonly #table: ProcessTable;
  readonly #machines: Map<string, Machine> = new Map();
  readonly #disks: Map<Machine, DiskStore> = new Map();
  readonly #databases: Map<Machine, DatabaseStore> = new Map();
  readonly #threads: ReadonlyMap<string, ThreadMain>;
  readonly #lasting: Map<object, Fault> = new Map();
  readonly #partitions: Set<Fault> = new Set();
  readonly #shrunkPaths: Set<Fault> = new Set();
  readonly #squeezes = new Map<Machine, Fault>();
  #nextHandle = 3;
  #failure: Error | undefined;
  #running = false;

  constructor(options: SimulatedWorldOptions) {
    this.seed = options.seed;
    this.#options = options;
    this.plantedBugs = new Set(options.plantedBugs);
    const prng = new Prng(options.seed);
    const shaken = options.shake === false ? PLAIN_KNOBS : shakenKnobs(prng.fork('knobs'));
    this.knobs = { ...shaken, ...options.knobs };
    const faultPrng = prng.fork('faults');
    this.#kernel = new Kernel({
      microtasks: options.microtasks,
      prng: prng.fork('kernel'),
      knobs: this.knobs,
      trace: new Trace(options.traceEvents ?? 1_000),
      faults: (nowNs) => new Faults(options.faults ?? NO_FAULTS, faultPrng, nowNs),
    });
    this.faults = this.#kernel.faults;
    this.prng = prng.fork('user');
    this.#links = new Links(this.#kernel);
    this.#mounts = new Mounts(this.#kernel);
    this.#fabric = new Fabric(this.#kernel, this.#links, options.plainPorts ?? []);
    this.#threads = new Map(Object.entries(options.threads ?? {}));
    this.#table = new ProcessTable({
      kernel: this.#kernel,
      roles: new Map(Object.entries(options.roles ?? {})),
      makeRuntime: (needs) => this.#makeRuntime(needs),
      fail: (error) => this.fail(error),
    });
  }

  // Machines and processes.

  /** The machine of this name; made at the first mention. */
  machine(name: string, options: MachineOptions = {}): Machine {
    const known = this.#machines.get(name);
    if (known !== undefined) return known;
    const id = this.#machines.size + 1;
    const machine = new Machine(id, name, `10.0.${id >> 8}.${id & 255}`);
    const prng = this.#kernel.prng;
    machine.bootNs = prng.below(CLOCK_START_MS_MAX) * NS_PER_MS;
    machine.driftPpm = prng.between(-this.knobs.driftPpm, this.knobs.driftPpm);
    machine.bytesPerUs = options.bytesPerUs ?? this.knobs.bytesPerUs;
    machine.workNs = options.workNs;
    if (options.nic !== undefined) machine.nic = new NicModel(options.nic);
    machine.memoryAvailableBytes = options.memoryAvailableBytes ?? machine.memoryAvailableBytes;
    this.#machines.set(name, machine);
    this.#fabric.add(machine);
    this.#disks.set(machine, new DiskStore(this.#kernel, machine));
    this.#databases.set(machine, new DatabaseStore(this.#kernel, machine));
    return machine;
  }

  /** All machines, in the order of their making. */
  get machines(): Machine[] {
    return [...this.#machines.values()];
  }

  /** Starts the `main` registered for the role; it runs some time later, when time passes. */
  start(machine: Machine, role: string, config: unknown): SimulatedProcess {
    return this.#table.launch({ machine, role }, config);
  }

  /** A process without a main, to be used through its runtime. */
  program(machine: Machine, name: string): SimulatedProcess {
    return this.#table.bare({ machine, role: name });
  }

  /** The living ones, spawned ones too, in the order of their starting. */
  get processes(): SimulatedProcess[] {
    return this.#table.living;
  }

  #makeRuntime(needs: RuntimeNeeds): Runtime {
    const kernel = this.#kernel;
    const { task, held, holder, processes, spawnTask, runThread } = needs;
    const { machine } = task.process;
    const entropy = new Prng(kernel.prng.u53());
    const disk = this.#disk(machine);
    const nextHandle = (): number => this.#nextHandle++;
    const memory = { kernel, task, held, holder, nextHandle };
    return {
      clock: new SimulatedClock(kernel, machine),
      timers: new SimulatedTimers(kernel, task),
      network: new SimulatedNetwork(this.#fabric, task),
      tls: simulatedTls,
      disk: new SimulatedDisk(disk, task),
      databases: new SimulatedDatabases(this.#database(machine), task),
      memory: new SimulatedMemory(memory),
      durables: new SimulatedDurables(disk, memory),
      fuse: new SimulatedFuse(this.#mounts, task),
      threads: new SimulatedThreads({
        kernel,
        task,
        entries: this.#threads,
        spawnTask,
        run: runThread,
      }),
      processes,
      entropy: {
        u32: () => entropy.u32(),
        u53: () => Math.max(1, entropy.u53()),
        fraction: () => entropy.fraction(),
      },
      checksum: this.#options.checksum ?? { crc32c },
      log: { write: (level, message, fields) => this.#log(task.id, level, message, fields) },
    };
  }

  #disk(machine: Machine): DiskStore {
    const store = this.#disks.get(machine);
    assert(store !== undefined, 'a machine of another world');
    return store;
  }

  /** The databases of the machine as they are stored at this moment. */
  copyDatabases(machine: Machine): DatabaseCopy {
    return this.#database(machine).copy();
  }

  /** An older copy takes the place of what is stored; nobody uses it. */
  putBackDatabases(machine: Machine, copy: DatabaseCopy): void {
    this.#database(machine).putBack(copy);
  }

  #database(machine: Machine): DatabaseStore {
    const store = this.#databases.get(machine);
    assert(store !== undefined, 'a machine of another world');
    return store;
  }

  #log(task: number, level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
    const kernel = this.#kernel;
    const text = `${level}: ${message} ${JSON.stringify(fields)}`;
    kernel.trace.record(kernel.nowNs, EventKind.Log, task, message.length, text);
    const process = this.#table.taskName(task);
    this.#options.onLog?.({ atMs: this.nowMs, process, level, message, fields });
  }

  // Time.

  /** Simulated milliseconds since the world began. */
  get nowMs(): number {
    return this.#kernel.nowNs / NS_PER_MS;
  }

  /** Turns so far; a measure of how much was simulated. */
  get turns(): number {
    return this.#kernel.turns;
  }

  /** Lets time pass. Rejects with a `SimulatedCrash` when a simulated process shows a bug. */
  async run(options: RunOptions = {}): Promise<RunEnd> {
    assert(!this.#running, 'a world is run twice at once');
    this.#running = true;
    const kernel = this.#kernel;
    const limitNs = this.#limitNs(options);
    const lastTurn = kernel.turns + (options.turns ?? Infinity);
    let end: RunEnd = 'idle';
    try {
      await runTurns(this.#options.immediate, () => {
        this.#throwFailure();
        if (options.until?.() === true) end = 'condition';
        else if (kernel.turns >= lastTurn) end = 'turns';
        else {
          const turn = this.#turn(limitNs);
          if (turn === 'ran') return true;
          end = turn === 'limit' ? 'time' : 'idle';
        }
        return false;
      });
    } finally {
      this.#running = false;
    }
    return end;
  }

  /** Lets time pass until the promise settles, and gives its value. */
  async drive<T>(body: Promise<T>, options: RunOptions = {}): Promise<T> {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    body.then(settle, settle);
    const end = await this.run({ ...options, until: () => settled });
    if (!settled) throw new Error(`the run ended (${end}) before the promise settled`);
    return body;
  }

  #limitNs(options: RunOptions): number {
    const { nowNs } = this.#kernel;
    const forNs = options.forMs === undefined ? Infinity : nowNs + options.forMs * NS_PER_MS;
    const untilNs = options.untilMs === undefined ? Infinity : options.untilMs * NS_PER_MS;
    return Math.floor(Math.min(forNs, untilNs));
  }

  #turn(limitNs: number): 'ran' | 'idle' | 'limit' {
    try {
      return this.#kernel.turn(limitNs);
    } catch (error) {
      if (error instanceof SimulatedExit) return 'ran';
      throw this.#crash(error);
    }
  }

  /** Ends the run with this error: for an unhandled rejection that the host has caught. */
  fail(error: unknown): void {
    // Of a process that has ended, whose code the promise was.
    if (error instanceof SimulatedExit) return;
    this.#failure ??= this.#crash(error);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #crash(error: unknown): SimulatedCrash {
    const text = error instanceof Error ? error.message : String(error);
    const where = `seed ${this.seed}, ${this.nowMs} ms, turn ${this.turns}`;
    return new SimulatedCrash(`${text} (${where})`, { cause: error });
  }

  /** Calls back after so much simulated time, on nobody's behalf. */
  after(ms: number, callback: () => void): void {
    const ns = Math.max(0, Math.floor(ms * NS_PER_MS));
    this.#kernel.schedule(ns, undefined, EventKind.Host, callback);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  // Faults.

  #inject(kind: FaultKind, machines: readonly Machine[], lasts = false): Fault {
    const kernel = this.#kernel;
    kernel.trace.record(kernel.nowNs, EventKind.Fault, 0, machines[0]?.id ?? 0, kind);
    return this.faults.inject(
      kind,
      machines.map((machine) => machine.id),
      lasts,
    );
  }

  /**
   * Calls back right before each flush of a mapped file takes effect at a machine's disk; of all of
   * the file where there are no ranges. What asked for it can be killed then, or the machine stop.
   */
  onFlush(callback: (machine: Machine, ranges: readonly FileRange[]) => void): void {
    this.#kernel.flushEnds = callback;
  }

  /** `kill -9`. */
  kill(target: SimulatedProcess): void {
    if (!target.alive) return;
    const fault = this.#inject(FaultKind.Kill, [target.machine], true);
    this.#table.kill(target, fault);
    // It may be back at once: what lasts is what others notice.
    this.after(1, () => this.faults.end(fault));
  }

  /** Whether a thread of the process is in the middle of accesses of shared memory. */
  isInStep(target: SimulatedProcess): boolean {
    return this.#table.isInStep(target);
  }

  /** Whether part of what a thread of it copies is in shared memory now, and the rest is not. */
  isInCopy(target: SimulatedProcess): boolean {
    return this.#table.isInCopy(target);
  }

  /** Whether one of its threads is, and does not go on for now. */
  isStoppedInStep(target: SimulatedProcess): boolean {
    return this.#table.isStoppedInStep(target);
  }

  /** SIGTERM: stops in order. Not a fault. */
  terminate(target: SimulatedProcess): void {
    this.#table.terminate(target);
  }

  /** SIGSTOP: nothing of it runs, what arrives for it is kept, until `resume`. */
  pause(target: SimulatedProcess): void {
    if (!target.alive || target.paused) return;
    this.#lasting.set(target, this.#inject(FaultKind.Pause, [target.machine], true));
    this.#table.pause(target);
  }

  resume(target: SimulatedProcess): void {
    this.#endLasting(target);
    this.#table.resume(target);
  }

  #endLasting(what: object): void {
    const fault = this.#lasting.get(what);
    if (fault !== undefined) this.faults.end(fault);
    this.#lasting.delete(what);
  }

  /** The machine stops: processes and memory are gone, the disk keeps what was flushed. */
  crash(machine: Machine): void {
    if (!machine.up) return;
    const fault = this.#inject(FaultKind.MachineCrash, [machine], true);
    this.#lasting.set(machine, fault);
    machine.up = false;
    machine.stops += 1;
    const status = { code: undefined, signal: 'SIGKILL', reason: 'machine crashed', fault };
    for (const target of this.processes) {
      if (target.machine === machine && target.alive) this.#table.end(target, status);
    }
    this.#disk(machine).crash();
  }

  /** The machine is up again, without any process. */
  restart(machine: Machine): void {
    machine.up = true;
    this.#endLasting(machine);
  }

  /**
   * Cuts every wire between a machine of `from` and one of `to`; one way: only from-to; for streams
   * alone, or for datagrams alone.
   */
  partition(
    from: readonly Machine[],
    to: readonly Machine[],
    options: { readonly oneWay?: boolean; readonly only?: 'streams' | 'datagrams' } = {},
  ): Fault {
    const kind = partitionKind(options);
    const fault = this.#inject(kind, [...from, ...to], true);
    for (const a of from) {
      for (const b of to) {
        if (a === b) continue;
        this.#links.block(a, b, fault);
        if (options.oneWay !== true) this.#links.block(b, a, fault);
      }
    }
    this.#partitions.add(fault);
    return fault;
  }

  /** What was held arrives, late, or the connection turns out to be broken. */
  heal(partition: Fault): void {
    this.#partitions.delete(partition);
    this.#links.heal(partition);
  }

  /** Longer datagrams from one machine to the other vanish; `Knobs.pathBytes` is usual. */
  setPath(from: Machine, to: Machine, bytes: number): void {
    this.#fabric.paths.set(from, to, bytes);
  }

  /**
   * So do those from `from` to `to` until `restorePath`; with `isTold` they are refused where they
   * are sent. Those that are sent within the first `lateMs` come, up to 200 ms late: they took the
   * way that there was before. The way back is another one.
   */
  shrinkPath(
    from: readonly Machine[],
    to: readonly Machine[],
    options: { readonly bytes: number; readonly isTold?: boolean; readonly lateMs?: number },
  ): Fault {
    const fault = this.#inject(FaultKind.PathShrunk, [...from, ...to], true);
    const { bytes, isTold = false, lateMs = 0 } = options;
    const lateUntilNs = this.#kernel.nowNs + lateMs * NS_PER_MS;
    const shrinking = { bytes, isTold, lateUntilNs, fault };
    for (const a of from) for (const b of to) this.#fabric.paths.shrink(a, b, shrinking);
    this.#shrunkPaths.add(fault);
    return fault;
  }

  restorePath(fault: Fault): void {
    this.#shrunkPaths.delete(fault);
    this.#fabric.paths.restore(fault);
  }

  /** Everything over the network takes `factor` (an integer; 1 is usual) times as long. */
  slow(machine: Machine, factor: number): void {
    machine.slowness = factor;
  }

  /** The machine's wall clock jumps; the monotonic one does not. */
  jumpWall(machine: Machine, ms: number): void {
    this.#inject(FaultKind.ClockJump, [machine]);
    machine.wallMs += ms;
  }

  /** What is mounted at a folder of the machine, to be asked as its programs do. */
  mountAt(machine: Machine, folder: string): SimulatedMount | undefined {
    return this.#mounts.find(machine, folder);
  }

  /** As who mounts a folder and keeps it for those who serve it; the number is theirs. */
  keepMount(machine: Machine, folder: string): number {
    return this.#mounts.keep(machine, folder);
  }

  /** The disk is full at so many bytes; Infinity is usual. */
  diskCapacity(machine: Machine, bytes: number): void {
    this.#disk(machine).capacityBytes = bytes;
  }

  /** Nothing there gets any more place on the disk, until `freeDisk`. */
  fillDisk(machine: Machine): void {
    machine.diskFull ??= this.#inject(FaultKind.DiskFull, [machine], true);
  }

  freeDisk(machine: Machine): void {
    if (machine.diskFull !== undefined) this.faults.end(machine.diskFull);
    machine.diskFull = undefined;
  }

  /** What `Memory.available` says there. */
  memoryAvailable(machine: Machine, bytes: number): void {
    machine.memoryAvailableBytes = bytes;
  }

  /**
   * Other programs take all but so much of the machine's memory, until `relieve`; again for
   * another amount.
   */
  squeeze(machine: Machine, bytes: number): void {
    const known = this.#squeezes.get(machine);
    if (known === undefined) {
      machine.memoryUsualBytes = machine.memoryAvailableBytes;
      this.#squeezes.set(machine, this.#inject(FaultKind.MemoryShort, [machine], true));
    }
    machine.memoryAvailableBytes = bytes;
  }

  relieve(machine: Machine): void {
    const fault = this.#squeezes.get(machine);
    if (fault === undefined) return;
    this.#squeezes.delete(machine);
    fault.untilNs = this.#kernel.nowNs;
    machine.memoryAvailableBytes = machine.memoryUsualBytes;
  }

  /** Ends all faults: none comes by itself, wires are whole, paused processes and machines run. */
  calm(): void {
    this.faults.enabled = false;
    for (const fault of [...this.#partitions]) this.heal(fault);
    for (const fault of [...this.#shrunkPaths]) this.restorePath(fault);
    for (const machine of this.machines) {
      this.relieve(machine);
      this.freeDisk(machine);
      machine.slowness = 1;
      if (!machine.up) this.restart(machine);
    }
    for (const target of this.processes) if (target.paused) this.resume(target);
    this.#kernel.endStops();
  }

  /**
   * Tells how an operation of a workload ended that began at `startedMs` of the world's time.
   * Other than 'ok', the faults that it overlapped, at its machine or one it talks to, mattered.
   */
  noteOutcome(target: SimulatedProcess, startedMs: number, outcome: OperationOutcome): void {
    if (outcome === 'ok') return;
    const { id, neighbours } = target.machine;
    this.faults.matterSince(startedMs * NS_PER_MS, id, neighbours);
  }

  /** How many faults of the kind mattered. */
  faultMattered(kind: FaultKind): number {
    return this.faults.mattered[kind];
  }

  // Reports.

  /** 53 bits over everything that happened. */
  traceHash(): number {
    return this.#kernel.trace.hash();
  }

  /** The last events, one line each, for the report of a failure. */
  report(): string {
    return this.#kernel.trace.text((task) => this.#table.taskName(task));
  }
}

function partitionKind(options: {
  readonly oneWay?: boolean;
  readonly only?: 'streams' | 'datagrams';
}): FaultKind {
  if (options.only === 'streams') return FaultKind.StreamsCut;
  if (options.only === 'datagrams') return FaultKind.DatagramsCut;
  return options.oneWay === true ? FaultKind.PartitionOneWay : FaultKind.Partition;
}
