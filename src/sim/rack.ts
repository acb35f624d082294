/**
 * A rack in the simulated world: machines with the processes that run on them, and somebody who
 * starts again what has died, as an operator or `memrack up` would.
 */

import { assert } from '../base/assert.js';
import type { Prng } from '../base/prng.js';
import type { ControllerApi } from '../controller/api.js';
import type { EventFacts } from '../controller/event-pages.js';
import type { RunningController } from '../controller/main.js';
import {
  type DatabaseCopy,
  type Machine,
  type SimulatedProcess,
  type SimulatedWorld,
} from '../runtime/simulated/world.js';
import type { MemoryEnd } from './checkers/acknowledged.js';
import { DrainOperator } from './drain-operator.js';
import type { Journal } from './journal.js';

export interface RackShape {
  readonly nodes: number;
  readonly clients: number;
  /** Of each node. */
  readonly frames: number;
  readonly pageBytes: number;
  readonly heartbeatMs: number;
  /** Clients run on the machines of nodes. */
  readonly isOneSided: boolean;
  /** Regions move by a policy, too. */
  readonly isRebalancing?: boolean;
  /** Nodes mind what their machines have left. */
  readonly isShortOfMemory?: boolean;
  /** Nothing is to go wrong. */
  readonly isCalm?: boolean;
  /** Memory is files on the disks of the nodes' machines. */
  readonly isPersistent?: boolean;
  /** Regions go from node to node. */
  readonly isMoving?: boolean;
  /** Processes that serve the block devices of the rack, each on a machine of its own, */
  readonly hosts?: number;
  /** or each on that of a node. */
  readonly areHostsNear?: boolean;
  readonly devices?: readonly DeviceShape[];
}

/** A block device of the rack. */
export interface DeviceShape {
  readonly name: string;
  readonly bytes: number;
  readonly slabBytes: number;
  readonly copies: number;
  /** Where the first host's machine has its backup, if it has one. */
  readonly backup?: string;
}

/** Marks of nodes that mind it. */
export const LEND_ABOVE_PAGES = 8;
export const GIVE_BACK_BELOW_PAGES = 2;

export const CONTROLLER_PORT = 7070;
const NODE_PORT = 7100;
const HOST_PORT = 7300;
/** Its protocol leaves checksums to those below. */
export const NBD_PORT = 10809;
const MEMORY_FILE = '/memory';
/** A log that is full soon; and one with which less time goes by for images of whole tables. */
const LOG_BYTES = 32 * 1024;
const LOG_BYTES_MOVING = 512 * 1024;
/** How often somebody looks whether all processes live. */
const LOOK_MS = 20;
const OPERATOR_LOOK_MS = 250;
const CHILD_LOOK_MS = 0.05;
const OPENING_LOOK_MS = 10;
/** Of some pages. */
const SLAB_BYTES_MIN = 512 * 1024;
/** Few: tables of the usual size are most of what a crash or a checkpoint has to copy. */
const WINDOW_ENTRIES = 2_048;
/** More than all clients of a run can fill. */
const RECORD_ROWS = 2 ** 15;

/** A place where one process of the rack belongs. */
interface Post {
  readonly name: string;
  readonly machine: Machine;
  readonly role: string;
  readonly config: object;
  process: SimulatedProcess;
  /** Ended and not started again yet. */
  isVacant: boolean;
  /** Its machine stopped once. */
  hasCrashed: boolean;
}

export class SimulatedRack {
  readonly world: SimulatedWorld;
  readonly shape: RackShape;
  readonly controller: Post;
  /** One per memory node; the node's own process is a child of it. */
  readonly supervisors: readonly Post[];
  readonly hosts: readonly Post[];
  readonly memoryEnds: MemoryEnd[] = [];
  readonly #prng: Prng;
  /** Supervisors that were told to stop. */
  readonly #stopping = new Set<SimulatedProcess>();
  readonly #journal: Journal;
  readonly #copies: DatabaseCopy[] = [];
  /** Of nodes that were drained: with their memory nothing ends. */
  readonly #emptied = new Set<SimulatedProcess>();
  readonly drains: DrainOperator;
  /** When the controller was started last. */
  controllerSinceMs = -Infinity;
  #isOperated = false;
  #isWithoutHosts = false;

  constructor(world: SimulatedWorld, shape: RackShape, journal: Journal) {
    this.world = world;
    this.shape = shape;
    this.#journal = journal;
    this.#prng = world.prng.fork('rack');
    this.controller = this.#post('controller', world.machine('controller'), 'controller', {
      listen: `tcp://${world.machine('controller').host}:${CONTROLLER_PORT}`,
      data: '/metadata',
      rebalancing: shape.isRebalancing === true ? 'even-used' : 'off',
      heartbeatMs: shape.heartbeatMs,
      awayMs: 3 * shape.heartbeatMs,
      ...(shape.hosts === undefined ? {} : { slabBytesMin: SLAB_BYTES_MIN }),
    });
    this.supervisors = Array.from({ length: shape.nodes }, (_, index) => {
      const machine = world.machine(`node-${index + 1}`);
      return this.#post(`n${index + 1}`, machine, 'supervisor', this.#nodeConfig(index, machine));
    });
    this.hosts = Array.from({ length: shape.hosts ?? 0 }, (_, i) => this.#hostPost(i + 1));
    this.drains = new DrainOperator({
      world,
      journal,
      prng: world.prng.fork('drains'),
      controller: () => this.controller.process,
      api: () => (this.controller.process.paused ? undefined : this.api),
      endEmpty: (node, isKilled) => this.#endEmpty(node, isKilled),
    });
    this.#look();
  }

  #hostPost(number: number): Post {
    const near = this.shape.areHostsNear === true ? this.supervisors[number - 1] : undefined;
    const machine = near?.machine ?? this.world.machine(`host-${number}`);
    return this.#post(`h${number}`, machine, 'host', {
      id: `h${number}`,
      join: [this.controllerAddress],
      listen: `tcp://${machine.host}:${HOST_PORT}`,
      nbd: `tcp://${machine.host}:${NBD_PORT}`,
    });
  }

  /** Where block devices are served. */
  get doors(): readonly string[] {
    return this.hosts.map(({ machine }) => `tcp://${machine.host}:${NBD_PORT}`);
  }

  /** In order, and for good. */
  stopHosts(): void {
    for (const post of this.hosts) {
      this.#isWithoutHosts = true;
      if (post.process.alive) this.world.terminate(post.process);
    }
  }

  get areHostsStopped(): boolean {
    return this.hosts.every(({ process }) => !process.alive);
  }

  #nodeConfig(index: number, machine: Machine): object {
    return {
      id: `n${index + 1}`,
      join: [this.controllerAddress],
      listen: `tcp://${machine.host}:${NODE_PORT + index}`,
      memoryBytes: this.shape.frames * this.shape.pageBytes,
      pageBytes: this.shape.pageBytes,
      windowEntries: WINDOW_ENTRIES,
      recordRows: RECORD_ROWS,
      ...this.#donorConfig(),
      ...(this.shape.isPersistent === true ? { persistent: this.#memoryFile(true) } : {}),
    };
  }

  #memoryFile(create: boolean): object {
    const logBytes = this.shape.isMoving === true ? LOG_BYTES_MOVING : LOG_BYTES;
    return { path: MEMORY_FILE, logBytes, create };
  }

  #donorConfig(): object {
    const { isShortOfMemory, pageBytes } = this.shape;
    if (isShortOfMemory !== true) return { protectDonor: false };
    const lendAboveBytes = LEND_ABOVE_PAGES * pageBytes;
    return { lendAboveBytes, giveBackBelowBytes: GIVE_BACK_BELOW_PAGES * pageBytes };
  }

  get controllerAddress(): string {
    return `tcp://${this.world.machine('controller').host}:${CONTROLLER_PORT}`;
  }

  get url(): string {
    return `memrack://${this.world.machine('controller').host}:${CONTROLLER_PORT}`;
  }

  get frames(): number {
    return this.shape.frames * this.shape.nodes;
  }

  #post(name: string, machine: Machine, role: string, config: object): Post {
    const process = this.world.start(machine, role, config);
    return { name, machine, role, config, process, isVacant: false, hasCrashed: false };
  }

  /** The process that serves the node, if there is one now. */
  nodeProcess(index: number): SimulatedProcess | undefined {
    const supervisor = this.supervisors[index]?.process;
    return this.world.processes.find((one) => one.alive && one.parent === supervisor);
  }

  /** The one that serves from this machine. */
  nodeProcessAt(machine: Machine): SimulatedProcess | undefined {
    return this.nodeProcess(this.supervisors.findIndex((post) => post.machine === machine));
  }

  /** The memory of the node ends with its supervisor. */
  killSupervisor(index: number): void {
    const post = this.supervisors[index];
    assert(post !== undefined, 'no such node');
    if (!post.process.alive) return;
    this.world.kill(post.process);
    this.#noteEnds();
  }

  /** Power is gone: processes and memory end, and disks keep what was flushed. */
  crashNode(index: number): void {
    const post = this.supervisors[index];
    if (post !== undefined) this.#crash(post);
  }

  crashController(): void {
    this.#crash(this.controller);
  }

  #crash(post: Post): void {
    if (!post.machine.up) return;
    post.hasCrashed = true;
    this.world.crash(post.machine);
    this.#noteEnds();
  }

  /** In order, as an operator would: its memory is gone all the same, and it says so. */
  stopNode(index: number): void {
    const post = this.supervisors[index];
    if (post?.process.alive !== true) return;
    this.#stopping.add(post.process);
    this.world.terminate(post.process);
  }

  #endEmpty(node: string, isKilled: boolean): void {
    const index = this.supervisors.findIndex(({ name }) => name === node);
    const process = this.supervisors[index]?.process;
    if (process?.alive !== true) return;
    this.#emptied.add(process);
    if (isKilled) this.killSupervisor(index);
    else this.stopNode(index);
  }

  killHost(index: number): void {
    const process = this.hosts[index]?.process;
    if (process === undefined) return;
    this.world.kill(process);
    this.#noteEnds();
  }

  crashHost(index: number): void {
    const post = this.hosts[index];
    if (post !== undefined) this.#crash(post);
  }

  killController(): void {
    this.world.kill(this.controller.process);
    this.#noteEnds();
  }

  /** What an operator will put back one day. */
  copyMetadata(): void {
    this.#copies.push(this.world.copyDatabases(this.controller.machine));
    this.#journal.note(`metadata copied, number ${this.#copies.length}`);
  }

  /** The controller ends, and the next one starts on an older copy of its database. */
  putBackMetadata(): void {
    const copy = this.#copies.at(-1 - this.#prng.below(Math.min(2, this.#copies.length)));
    if (copy === undefined || !this.controller.process.alive) return;
    if (!this.#isOperated) this.#adoptSpaces();
    this.#isOperated = true;
    this.world.kill(this.controller.process);
    this.world.putBackDatabases(this.controller.machine, copy);
    this.#journal.note('an older copy of the metadata was put back');
    this.#noteEnds();
  }

  /**
   * What an operator would do about spaces that the copy did not know: their names he knows from
   * those who made them.
   */
  #adoptSpaces(): void {
    const api = this.api;
    for (const [subject, name] of this.#spacesToAdopt()) {
      // Made by another attempt to make the one that is unknown now; nobody was told of it.
      const twin = api?.spaces().find((space) => space.name === name && space.regions === 0);
      if (twin !== undefined) void api?.removeSpace(name);
      void api?.adoptSpace(Number(subject), name).then(({ status }) => {
        this.#journal.note(`adopting space ${subject} as ${name}: ${status}`);
      });
    }
    this.world.after(OPERATOR_LOOK_MS, () => this.#adoptSpaces());
  }

  #spacesToAdopt(): [subject: string, name: string][] {
    return (this.api?.status().findings ?? []).flatMap(({ code, subject = '' }) => {
      const name = code === 'SPACE_UNKNOWN' ? this.#journal.spaces.get(Number(subject)) : undefined;
      return name === undefined ? [] : [[subject, name]];
    });
  }

  /** Nothing is left to the operator. */
  get isAdopted(): boolean {
    return !this.#isOperated || this.#spacesToAdopt().length === 0;
  }

  /** Undefined: the controller does not run. */
  get api(): ControllerApi | undefined {
    const { process } = this.controller;
    const running = process.alive ? process.running : undefined;
    return (running as RunningController | undefined)?.api;
  }

  /** All that the controller remembers of what happened; none while it does not run. */
  get history(): readonly EventFacts[] {
    const all = { after: 0, limit: Infinity, lastMs: 0, space: '', node: '' };
    return this.api?.events(all).events ?? [];
  }

  /** The controller knows all that nodes hold. */
  get isBelieved(): boolean {
    const findings = this.api?.status().findings;
    if (findings === undefined) return false;
    const isNamed = (id: string): boolean => this.#journal.spaces.has(Number(id));
    return !findings.some(({ code, subject }) => {
      return code === 'CONTROLLER_RESTORED' || (code === 'SPACE_UNKNOWN' && isNamed(subject));
    });
  }

  /** No region is on its way any more, and no node is being drained. */
  get isAtRest(): boolean {
    const api = this.api;
    if (!this.drains.isOver) return false;
    return api?.spaces().every(({ name }) => !isMoving(api, name)) === true;
  }

  #noteEnds(): void {
    for (const post of [this.controller, ...this.supervisors, ...this.hosts]) {
      if (post.process.alive || post.isVacant) continue;
      if (this.#isWithoutHosts && post.role === 'host') continue;
      post.isVacant = true;
      const { role, name } = post;
      this.#journal.note(`${role} ${name} ended: ${post.process.exit?.reason ?? '?'}`);
      const isEmpty = this.#emptied.has(post.process) || this.shape.isPersistent === true;
      const isMemory = role === 'supervisor' && !isEmpty;
      if (isMemory) this.#noteMemoryEnd(name, post.process);
      this.world.after(this.#prng.pick([1, 50, 300, 1_500]), () => this.#startAgain(post));
    }
  }

  /** The process that serves is killed a moment after its supervisor. */
  #noteMemoryEnd(node: string, supervisor: SimulatedProcess): void {
    const at = this.#journal.moment();
    const children = this.world.processes.filter((one) => one.parent === supervisor);
    const look = (): void => {
      if (children.some((child) => child.alive)) this.world.after(CHILD_LOOK_MS, look);
      else {
        const goneAt = this.#journal.moment();
        this.memoryEnds.push({ node, at, goneAt, isOpened: this.shape.isOneSided });
      }
    };
    look();
  }

  #startAgain(post: Post): void {
    if (!post.isVacant) return;
    post.isVacant = false;
    if (!post.machine.up) this.world.restart(post.machine);
    const isNode = post.role === 'supervisor';
    // Who saw the machine stop knows what the rack cannot: that its memory is gone.
    // A file is made once, before anything can happen to it.
    const { isPersistent = false } = this.shape;
    const change = isPersistent ? { persistent: this.#memoryFile(false) } : { replace: true };
    const isOther = isNode && (isPersistent || post.hasCrashed);
    const config = isOther ? { ...post.config, ...change } : post.config;
    post.process = this.world.start(post.machine, post.role, config);
    if (isNode) this.#noteOpening(post, post.process);
    if (post === this.controller) this.controllerSinceMs = this.world.nowMs;
    this.#journal.note(`${post.role} ${post.name} started again`);
  }

  /** That may take long: a program of the machine that is stopped still has the file. */
  #noteOpening(post: Post, supervisor: SimulatedProcess): void {
    this.#journal.openedMs = this.world.nowMs;
    const isServing = this.nodeProcess(this.supervisors.indexOf(post))?.running !== undefined;
    if (!supervisor.alive || isServing) return;
    this.world.after(OPENING_LOOK_MS, () => this.#noteOpening(post, supervisor));
  }

  #look(): void {
    this.#noteEnds();
    this.world.after(LOOK_MS, () => this.#look());
  }

  /** Everything that belongs to the rack runs, and nothing of it is about to end. */
  get isComplete(): boolean {
    if (!this.controller.process.alive || this.controller.process.running === undefined) {
      return false;
    }
    const isUp = ({ process }: Post): boolean => process.alive && process.running !== undefined;
    if (!this.hosts.every(isUp)) return false;
    return this.supervisors.every((post, index) => {
      const { process } = post;
      if (!process.alive || this.#stopping.has(process)) return false;
      return this.nodeProcess(index)?.running !== undefined;
    });
  }
}

function isMoving(api: ControllerApi, space: string): boolean {
  const listed = api.regions(space);
  return 'regions' in listed && listed.regions.some(({ state }) => state === 'moving');
}
