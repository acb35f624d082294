/**
 * The client processes of a rack: each runs the real client library on a simulated machine and one
 * program of the workload. A killed one never finishes what it had under way; another process
 * takes its place.
 */

import type { Prng } from '../base/prng.js';
import { createDevice } from '../block/manage.js';
import { resizeDevice } from '../block/resize.js';
import { connectRack, type Rack } from '../client/rack.js';
import { STREAM_IDLE_MS_DEFAULT } from '../fabric/datagram/idle-stream.js';
import { sleep } from '../runtime/clock.js';
import type { Machine, SimulatedProcess } from '../runtime/simulated/world.js';
import { type Allocation, type Ended, type Journal, SUCCESS } from './journal.js';
import { ObservedDevice } from './observed-device.js';
import { ObservedFiles } from './observed-files.js';
import { ObservedLeases } from './observed-leases.js';
import { ObservedLocks } from './observed-locks.js';
import { endedBy, type NoteOutcome, ObservedSpace } from './observed-space.js';
import type { SimulatedRack } from './rack.js';
import { Board, type ClientProgram, type Workload } from './workloads/workload.js';

interface Running {
  readonly number: number;
  /** The place that it takes among the clients. */
  readonly place: number;
  readonly process: SimulatedProcess;
  isDone: boolean;
  /** Another one was, or will be, started where it was. */
  isReplaced: boolean;
  rack?: Promise<Rack>;
}

const REPLACED_AFTER_MS = 30;
/** Of clients that may end with the machine of a node. */
const LOOK_MS = 20;
const STOPPED_LOOK_MS = 1;
const LINKS = ['auto', 'auto', 'auto', 'tcp'] as const;
const DATAGRAM_LINKS = ['udp', 'udp', 'udp', 'tcp'] as const;
const FALLING_OVER_LINKS = ['auto', 'auto', 'auto', 'udp'] as const;
/** So short that streams are closed and made again many times in a run, and so long as usual. */
const IDLE_STREAM_MS = [2, 20, 200, 5_000];

export class ClientProcesses {
  readonly board = new Board();
  readonly #rack: SimulatedRack;
  readonly #journal: Journal;
  readonly #workload: Workload;
  readonly #prng: Prng;
  readonly #running: Running[] = [];
  readonly #timeoutMs: number;
  readonly #idleStreamMs: number;
  #stepsLeft: number;
  #nextNumber = 1;
  #toStart = 0;

  constructor(rack: SimulatedRack, journal: Journal, workload: Workload) {
    this.#rack = rack;
    this.#journal = journal;
    this.#workload = workload;
    this.#stepsLeft = workload.steps;
    this.#prng = rack.world.prng.fork('clients');
    const timeoutMs = this.#prng.pick([400, 2_000, 10_000]);
    // Where nothing is to go wrong the slowest disk must not be too slow for anybody.
    this.#timeoutMs = rack.shape.isCalm === true ? 10_000 : timeoutMs;
    // Others have no such streams, and their seeds stay what they were.
    const { isByDatagrams = false, idleStreamMs = IDLE_STREAM_MS } = workload;
    this.#idleStreamMs = isByDatagrams ? this.#prng.pick(idleStreamMs) : STREAM_IDLE_MS_DEFAULT;
  }

  startAll(): void {
    this.#toStart = this.#rack.shape.clients;
    for (let i = 0; i < this.#rack.shape.clients; i++) this.#start(i + 1);
    if (this.#workload.isOneSided === true) this.#look();
  }

  /** Some end with the machine that they share with a node. */
  #look(): void {
    for (const one of this.#running) if (!one.isDone && !one.process.alive) this.#replace(one);
    this.#rack.world.after(LOOK_MS, () => this.#look());
  }

  /** All that were started and not killed have finished their programs. */
  get areDone(): boolean {
    return this.#toStart === 0 && this.#running.every((one) => this.#isOver(one));
  }

  /** In place of one that ended with a machine another one is still to come. */
  #isOver({ isDone, isReplaced, process }: Running): boolean {
    return isDone || isReplaced || (!process.alive && this.#workload.isOneSided !== true);
  }

  /** How much of the work is done, from 0 to 1. */
  get progress(): number {
    return 1 - Math.max(0, this.#stepsLeft) / this.#workload.steps;
  }

  /** Those that have not, for the report of a run that never ends. */
  get unfinished(): string {
    const open = this.#running.filter((one) => !one.isDone && one.process.alive);
    return open.map((one) => `client ${one.number}`).join(', ');
  }

  #start(place: number, forerunner?: number): void {
    const machine = this.#machine(place);
    if (!machine.up) {
      this.#rack.world.after(REPLACED_AFTER_MS, () => this.#start(place, forerunner));
      return;
    }
    this.#toStart -= 1;
    const number = this.#nextNumber++;
    this.#journal.clients = number;
    const process = this.#rack.world.program(machine, `client-${number}`);
    const running: Running = { number, place, process, isDone: false, isReplaced: false };
    this.#running.push(running);
    const program = { ...this.#program(running), forerunner };
    const whole = this.#workload.run(program).then(() => {
      running.isDone = true;
    });
    // What a program throws is a bug: of the library, or of the program.
    whole.catch((error: unknown) => this.#rack.world.fail(error));
  }

  /** Where memory is to be reached without its node, the last client alone is somewhere else. */
  #machine(place: number): Machine {
    const { world, supervisors, shape } = this.#rack;
    const isAtNode = this.#workload.isOneSided === true && place < shape.clients;
    const post = supervisors[(place - 1) % supervisors.length];
    return isAtNode && post !== undefined ? post.machine : world.machine(`client-${place}`);
  }

  #program(running: Running): ClientProgram {
    const { number, process } = running;
    const { runtime } = process;
    const { shape, frames, world } = this.#rack;
    const prng = this.#prng.fork(`client ${number}`);
    const link = this.#chooseLink(prng);
    const rack = (): Promise<Rack> => (running.rack ??= this.#connect(process, link));
    const noteOutcome: NoteOutcome = (startedMs, outcome) => {
      world.noteOutcome(process, startedMs, outcome);
    };
    const noting = { nowMs: () => world.nowMs, noteOutcome };
    return {
      number,
      prng,
      journal: this.#journal,
      board: this.board,
      pageBytes: shape.pageBytes,
      frames,
      openDurable: async (name) => this.#openSpace(await rack(), name, runtime.timers),
      open: async (name) => {
        const space = await this.#openSpace(await rack(), name, runtime.timers);
        this.#journal.spaces.set(space.id, name);
        return new ObservedSpace({
          name,
          client: number,
          pageBytes: shape.pageBytes,
          space,
          journal: this.#journal,
          ...noting,
        });
      },
      files: async () => {
        const { files } = await rack();
        return new ObservedFiles({ client: number, files, journal: this.#journal, ...noting });
      },
      devices: async () => {
        const { doors, shape: of } = this.#rack;
        await this.#makeDevices(await rack(), runtime.timers);
        const { hostOf } = this.board;
        const facts = { doors, journal: this.#journal, hostOf, runtime, client: number, ...noting };
        return (of.devices ?? []).map((device) => {
          return new ObservedDevice({ ...facts, device, prng: prng.fork(device.name) });
        });
      },
      resize: async (device, bytes) => this.#resize(await rack(), device, bytes),
      leases: async () => {
        const facts = { client: number, rack: await rack(), pageBytes: shape.pageBytes };
        return new ObservedLeases({ ...facts, journal: this.#journal, ...noting });
      },
      locks: async (name) => {
        const space = await this.#openSpace(await rack(), name, runtime.timers);
        return new ObservedLocks({ client: number, space, journal: this.#journal, ...noting });
      },
      window: async (token) => (await rack()).window(token),
      sleep: (ms) => sleep(runtime.timers, ms),
      untilStopped: (ms, of) => this.#untilStopped(process, ms, of),
      untilGoneOn: (ms, allocation) => this.#untilGoneOn(process, ms, allocation),
      step: () => {
        this.#stepsLeft -= 1;
        return this.#stepsLeft >= 0;
      },
    };
  }

  async #resize(rack: Rack, device: string, bytes: number): Promise<Ended> {
    try {
      await resizeDevice(rack.core, device, bytes, true);
      return SUCCESS;
    } catch (error) {
      this.#journal.note(`resizing ${device}: ${(error as Error).message}`);
      return endedBy(error);
    }
  }

  /** Whoever comes first. */
  async #makeDevices(rack: Rack, timers: SimulatedProcess['runtime']['timers']): Promise<void> {
    for (const wish of this.#rack.shape.devices ?? []) {
      // Those with files are made where the files are.
      if (wish.backup !== undefined) continue;
      for (let isThere = false; !isThere; ) {
        try {
          await createDevice(rack.core, wish);
          isThere = true;
        } catch (error) {
          const { code } = endedBy(error);
          if (code !== 'Exists' && !PASSING.has(code)) throw error;
          isThere = code === 'Exists';
          if (!isThere) await sleep(timers, 20);
        }
      }
    }
  }

  #chooseLink(prng: Prng): Link | undefined {
    const { isOneSided, isByDatagrams, isByDatagramsAlone, isFallingOver } = this.#workload;
    if (isByDatagramsAlone === true) return 'udp';
    if (isFallingOver === true) return prng.pick(FALLING_OVER_LINKS);
    if (isByDatagrams === true) return prng.pick(DATAGRAM_LINKS);
    return isOneSided === true ? prng.pick(LINKS) : undefined;
  }

  async #connect(process: SimulatedProcess, link: Link | undefined): Promise<Rack> {
    const { runtime } = process;
    const times = { timeoutMs: this.#timeoutMs, idleStreamMs: this.#idleStreamMs };
    const options = { ...times, ...(link === undefined ? {} : { link }) };
    for (;;) {
      try {
        return await connectRack(runtime, this.#rack.url, options);
      } catch (error) {
        endedBy(error);
        await sleep(runtime.timers, 20);
      }
    }
  }

  async #openSpace(
    rack: Rack,
    name: string,
    timers: SimulatedProcess['runtime']['timers'],
  ): Promise<Awaited<ReturnType<Rack['space']>>> {
    for (;;) {
      try {
        const kind = this.#workload.isPersistent === true ? 'persistent' : 'dram';
        return await rack.space(name, { create: true, kind });
      } catch (error) {
        const { code } = endedBy(error);
        if (!PASSING.has(code)) throw error;
        await sleep(timers, 20);
      }
    }
  }

  get #atWork(): Running[] {
    return this.#running.filter((one) => !one.isDone && one.process.alive);
  }

  /** One that is still at work. */
  pick(prng: Prng): SimulatedProcess | undefined {
    const open = this.#atWork;
    return open.length === 0 ? undefined : prng.pick(open).process;
  }

  /** One that is in the middle of a step over shared memory. */
  pickInStep(prng: Prng): SimulatedProcess | undefined {
    const open = this.#atWork.filter(({ process }) => this.#rack.world.isInStep(process));
    return open.length === 0 ? undefined : prng.pick(open).process;
  }

  get #stopped(): Running[] {
    return this.#atWork.filter(({ process }) => this.#rack.world.isStoppedInStep(process));
  }

  isAtWorkOn(machine: Machine): boolean {
    return this.#atWork.some(({ process }) => process.machine === machine);
  }

  /** One on this machine that is. */
  inStepAt(machine: Machine): SimulatedProcess | undefined {
    const isThere = ({ process }: Running): boolean => {
      return process.machine === machine && this.#rack.world.isInStep(process);
    };
    return this.#atWork.find(isThere)?.process;
  }

  /** One that was stopped there, at work on memory that was freed since. */
  pickStoppedAtFreed(prng: Prng): SimulatedProcess | undefined {
    const freed = this.#journal.allocations.filter((one) => one.freedAt !== Infinity);
    const open = this.#stopped.filter(({ number }) => freed.some((one) => one.isUsedBy(number)));
    return open.length === 0 ? undefined : prng.pick(open).process;
  }

  async #untilStopped(
    { runtime }: SimulatedProcess,
    ms: number,
    of: readonly Allocation[],
  ): Promise<Allocation | undefined> {
    const { world } = this.#rack;
    for (const endMs = world.nowMs + ms; ; await sleep(runtime.timers, STOPPED_LOOK_MS)) {
      const stopped = this.#stopped;
      const found = of.find((one) => stopped.some(({ number }) => one.isUsedBy(number)));
      if (found !== undefined || world.nowMs >= endMs) return found;
    }
  }

  async #untilGoneOn(
    { runtime }: SimulatedProcess,
    ms: number,
    allocation: Allocation,
  ): Promise<void> {
    const { world } = this.#rack;
    for (const endMs = world.nowMs + ms; world.nowMs < endMs; ) {
      await sleep(runtime.timers, STOPPED_LOOK_MS);
      if (!this.#stopped.some(({ number }) => allocation.isUsedBy(number))) return;
    }
  }

  killOne(prng: Prng): void {
    const process = this.pick(prng);
    if (process !== undefined) this.kill(process);
  }

  kill(process: SimulatedProcess): void {
    this.#rack.world.kill(process);
    const one = this.#running.find((running) => running.process === process);
    if (one !== undefined) this.#replace(one);
  }

  #replace(one: Running): void {
    if (one.isReplaced) return;
    one.isReplaced = true;
    this.#journal.wasClientKilled = true;
    this.#journal.note(`${one.process.role} killed`);
    this.#toStart += 1;
    this.#rack.world.after(REPLACED_AFTER_MS, () => this.#start(one.place, one.number));
  }

  /** What it could not give back may stay allocated. */
  async #close(rack: Rack | undefined): Promise<void> {
    await rack?.close();
    this.#journal.mayHoldFreed ||= (rack?.givingBack ?? 0) > 0;
  }

  /** All that have finished give up what they hold of the rack. */
  async closeAll(): Promise<void> {
    const living = this.#running.filter(({ process }) => process.alive);
    await Promise.all(living.map(async ({ rack }) => this.#close(await rack)));
    for (const { process } of living) this.#rack.world.terminate(process);
  }
}

type Link = (typeof LINKS)[number] | (typeof DATAGRAM_LINKS)[number];
const PASSING: ReadonlySet<string> = new Set(['Unavailable', 'Timeout', 'OutcomeUnknown', 'Busy']);
