/**
 * The supervisor of a memory node: creates the memory files, starts the process that serves,
 * and starts it again with the same memory when it dies. It does nothing else, so that it has no
 * reason to die itself: with it the memory is gone.
 */

import { defined } from '../base/assert.js';
import { createEndpoint } from '../fabric/endpoint.js';
import type { Child, Exit } from '../runtime/processes.js';
import { sleep } from '../runtime/clock.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import {
  type CheckedSupervisorConfig,
  checkSupervisorConfig,
  type MemoryNodeConfig,
  type SupervisorConfig,
} from './config.js';
import { durableFaults } from './durable/planted.js';
import type { MemoryNodeReady } from './main.js';
import { makeMemory, type Memory, openMemory } from './memory-files.js';
import {
  CannotStart,
  EXIT_CANNOT_ADOPT,
  EXIT_STORAGE_FAILED,
  MEMORY_NODE_ROLE,
} from './process.js';
import { succeed } from './succession.js';

/** A process that dies by itself within this time counts as one that cannot run. */
const QUICK_DEATH_MS = 10_000;
const OWN_DEATHS_MAX = 8;
const RESTART_MS_MIN = 10;
const RESTART_MS_MAX = 5_000;
/** After deaths from outside, such as by the kernel's out-of-memory killer. */
const RESTART_KILLED_MS_MAX = 500;
const STOP_MS = 5_000;
/** The node is started after this time, whatever is known of the memory before. */
const SUCCEED_MS = 1_000;
const FAREWELL_MS = 1_000;
const EXIT_GAVE_UP = 1;

/** What a supervisor tells whoever started it. */
export interface SupervisorReady extends MemoryNodeReady {
  readonly supervisor: number;
}

/** It must not be started again by whoever sees it end: nothing is better then. */
class StorageFailed extends CannotStart {}

export const supervisorMain: RoleMain<SupervisorConfig> = async (runtime, config) => {
  const supervisor = new Supervisor(runtime, checkSupervisorConfig(config));
  await supervisor.start();
  return supervisor;
};

class Supervisor implements RunningRole {
  readonly #runtime: Runtime;
  readonly #config: CheckedSupervisorConfig;
  #memory: Memory | undefined;
  #child: Child | undefined;
  /** Of the process that serves, or served last. */
  #address: string;
  #isServing = false;
  /** Deaths in a row that nobody outside is to blame for: too many, and it is given up. */
  #ownDeaths = 0;
  /** Deaths in a row soon after the start, from whatever cause: they make the next start wait. */
  #quickDeaths = 0;
  #ended: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  #endSuccession: () => Promise<void> = () => Promise.resolve();

  constructor(runtime: Runtime, config: CheckedSupervisorConfig) {
    this.#runtime = runtime;
    this.#config = config;
    this.#address = config.listen;
  }

  get address(): string {
    return this.#address;
  }

  /** Resolves when the node serves for the first time. */
  async start(): Promise<void> {
    const { persistent } = this.#config;
    const make = persistent === undefined ? makeMemory : openMemory;
    const isStopped = (): boolean => this.#stopped !== undefined;
    this.#memory = await make(this.#runtime, this.#config, isStopped);
    return new Promise((resolve, reject) => {
      this.#ended = this.#keepRunning(resolve).catch((error: unknown) => {
        if (!this.#isServing) reject(error as Error);
        else this.#giveUp(error as Error);
      });
    });
  }

  /** Until `stop`; rejects when starting again has become pointless. */
  async #keepRunning(serves: () => void): Promise<void> {
    const cleared = new Promise<void>((resolve, reject) => {
      this.#succeed(resolve).catch(reject);
    });
    await Promise.race([cleared, sleep(this.#runtime.timers, SUCCEED_MS)]);
    for (let isFirst = true; this.#stopped === undefined; isFirst = false) {
      if (!isFirst) await this.#flushWhatWasStored();
      const startedMs = this.#runtime.clock.now();
      const child = this.#spawn();
      let isReady = false;
      child.ready.then(
        (message) => {
          isReady = true;
          this.#served(message as MemoryNodeReady);
          serves();
        },
        () => undefined,
      );
      const exit = await child.exited;
      if (this.#stopped !== undefined) return;
      this.#noteDeath(exit, isReady, this.#runtime.clock.now() - startedMs);
      await sleep(this.#runtime.timers, this.#restartMs());
    }
  }

  /** The process before may have ended in the middle of a flush, or because of one. */
  async #flushWhatWasStored(): Promise<void> {
    const { durable } = defined(this.#memory);
    if (durable === undefined || durableFaults.notFlushedAtRestart) return;
    try {
      await durable.flusher.flushAll();
    } catch (error) {
      throw new StorageFailed(`the disk failed: ${String(error)}`);
    }
  }

  /** Goes on beside the node until it has joined. */
  async #succeed(cleared: () => void): Promise<void> {
    const { id, machine, join, replace } = this.#config;
    if (join.length === 0) {
      cleared();
      return;
    }
    const endpoint = createEndpoint(this.#runtime, {});
    this.#endSuccession = () => endpoint.close();
    const { memoryId } = defined(this.#memory);
    const isStopped = (): boolean => this.#stopped !== undefined;
    const successor = { id, machine, memoryId, join, replace, isStopped };
    await succeed(this.#runtime, endpoint, successor, cleared);
    await endpoint.close();
  }

  #spawn(): Child {
    const { id, join, listen, machine, commitPages, zeroedFrames } = this.#config;
    const { revokeMs, recordRows, donor } = this.#config;
    const { files, durable } = defined(this.#memory);
    const config: MemoryNodeConfig = {
      id,
      join,
      listen: this.#address,
      listenElse: listen,
      machine,
      keeper: this.#runtime.processes.identity,
      ...files,
      commitPages,
      zeroedFrames,
      revokeMs,
      recordRows,
      donor,
      ...(durable === undefined ? {} : { durable: durable.facts }),
    };
    const memory = [files.tableMemory, files.frameMemory, files.slotMemory];
    this.#child = this.#runtime.processes.spawn({ role: MEMORY_NODE_ROLE, config, memory });
    return this.#child;
  }

  #served(ready: MemoryNodeReady): void {
    const isFirst = !this.#isServing;
    this.#isServing = true;
    this.#address = ready.address;
    const { id, pid, incarnation } = ready;
    this.#log('info', isFirst ? 'serving' : 'serving again', {
      code: 'NODE_SERVING',
      pid,
      incarnation,
      address: ready.address,
    });
    const up: SupervisorReady = { ...ready, supervisor: this.#runtime.processes.pid };
    if (isFirst) this.#runtime.processes.ready({ ...up, id });
  }

  #noteDeath(exit: Exit, wasReady: boolean, livedMs: number): void {
    const how = exit.signal ?? `exit code ${exit.code ?? 'unknown'}`;
    this.#log('warn', `the process that serves has ended (${how})`, {
      code: 'NODE_PROCESS_ENDED',
      livedMs,
    });
    if (exit.code === EXIT_CANNOT_ADOPT) {
      throw new CannotStart('its memory cannot be taken over; its contents are lost');
    }
    if (exit.code === EXIT_STORAGE_FAILED || this.#isDiskSignal(exit)) {
      const remedy = 'repair the disk, then start it again: what was flushed is there';
      throw new StorageFailed(`the disk failed: ${remedy}`);
    }
    // A process that served and was then killed from outside would run if it were left alone.
    const isOwnFault = !wasReady || (exit.signal === undefined && livedMs < QUICK_DEATH_MS);
    this.#ownDeaths = isOwnFault ? this.#ownDeaths + 1 : 0;
    this.#quickDeaths = livedMs < QUICK_DEATH_MS ? this.#quickDeaths + 1 : 0;
    if (this.#ownDeaths >= OWN_DEATHS_MAX) {
      throw new CannotStart(
        `it has ended ${this.#ownDeaths} times in a row (${how}); the reason stands in its log`,
      );
    }
  }

  /** A page of a mapped file that cannot be read or written ends the process. */
  #isDiskSignal({ signal }: Exit): boolean {
    return signal === 'SIGBUS' && defined(this.#memory).durable !== undefined;
  }

  #restartMs(): number {
    const most = this.#ownDeaths > 0 ? RESTART_MS_MAX : RESTART_KILLED_MS_MAX;
    return Math.min(most, RESTART_MS_MIN * 2 ** this.#quickDeaths);
  }

  /** The memory goes with this process, so the controller is told first, if it can be. */
  #giveUp(error: Error): void {
    this.#log('error', `memory node ${this.#config.id} is given up: ${error.message}`, {
      code: 'NODE_GIVEN_UP',
    });
    const { timers, processes } = this.#runtime;
    const code = error instanceof StorageFailed ? EXIT_STORAGE_FAILED : EXIT_GAVE_UP;
    this.#endAccess();
    // Not from within a promise: `exit` may throw.
    void this.#sayFarewell().then(() => timers.soon(() => processes.exit(code)));
  }

  /** Threads that have a slot begin nothing more. */
  #endAccess(): void {
    if (this.#memory !== undefined) this.#memory.table.alive = 0;
  }

  async #sayFarewell(): Promise<void> {
    const { id, join } = this.#config;
    const { memoryId, durable } = defined(this.#memory);
    // What is on a disk does not end with us.
    if (durable !== undefined) return;
    const endpoint = createEndpoint(this.#runtime, {});
    const request = { memoryId, id };
    const told = join.map((address) =>
      endpoint.peer(address).call(MessageType.NodeEnded, request, FAREWELL_MS),
    );
    await Promise.race([Promise.all(told), sleep(this.#runtime.timers, FAREWELL_MS)]);
    await endpoint.close();
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
    this.#runtime.log.write(level, message, { node: this.#config.id, ...fields });
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.#endSuccession();
    const child = this.#child;
    if (child !== undefined) {
      child.end('term');
      const kill = this.#runtime.timers.after(STOP_MS, () => child.end('kill'));
      await child.exited;
      kill.cancel();
    }
    await this.#ended;
    this.#endAccess();
    await this.#sayFarewell();
  }
}
