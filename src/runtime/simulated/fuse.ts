/** The simulated kernel's side of /dev/fuse: programs of a machine ask, and a process answers. */

import { assert } from '../../base/assert.js';
import {
  type Fuse,
  FuseError,
  type FuseMount,
  type FuseServer,
  type FuseSlots,
  type MountOptions,
  type ServeOptions,
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
/** `FUSE_NOTIFY_RESEND`; requests that come again have the highest bit of their number set. */
const RESEND = 7;
const RESENT = 0x80;

/** Given the answer, its header first; undefined: there is none, as the mount has ended. */
export type Answered = (answer: Uint8Array | undefined) => void;

interface Asked {
  readonly request: Uint8Array;
  readonly answered: Answered;
}

/** The mounts of all machines: by their folders, and by numbers for processes that serve them. */
export class Mounts {
  readonly #kernel: Kernel;
  readonly #mounts = new Map<Machine, Map<string, SimulatedMount>>();
  readonly #numbered: SimulatedMount[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  find(machine: Machine, folder: string): SimulatedMount | undefined {
    return this.#mounts.get(machine)?.get(folder);
  }

  /** Of one that this process mounts. */
  add(task: Task, options: MountOptions): FuseMount {
    const mount = this.#make(task.process.machine, options.folder);
    return new SimulatedSide(this.#kernel, task, mount, options, true);
  }

  /** As who keeps a mount for those who serve it one after the other. */
  keep(machine: Machine, folder: string): number {
    const mount = this.#make(machine, folder);
    mount.keepers += 1;
    return this.#numbered.push(mount) - 1;
  }

  serve(task: Task, connection: number, options: ServeOptions): FuseMount {
    const mount = this.#numbered[connection];
    if (mount?.machine !== task.process.machine) {
      throw new FuseError(`${connection} is no mount that this process was given`);
    }
    return new SimulatedSide(this.#kernel, task, mount, options, false);
  }

  #make(machine: Machine, folder: string): SimulatedMount {
    const here = this.#mounts.get(machine) ?? new Map<string, SimulatedMount>();
    this.#mounts.set(machine, here);
    if (here.has(folder)) throw new FuseError(`${folder} is mounted already`);
    const gone = (): void => void here.delete(folder);
    const mount = new SimulatedMount(this.#kernel, machine, gone);
    here.set(folder, mount);
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

  serve(connection: number, options: ServeOptions): FuseMount {
    return this.#mounts.serve(this.#task, connection, options);
  }
}

/** The kernel's state of a mount: what programs asked, and what of it was read. */
export class SimulatedMount {
  readonly machine: Machine;
  /** What was told to the kernel without being asked. */
  readonly notices: Uint8Array[] = [];
  /** Threads that are being killed. */
  readonly killed = new Set<number>();
  /** It ends with the last one who has it. */
  keepers = 0;
  /** Requests that were asked again of who serves next. */
  resent = 0;
  hasEnded = false;
  readonly #kernel: Kernel;
  readonly #gone: () => void;
  #side: SimulatedSide | undefined;
  #waiting: Asked[] = [];
  /** Read by who serves, by their numbers. */
  readonly #sent = new Map<string, Asked>();

  constructor(kernel: Kernel, machine: Machine, gone: () => void) {
    this.#kernel = kernel;
    this.machine = machine;
    this.#gone = gone;
  }

  /** As a program of the machine, or its kernel: a request, whose number no other one has. */
  ask(request: Uint8Array, answered: Answered): void {
    if (this.hasEnded) {
      answered(undefined);
      return;
    }
    this.#waiting.push({ request, answered });
    this.#side?.deliver();
  }

  begin(side: SimulatedSide): void {
    this.#side = side;
    for (let i = 0; i < this.#waiting.length; i++) side.deliver();
  }

  /** The request that waits longest. */
  read(): Uint8Array | undefined {
    const asked = this.#waiting.shift();
    if (asked !== undefined) this.#sent.set(uniqueOf(asked.request), asked);
    return asked?.request;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  answer(answer: Uint8Array): void {
    const unique = uniqueOf(answer);
    const asked = this.#sent.get(unique);
    assert(asked !== undefined, 'an answer is to a request, and the only one');
    this.#sent.delete(unique);
    // Who asked knows nothing of its having come again.
    answer[UNIQUE + 7] = (answer[UNIQUE + 7] as number) & ~RESENT;
    const told = (): void => asked.answered(answer);
    this.#kernel.schedule(this.delayNs(), undefined, EventKind.Wake, told);
  }

  tell(notice: Uint8Array): void {
    this.notices.push(notice);
    const view = new DataView(notice.buffer, notice.byteOffset);
    const isResend = view.getBigUint64(UNIQUE, true) === 0n && view.getInt32(4, true) === RESEND;
    if (!isResend) return;
    const again = [...this.#sent.values()];
    this.#sent.clear();
    this.resent += again.length;
    for (const { request } of again) {
      request[UNIQUE + 7] = (request[UNIQUE + 7] as number) | RESENT;
    }
    this.#waiting.unshift(...again);
    for (const _ of again) this.#side?.deliver();
  }

  delayNs(): number {
    return this.#kernel.prng.below(this.#kernel.knobs.loopbackNs + 1);
  }

  /** Of one who has it; `isTakenAway`: nobody else is to have it. */
  leave(side: SimulatedSide | undefined, isTakenAway: boolean): void {
    if (side !== undefined && this.#side === side) this.#side = undefined;
    this.keepers -= 1;
    if (this.keepers <= 0 || isTakenAway) this.#end();
  }

  #end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.#gone();
    const all = [...this.#waiting, ...this.#sent.values()];
    this.#waiting = [];
    this.#sent.clear();
    for (const { answered } of all) {
      this.#kernel.schedule(0, undefined, EventKind.Wake, () => answered(undefined));
    }
  }
}

/** Of a mount what a process has that serves it. */
class SimulatedSide implements FuseMount {
  readonly slots: FuseSlots;
  readonly owner = { uid: 0, gid: 0 };
  readonly #kernel: Kernel;
  readonly #task: Task;
  readonly #mount: SimulatedMount;
  readonly #isOwn: boolean;
  readonly #forget: () => void;
  readonly #free: number[];
  #server: FuseServer | undefined;
  #hasLeft = false;

  constructor(
    kernel: Kernel,
    task: Task,
    mount: SimulatedMount,
    options: ServeOptions,
    isOwn: boolean,
  ) {
    this.#kernel = kernel;
    this.#task = task;
    this.#mount = mount;
    this.#isOwn = isOwn;
    const length = PAGE_BYTES + options.dataBytesMax;
    const buffers = Array.from({ length: options.slots }, () => new ArrayBuffer(length));
    this.slots = {
      count: options.slots,
      input: buffers.map((buffer) => bytesOf(buffer, 0)),
      output: buffers.map((buffer) => bytesOf(buffer, OUTPUT_AT)),
    };
    this.#free = buffers.map((_, slot) => slot);
    mount.keepers += 1;
    this.#forget = task.atEnd(() => this.#leave());
  }

  get #hasEnded(): boolean {
    return this.#hasLeft || this.#mount.hasEnded;
  }

  begin(server: FuseServer): void {
    assert(this.#server === undefined, 'a mount has one server');
    this.#server = server;
    this.#mount.begin(this);
  }

  /** One of the requests that wait, when who serves looks. */
  deliver(): void {
    this.#kernel.schedule(this.#mount.delayNs(), this.#task, EventKind.Read, () => {
      if (this.#hasEnded || this.#free.length === 0) return;
      const request = this.#mount.read();
      if (request === undefined) return;
      const slot = this.#free.pop() as number;
      (this.slots.input[slot] as Bytes).bytes.set(request);
      this.#server?.received(slot, request.length);
    });
  }

  reply(slot: number, bytes: number): void {
    if (this.#hasEnded) return;
    const { bytes: output } = this.slots.output[slot] as Bytes;
    this.#mount.answer(new Uint8Array(output.subarray(0, bytes)));
  }

  free(slot: number): void {
    assert(!this.#free.includes(slot), 'a slot is freed once');
    this.#free.push(slot);
    if (this.#mount.isWaiting) this.deliver();
  }

  tell(bytes: Uint8Array): Promise<boolean> {
    if (!this.#hasEnded) this.#mount.tell(new Uint8Array(bytes));
    return Promise.resolve(!this.#hasEnded);
  }

  isBeingKilled(thread: number): boolean {
    return this.#mount.killed.has(thread);
  }

  close(): Promise<void> {
    if (!this.#hasLeft) {
      this.#forget();
      this.#leave();
      this.#server?.ended();
    }
    return Promise.resolve();
  }

  #leave(): void {
    this.#hasLeft = true;
    this.#mount.leave(this, this.#isOwn);
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
