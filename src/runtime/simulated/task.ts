/**
 * Who acts in the simulated world: machines, their processes, and the processes' tasks (the main
 * thread is one, every further thread another). Everything that could still call back belongs to
 * a task, so that ending a task is enough to silence it.
 */

import type { Fault } from './faults.js';
import type { NicModel } from './hardware.js';

export interface SimulatedEvent {
  /** Moved on when it was held. */
  atNs: number;
  /** Set by the queue when the event goes in. */
  sequence: number;
  /** Who runs it: dropped when that task has ended, held while its process is paused. */
  readonly task: Task | undefined;
  readonly kind: number;
  readonly size: number;
  /** Undefined after it was cancelled. */
  run: (() => void) | undefined;
}

export interface ExitStatus {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  /** For people and logs. */
  readonly reason: string;
  /** The injected fault that ended it, if one did. */
  readonly fault?: Fault;
}

export class Task {
  /** Also what the trace knows it by. */
  readonly id: number;
  readonly name: string;
  readonly process: Process;
  alive = true;
  /** In the middle of a step that is run in parts: nothing else of it runs. */
  isBusy = false;
  /** In such a step: part of a copy is stored, and the rest is not yet. */
  hasStoredPart = false;
  /** It has blocked once: never taken into the middle of another task's step. */
  blocks = false;
  /** The last turn of another task in the middle of which it acted. */
  actedIn = 0;
  /** What came due meanwhile, in order. */
  readonly held: SimulatedEvent[] = [];
  readonly #endings: Set<(status: ExitStatus) => void> = new Set();

  constructor(id: number, name: string, process: Process) {
    this.id = id;
    this.name = name;
    this.process = process;
  }

  /** `ending` runs when the task ends, in order of registration. Returns how to take it back. */
  atEnd(ending: (status: ExitStatus) => void): () => void {
    this.#endings.add(ending);
    return () => this.#endings.delete(ending);
  }

  end(status: ExitStatus): void {
    if (!this.alive) return;
    this.alive = false;
    const endings = [...this.#endings];
    this.#endings.clear();
    for (const ending of endings) ending(status);
  }
}

export class Process {
  readonly pid: number;
  readonly role: string;
  readonly machine: Machine;
  readonly parent: Process | undefined;
  readonly tasks: Task[] = [];
  exit: ExitStatus | undefined;
  paused = false;
  /** Events that came due while it was paused, in order. */
  readonly held: SimulatedEvent[] = [];

  constructor(pid: number, role: string, machine: Machine, parent: Process | undefined) {
    this.pid = pid;
    this.role = role;
    this.machine = machine;
    this.parent = parent;
  }

  get alive(): boolean {
    return this.exit === undefined;
  }

  get main(): Task {
    return this.tasks[0] as Task;
  }

  /** Ends all tasks, the main one last, because it may hold what the others use. */
  end(status: ExitStatus): void {
    if (this.exit !== undefined) return;
    this.exit = status;
    this.held.length = 0;
    for (const task of [...this.tasks].reverse()) task.end(status);
    const at = this.machine.processes.indexOf(this);
    if (at >= 0) this.machine.processes.splice(at, 1);
  }
}

export class Machine {
  /** Its disk has no room. */
  diskFull: Fault | undefined;
  readonly id: number;
  readonly name: string;
  /** Its address in the rack's network. */
  readonly host: string;
  readonly processes: Process[] = [];
  /** False between a crash and a restart. */
  up = true;
  /** How often it crashed: what was begun before the last crash is not finished after it. */
  stops = 0;
  /** The clock: nanoseconds at the start of the world, drift, and what `wall` adds. */
  bootNs = 0;
  driftPpm = 0;
  wallMs = 0;
  /** Multiplies what the network takes to and from this machine. */
  slowness = 1;
  /** When its link is free again, each way. */
  sendFreeNs = 0;
  receiveFreeNs = 0;
  bytesPerUs = 0;
  /** What a task here takes for a datagram that it has received; undefined: no time. */
  workNs: ((datagram: Uint8Array) => number) | undefined = undefined;
  nic: NicModel | undefined = undefined;
  memoryTotalBytes = 64 * 2 ** 30;
  /** What there is beside all else that runs there; memory files are taken from it. */
  memoryAvailableBytes = 64 * 2 ** 30;
  /** What there was before others took most of it. */
  memoryUsualBytes = 64 * 2 ** 30;
  /** What its memory files take up. */
  memoryHeldBytes = 0;
  memoryStalledShare: number | undefined = 0;
  /** The only control group that it has. */
  memoryGroup = '/group';
  /** What is told instead of the truth, where the kernel tells nothing or nonsense. */
  memoryReading: { readonly bytes: number | undefined } | undefined = undefined;
  /** Machines it has had a stream or datagram with. */
  readonly neighbours: Set<number> = new Set();

  constructor(id: number, name: string, host: string) {
    this.id = id;
    this.name = name;
    this.host = host;
    this.neighbours.add(id);
  }
}
