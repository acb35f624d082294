/**
 * The supervisor of a memory node: creates the memory files, starts the process that serves,
 * and starts it again with the same memory when it dies. It does nothing else, so that it has no
 * reason to die itself: with it the memory is gone.
 */

import { defined } from '../base/assert.js';
import { formatBytes } from '../base/units.js';
import { memoryFileName } from '../disk/memory-names.js';
import { SLOT_FILE_BYTES } from '../disk/slots.js';
import { formatTableFile, tableFileBytes, type TableFacts } from '../disk/table-file.js';
import { createEndpoint } from '../fabric/endpoint.js';
import type { Child, Exit } from '../runtime/processes.js';
import { sleep } from '../runtime/clock.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import { REGION_BYTES, WINDOWS_END } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import {
  type CheckedSupervisorConfig,
  checkSupervisorConfig,
  type MemoryNodeConfig,
  REGION_ENTRIES,
  type SupervisorConfig,
} from './config.js';
import type { NodeFiles } from './sharing.js';
import { succeed } from './succession.js';
import { EXIT_CANNOT_ADOPT, MEMORY_NODE_ROLE, type MemoryNodeReady } from './main.js';

/** Left to the machine beside what is lent. */
const MACHINE_RESERVE_BYTES = 64 * 1024 * 1024;
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

/** The node cannot be started here; the message says why and what to do. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart';
}

export const supervisorMain: RoleMain<SupervisorConfig> = async (runtime, config) => {
  const supervisor = new Supervisor(runtime, checkSupervisorConfig(config));
  await supervisor.start();
  return supervisor;
};

class Supervisor implements RunningRole {
  readonly #runtime: Runtime;
  readonly #config: CheckedSupervisorConfig;
  readonly #memoryId: number;
  #memory: NodeFiles | undefined;
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
    this.#memoryId = runtime.entropy.u53();
    this.#address = config.listen;
  }

  get address(): string {
    return this.#address;
  }

  /** Resolves when the node serves for the first time. */
  start(): Promise<void> {
    this.#memory = this.#createMemory();
    return new Promise((resolve, reject) => {
      this.#ended = this.#keepRunning(resolve).catch((error: unknown) => {
        if (!this.#isServing) reject(error as Error);
        else this.#giveUp(error as Error);
      });
    });
  }

  #createMemory(): NodeFiles {
    const { id, memoryBytes, pageBytes, frames, tableEntries } = this.#config;
    const facts: TableFacts = {
      nodeId: id,
      memoryId: this.#memoryId,
      pageBytes,
      frames,
      tableEntries,
      regionEntries: REGION_ENTRIES,
      regionBytes: REGION_BYTES,
      windowEntries: WINDOWS_END,
    };
    const tableBytes = tableFileBytes(facts);
    const needed = memoryBytes + tableBytes + SLOT_FILE_BYTES + MACHINE_RESERVE_BYTES;
    const { memory } = this.#runtime;
    const available = memory.available();
    if (available < needed) {
      throw new CannotStart(
        `lending ${formatBytes(memoryBytes)} needs ${formatBytes(needed)} with tables and a ` +
          `reserve for the machine, but only ${formatBytes(available)} are available: ` +
          'lend less (--memory), or end programs that use memory on this machine',
      );
    }
    const table = memory.create(memoryFileName('table', facts), tableBytes);
    formatTableFile(table.map(0, tableBytes), facts);
    const frameFile = memory.create(memoryFileName('frames', facts), memoryBytes);
    const slots = memory.create(memoryFileName('slots', facts), SLOT_FILE_BYTES);
    return {
      tableMemory: table.handle,
      frameMemory: frameFile.handle,
      slotMemory: slots.handle,
    };
  }

  /** Until `stop`; rejects when starting again has become pointless. */
  async #keepRunning(serves: () => void): Promise<void> {
    const cleared = new Promise<void>((resolve, reject) => {
      this.#succeed(resolve).catch(reject);
    });
    await Promise.race([cleared, sleep(this.#runtime.timers, SUCCEED_MS)]);
    while (this.#stopped === undefined) {
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

  /** Goes on beside the node until it has joined. */
  async #succeed(cleared: () => void): Promise<void> {
    const { id, machine, join, replace } = this.#config;
    if (join.length === 0) {
      cleared();
      return;
    }
    const endpoint = createEndpoint(this.#runtime, {});
    this.#endSuccession = () => endpoint.close();
    const memoryId = this.#memoryId;
    const isStopped = (): boolean => this.#stopped !== undefined;
    const successor = { id, machine, memoryId, join, replace, isStopped };
    await succeed(this.#runtime, endpoint, successor, cleared);
    await endpoint.close();
  }

  #spawn(): Child {
    const { id, join, listen, machine, commitPages, zeroedFrames, revokeMs } = this.#config;
    const files = defined(this.#memory);
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
      pid,
      incarnation,
      address: ready.address,
    });
    const up: SupervisorReady = { ...ready, supervisor: this.#runtime.processes.pid };
    if (isFirst) this.#runtime.processes.ready({ ...up, id });
  }

  #noteDeath(exit: Exit, wasReady: boolean, livedMs: number): void {
    const how = exit.signal ?? `exit code ${exit.code ?? 'unknown'}`;
    this.#log('warn', `the process that serves has ended (${how})`, { livedMs });
    if (exit.code === EXIT_CANNOT_ADOPT) {
      throw new CannotStart('its memory cannot be taken over; its contents are lost');
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

  #restartMs(): number {
    const most = this.#ownDeaths > 0 ? RESTART_MS_MAX : RESTART_KILLED_MS_MAX;
    return Math.min(most, RESTART_MS_MIN * 2 ** this.#quickDeaths);
  }

  /** The memory goes with this process, so the controller is told first, if it can be. */
  #giveUp(error: Error): void {
    this.#log('error', `memory node ${this.#config.id} is given up: ${error.message}`, {});
    const { timers, processes } = this.#runtime;
    // Not from within a promise: `exit` may throw.
    void this.#sayFarewell().then(() => timers.soon(() => processes.exit(EXIT_GAVE_UP)));
  }

  async #sayFarewell(): Promise<void> {
    const { id, join } = this.#config;
    const endpoint = createEndpoint(this.#runtime, {});
    const request = { memoryId: this.#memoryId, id };
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
    await this.#sayFarewell();
  }
}
