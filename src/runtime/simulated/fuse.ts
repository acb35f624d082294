/** The simulated kernel's side of /dev/fuse: programs of a machine ask, and a process answers. */

import { assert } from '../../base/assert.js';
import {
  type Fuse,
  FuseError,
  type FuseMount,
  type FuseServer,
  type FuseSlots,
  type MountOptions,
} from '../fuse.js';
import type { Bytes } from '../network.js';
import type { Kernel } from './kernel.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

const PAGE_BYTES = 4096;
/** `struct fuse_out_header`. */
const OUT_BYTES = 16;
const OUTPUT_AT = PAGE_BYTES - OUT_BYTES;
/** In requests and in answers: where their number stands. */
const UNIQUE = 8;

/** Given the answer, its header first; undefined: there is none, as the mount has ended. */
export type Answered = (answer: Uint8Array | undefined) => void;

interface Asked {
  readonly request: Uint8Array;
  readonly answered: Answered;
}

/** The mounts of all machines, by their folders. */
export class Mounts {
  readonly #kernel: Kernel;
  readonly #mounts = new Map<Machine, Map<string, SimulatedMount>>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  find(machine: Machine, folder: string): SimulatedMount | undefined {
    return this.#mounts.get(machine)?.get(folder);
  }

  add(task: Task, options: MountOptions): SimulatedMount {
    const { machine } = task.process;
    const here = this.#mounts.get(machine) ?? new Map<string, SimulatedMount>();
    this.#mounts.set(machine, here);
    if (here.has(options.folder)) throw new FuseError(`${options.folder} is mounted already`);
    const gone = (): void => void here.delete(options.folder);
    const mount = new SimulatedMount(this.#kernel, task, options, gone);
    here.set(options.folder, mount);
    return mount;
  }
}

export class SimulatedFuse implements Fuse {
  readonly #mounts: Mounts;
  readonly #task: Task;

  constructor(mounts: Mounts, task: Task) {
    this.#mounts = mounts;
    this.#task = task;
  }

  async mount(options: MountOptions): Promise<FuseMount> {
    return this.#mounts.add(this.#task, options);
  }
}

export class SimulatedMount implements FuseMount {
  readonly slots: FuseSlots;
  readonly owner = { uid: 0, gid: 0 };
  /** What was told to the kernel without being asked. */
  readonly notices: Uint8Array[] = [];
  /** Threads that are being killed. */
  readonly killed = new Set<number>();
  readonly #kernel: Kernel;
  readonly #task: Task;
  readonly #gone: () => void;
  readonly #forget: () => void;
  #server: FuseServer | undefined;
  #hasEnded = false;
  readonly #free: number[];
  #waiting: Asked[] = [];
  /** Read by who serves, by their numbers. */
  readonly #sent = new Map<string, Asked>();

  constructor(kernel: Kernel, task: Task, options: MountOptions, gone: () => void) {
    this.#kernel = kernel;
    this.#task = task;
    this.#gone = gone;
    const length = PAGE_BYTES + options.dataBytesMax;
    const buffers = Array.from({ length: options.slots }, () => new ArrayBuffer(length));
    this.slots = {
      count: options.slots,
      input: buffers.map((buffer) => bytesOf(buffer, 0)),
      output: buffers.map((buffer) => bytesOf(buffer, OUTPUT_AT)),
    };
    this.#free = buffers.map((_, slot) => slot);
    this.#forget = task.atEnd(() => this.#end());
  }

  /** As a program of the machine, or its kernel: a request, whose number no other one has. */
  ask(request: Uint8Array, answered: Answered): void {
    if (this.#hasEnded) {
      answered(undefined);
      return;
    }
    this.#waiting.push({ request, answered });
    this.#deliver();
  }

  begin(server: FuseServer): void {
    assert(this.#server === undefined, 'a mount has one server');
    this.#server = server;
    for (let i = 0; i < this.#waiting.length; i++) this.#deliver();
  }

  /** One of those that wait, when who serves looks. */
  #deliver(): void {
    if (this.#server === undefined) return;
    const kernel = this.#kernel;
    kernel.schedule(this.#delayNs(), this.#task, EventKind.Read, () => {
      if (this.#hasEnded || this.#waiting.length === 0) return;
      const slot = this.#free.pop();
      if (slot === undefined) return;
      const asked = this.#waiting.shift() as Asked;
      const { bytes } = this.slots.input[slot] as Bytes;
      bytes.set(asked.request);
      this.#sent.set(uniqueOf(asked.request), asked);
      this.#server?.received(slot, asked.request.length);
    });
  }

  #delayNs(): number {
    return this.#kernel.prng.below(this.#kernel.knobs.loopbackNs + 1);
  }

  reply(slot: number, bytes: number): void {
    if (this.#hasEnded) return;
    const { bytes: output } = this.slots.output[slot] as Bytes;
    const answer = new Uint8Array(output.subarray(0, bytes));
    const unique = uniqueOf(answer);
    const asked = this.#sent.get(unique);
    assert(asked !== undefined, 'an answer is to a request, and the only one');
    this.#sent.delete(unique);
    const told = (): void => asked.answered(answer);
    this.#kernel.schedule(this.#delayNs(), undefined, EventKind.Wake, told);
  }

  free(slot: number): void {
    assert(!this.#free.includes(slot), 'a slot is freed once');
    this.#free.push(slot);
    if (this.#waiting.length > 0) this.#deliver();
  }

  tell(bytes: Uint8Array): Promise<boolean> {
    if (!this.#hasEnded) this.notices.push(new Uint8Array(bytes));
    return Promise.resolve(!this.#hasEnded);
  }

  isBeingKilled(thread: number): boolean {
    return this.killed.has(thread);
  }

  close(): Promise<void> {
    if (!this.#hasEnded) {
      this.#forget();
      this.#end();
      this.#server?.ended();
    }
    return Promise.resolve();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#gone();
    const all = [...this.#waiting, ...this.#sent.values()];
    this.#waiting = [];
    this.#sent.clear();
    for (const { answered } of all) {
      this.#kernel.schedule(0, undefined, EventKind.Wake, () => answered(undefined));
    }
  }
}

function uniqueOf(bytes: Uint8Array): string {
  return bytes.subarray(UNIQUE, UNIQUE + 8).join('.');
}

function bytesOf(buffer: ArrayBuffer, at: number): Bytes {
  return {
    bytes: new Uint8Array(buffer, at),
    view: new DataView(buffer, at),
    words: new Int32Array(buffer, at),
  };
}
