/**
 * Simulated processes: started, supervised, killed and paused; each with a runtime of its own.
 */

import { AssertionError, assert, defined } from '../../base/assert.js';
import type { MemoryHandle } from '../memory.js';
import type { Child, Exit, Processes, SpawnOptions } from '../processes.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime.js';
import type { ThreadMain } from '../thread-main.js';
import type { ThreadStart } from '../threads.js';
import type { Fault } from './faults.js';
import { type Kernel, NS_PER_MS, NS_PER_US, SimulatedExit } from './kernel.js';
import { HeldMemory } from './memory.js';
import { type ExitStatus, type Machine, Process, Task } from './task.js';
import { copyJson } from './threads.js';
import { EventKind } from './trace.js';

/** Until a parent is told of its child, and a child that outlived its parent is killed. */
const TELL_US = 500;
const FIRST_PID = 1_000;

/** A process as the world's user sees it. */
export interface SimulatedProcess {
  readonly pid: number;
  readonly role: string;
  readonly machine: Machine;
  readonly alive: boolean;
  readonly paused: boolean;
  /** How it ended; undefined while it lives. */
  readonly exit: ExitStatus | undefined;
  readonly runtime: Runtime;
  /** What its main returned; undefined until it serves. */
  readonly running: RunningRole | undefined;
  /** What it told its parent with `ready`. */
  readonly readyMessage: unknown;
  readonly parent: SimulatedProcess | undefined;
}

/** The same with what only this file changes. */
class Started implements SimulatedProcess {
  readonly core: Process;
  readonly parent: Started | undefined;
  readonly held: HeldMemory;
  runtime!: Runtime;
  running: RunningRole | undefined;
  readyMessage: unknown;
  tellReady: ((message: unknown) => void) | undefined;

  constructor(core: Process, parent: Started | undefined) {
    this.core = core;
    this.parent = parent;
    this.held = new HeldMemory(core);
  }

  get pid(): number {
    return this.core.pid;
  }
  get role(): string {
    return this.core.role;
  }
  get machine(): Machine {
    return this.core.machine;
  }
  get alive(): boolean {
    return this.core.alive;
  }
  get paused(): boolean {
    return this.core.paused;
  }
  get exit(): ExitStatus | undefined {
    return this.core.exit;
  }
}

/** What a task needs to be given a runtime. */
export interface RuntimeNeeds {
  readonly task: Task;
  readonly held: HeldMemory;
  readonly processes: Processes;
  /** What a living process holds. */
  readonly holder: (pid: number) => HeldMemory | undefined;
  readonly spawnTask: (name: string) => Task;
  readonly runThread: (task: Task, main: ThreadMain, start: ThreadStart) => void;
}

export interface ProcessTableParts {
  readonly kernel: Kernel;
  readonly roles: ReadonlyMap<string, RoleMain<never>>;
  readonly makeRuntime: (needs: RuntimeNeeds) => Runtime;
  /** Ends the run: a bug was found. */
  readonly fail: (error: Error) => void;
}

interface LaunchOptions {
  readonly machine: Machine;
  readonly role: string;
  readonly parent?: Started;
  readonly memory?: readonly MemoryHandle[];
}

export class ProcessTable {
  readonly #parts: ProcessTableParts;
  readonly #all: Map<number, Started> = new Map();
  readonly #taskNames: string[] = ['world'];
  #nextPid = FIRST_PID;

  constructor(parts: ProcessTableParts) {
    this.#parts = parts;
  }

  /** The living ones, in the order in which they were started. */
  get living(): SimulatedProcess[] {
    return [...this.#all.values()];
  }

  isLiving(pid: number): boolean {
    return this.#all.has(pid);
  }

  taskName(id: number): string {
    return this.#taskNames[id] ?? '?';
  }

  #newTask(owner: Process, name: string): Task {
    const id = this.#taskNames.length;
    this.#taskNames.push(`${owner.machine.name}/${owner.role}:${owner.pid}${name}`);
    const task = new Task(id, name, owner);
    owner.tasks.push(task);
    return task;
  }

  /** A process without a main: for code of the world's user that wants a runtime. */
  bare(options: LaunchOptions): Started {
    assert(options.machine.up, 'a process is started on a machine that is down');
    const pid = this.#nextPid++;
    const core = new Process(pid, options.role, options.machine, options.parent?.core);
    options.machine.processes.push(core);
    const task = this.#newTask(core, '');
    const started = new Started(core, options.parent);
    options.parent?.held.handTo(started.held, options.memory ?? []);
    this.#all.set(pid, started);
    task.atEnd((status) => this.#ended(started, status));
    started.runtime = this.#runtimeFor(started, task);
    return started;
  }

  #runtimeFor(started: Started, task: Task): Runtime {
    return this.#parts.makeRuntime({
      task,
      held: started.held,
      processes: new TaskProcesses(this, started, task),
      holder: (pid) => this.#all.get(pid)?.held,
      spawnTask: (name) => this.#newTask(started.core, `/${name}`),
      runThread: (thread, main, start) => this.#runThread(started, thread, main, start),
    });
  }

  launch(options: LaunchOptions, config: unknown): Started {
    const { kernel, roles } = this.#parts;
    const main = roles.get(options.role);
    assert(main !== undefined, 'a role that was not registered');
    const started = this.bare(options);
    const given = copyJson(config);
    const delayNs = 1 + kernel.prng.below(kernel.knobs.startMs * NS_PER_MS);
    kernel.schedule(delayNs, started.core.main, EventKind.Start, () => {
      this.#runMain(started, main, given);
    });
    return started;
  }

  #runMain(started: Started, main: RoleMain<never>, config: unknown): void {
    main(started.runtime, config as never).then(
      (running) => {
        started.running = running;
      },
      (error: unknown) => {
        if (!started.alive || error instanceof SimulatedExit) return;
        if (error instanceof AssertionError) this.#parts.fail(error);
        const reason = `main failed: ${String(error)}`;
        started.core.end({ code: 1, signal: undefined, reason });
      },
    );
  }

  #runThread(started: Started, task: Task, main: ThreadMain, start: ThreadStart): void {
    const end = (reason: string): void => task.end({ code: 0, signal: undefined, reason });
    main(this.#runtimeFor(started, task), start).then(
      () => end('finished'),
      (error: unknown) => {
        if (!task.alive || error instanceof SimulatedExit) return;
        if (error instanceof AssertionError) this.#parts.fail(error);
        end(String(error));
      },
    );
  }

  #ended(started: Started, status: ExitStatus): void {
    const { kernel } = this.#parts;
    this.#all.delete(started.pid);
    kernel.trace.record(
      kernel.nowNs,
      EventKind.End,
      started.core.main.id,
      status.code ?? -1,
      status.reason,
    );
  }

  end(target: SimulatedProcess, status: ExitStatus): void {
    defined(this.#all.get(target.pid)).core.end(status);
  }

  kill(target: SimulatedProcess, fault?: Fault): void {
    if (!target.alive) return;
    const status = { code: undefined, signal: 'SIGKILL', reason: 'killed' };
    this.end(target, fault === undefined ? status : { ...status, fault });
  }

  terminate(target: SimulatedProcess): void {
    const started = this.#all.get(target.pid);
    if (started === undefined) return;
    const { kernel } = this.#parts;
    const task = started.core.main;
    kernel.schedule(kernel.withinUs(TELL_US), task, EventKind.Child, () => {
      if (started.running === undefined) {
        started.core.end({ code: undefined, signal: 'SIGTERM', reason: 'terminated' });
        return;
      }
      const end = (code: number, reason: string): void =>
        started.core.end({ code, signal: undefined, reason });
      started.running.stop().then(
        () => end(0, 'stopped'),
        (error: unknown) => end(1, `stop failed: ${String(error)}`),
      );
    });
  }

  isInStep(target: SimulatedProcess): boolean {
    const core = this.#all.get(target.pid)?.core;
    return core?.tasks.some((task) => task.isBusy) ?? false;
  }

  isInCopy(target: SimulatedProcess): boolean {
    const core = this.#all.get(target.pid)?.core;
    return core?.tasks.some((task) => task.isBusy && task.hasStoredPart) ?? false;
  }

  isStoppedInStep(target: SimulatedProcess): boolean {
    const core = this.#all.get(target.pid)?.core;
    if (core === undefined) return false;
    const { kernel } = this.#parts;
    return core.tasks.some((task) => task.isBusy && (core.paused || kernel.isStopped(task)));
  }

  pause(target: SimulatedProcess): void {
    const started = this.#all.get(target.pid);
    if (started !== undefined) started.core.paused = true;
  }

  resume(target: SimulatedProcess): void {
    const core = this.#all.get(target.pid)?.core;
    if (core === undefined || !core.paused) return;
    core.paused = false;
    this.#parts.kernel.release(core.held.splice(0));
  }

  spawn(parent: Started, task: Task, options: SpawnOptions): Child {
    const { kernel } = this.#parts;
    const child = this.launch(
      {
        machine: parent.machine,
        role: options.role,
        parent,
        ...(options.memory === undefined ? {} : { memory: options.memory }),
      },
      options.config,
    );
    parent.core.main.atEnd((status) => {
      const kill = (): void => this.kill(child, status.fault);
      if (!parent.machine.up) kill();
      else kernel.schedule(kernel.withinUs(TELL_US), undefined, EventKind.Child, kill);
    });
    const tell = (what: () => void): void => {
      kernel.schedule(kernel.withinUs(TELL_US), task, EventKind.Child, what);
    };
    const exited = new Promise<Exit>((resolve) => {
      child.core.main.atEnd(({ code, signal, fault }) => {
        tell(() => {
          // Its supervisor has to do something about it.
          kernel.faults.matter(fault);
          resolve({ code, signal });
        });
      });
    });
    const ready = new Promise<unknown>((resolve, reject) => {
      child.tellReady = (message) => tell(() => resolve(message));
      child.core.main.atEnd(({ reason }) => {
        tell(() => reject(new Error(`${options.role} ended before it was ready: ${reason}`)));
      });
    });
    // Whoever does not ask for it is not told.
    ready.catch(() => {});
    const end = (signal: 'term' | 'kill'): void => {
      const act = (): void => (signal === 'kill' ? this.kill(child) : this.terminate(child));
      kernel.schedule(1 + kernel.prng.below(NS_PER_US), undefined, EventKind.Child, act);
    };
    return { pid: child.pid, exited, ready, end };
  }
}

class TaskProcesses implements Processes {
  readonly #table: ProcessTable;
  readonly #started: Started;
  readonly #task: Task;

  constructor(table: ProcessTable, started: Started, task: Task) {
    this.#table = table;
    this.#started = started;
    this.#task = task;
  }

  get pid(): number {
    return this.#started.pid;
  }

  /** Pids are never given out twice here. */
  get identity(): string {
    return `${placeOfPids(this.#started.machine)}${this.#started.pid}`;
  }

  hasEnded(identity: string): boolean {
    return this.canTell(identity) && !this.#table.isLiving(pidOf(identity));
  }

  canTell(identity: string): boolean {
    return identity === `${placeOfPids(this.#started.machine)}${pidOf(identity)}`;
  }

  spawn(options: SpawnOptions): Child {
    return this.#table.spawn(this.#started, this.#task, options);
  }

  ready(message: unknown): void {
    const started = this.#started;
    if (started.readyMessage !== undefined) return;
    started.readyMessage = copyJson(message) ?? null;
    started.tellReady?.(started.readyMessage);
  }

  exit(code: number): never {
    const started = this.#started;
    if (started.alive) started.core.end({ code, signal: undefined, reason: `exit ${code}` });
    throw new SimulatedExit(`process ${started.pid} has ended`);
  }
}

function pidOf(identity: string): number {
  return Number(/\d+$/.exec(identity)?.[0]);
}

/** An earlier boot of the machine is another place. */
function placeOfPids(machine: Machine): string {
  return `${machine.name}/${machine.stops}/`;
}
