/**
 * Watches over a program with remote memory: starts who serves its swap, and another one on the
 * same mount when that one has ended; ends the program when its pages cannot be had, or when the
 * machine is about to have no memory; takes everything down when the command has ended before.
 */

import { type ChildProcess } from 'node:child_process';
import { closeSync } from 'node:fs';
import { availableBytes } from '../../runtime/node/available-memory.js';
import { hasEnded, identityOf } from '../../runtime/node/process-identity.js';
import { abortFuse } from '../../runtime/node/node-fuse.js';
import { nodePaging } from '../../runtime/node/node-paging.js';
import { keepInMemory } from '../../runtime/node/resident-memory.js';
import { ignoreSignals, MOUNT_FD, ownRecord, startHelper } from './helpers.js';
import { reserveBytes } from './reserve.js';
import { ownIdentity, type RunFolder, type RunRecord } from './run-folder.js';
import { takeDown } from './take-down.js';

const LOOK_MS = 100;
/** A server that says nothing for so long stands still. */
const SILENT_MS = 10_000;
/** One that was killed has ended by then, unless it waits for what does not come. */
const KILLED_MS = 5_000;
/** So many deaths of servers in so long are the last ones. */
const DEATHS_MAX = 3;
const DEATHS_MS = 60_000;
/** Until a server that was started serves: the device may have to wait for a lease. */
const START_MS = 40_000;
/** For a server to give its lease up, when there is nothing to serve any more. */
const END_MS = 3_000;
/** Between tries to take down what cannot be taken down yet. */
const AGAIN_MS = 10_000;

/** Resolves when nothing is left to watch. */
export async function watchRun(folder: RunFolder): Promise<void> {
  ignoreSignals();
  keepInMemory();
  const record = ownRecord();
  folder.watchdog = ownIdentity();
  await new Watchdog(folder, record).run();
}

class Watchdog {
  readonly #folder: RunFolder;
  readonly #record: RunRecord;
  /** Who the server is, since when it is there, and its process where it was started here. */
  #server: string | undefined;
  #startedMs = 0;
  #child: ChildProcess | undefined;
  #isServed = false;
  #deaths: number[] = [];
  #beat = 0;
  #heardMs = performance.now();
  #closingMs: number | undefined;
  #hasMount = true;
  #triedMs = -Infinity;
  #isTakingDown = false;

  constructor(folder: RunFolder, record: RunRecord) {
    this.#folder = folder;
    this.#record = record;
    // Of one whose watchdog has ended.
    this.#server = folder.startedServer;
    this.#startedMs = performance.now();
  }

  async run(): Promise<void> {
    const own = ownIdentity();
    while (this.#folder.isThere && this.#folder.watchdog === own) {
      const isAlone = hasEnded(this.#record.command);
      if (isAlone) this.#takeDown();
      this.#guard();
      this.#lookAtServer();
      // The command does the rest.
      if (!isAlone && this.#folder.isClosing && this.#hasServerEnded()) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    if (!this.#folder.isThere) this.#endServer();
  }

  #start(): void {
    this.#startedMs = performance.now();
    this.#isServed = false;
    this.#child = startHelper('swap-server', this.#record, MOUNT_FD);
    const pid = this.#child?.pid;
    this.#server = pid === undefined ? undefined : identityOf(pid);
    if (this.#server !== undefined) this.#folder.startedServer = this.#server;
  }

  #hasServerEnded(): boolean {
    return this.#server === undefined || hasEnded(this.#server);
  }

  #lookAtServer(): void {
    const folder = this.#folder;
    if (!this.#hasMount) return;
    if (folder.isClosing) return this.#letServerEnd();
    if (!this.#hasServerEnded()) {
      const { server } = folder;
      this.#isServed ||= server?.identity === this.#server;
      const silentMs = performance.now() - (this.#isServed ? this.#beatMs() : this.#startedMs);
      const patienceMs = this.#isServed ? SILENT_MS : START_MS;
      if (silentMs > patienceMs) this.#endServer();
      if (silentMs > patienceMs + KILLED_MS) {
        this.#giveUp('the process that serves its swap stands still, and cannot be ended');
      }
      return;
    }
    if (this.#server === undefined) this.#start();
    else if (folder.server?.isOver !== true) this.#replaceServer();
    else if (this.#isSwap()) this.#giveUp('its mount was given up, or cannot be read');
  }

  #isSwap(): boolean {
    const loops = nodePaging.loopsOf(this.#record.file);
    return nodePaging.swapAreas().some(({ path }) => loops.includes(path));
  }

  #letServerEnd(): void {
    this.#closingMs ??= performance.now();
    if (performance.now() - this.#closingMs > END_MS) this.#endServer();
  }

  /** When the server said last that it is there; a clock that jumps is no matter. */
  #beatMs(): number {
    const beat = this.#folder.serverBeat;
    if (beat !== this.#beat) this.#heardMs = performance.now();
    this.#beat = beat;
    return this.#heardMs;
  }

  #endServer(): void {
    const pid = Number(this.#server?.split('/').at(-2));
    if (this.#server !== undefined && !hasEnded(this.#server)) process.kill(pid, 'SIGKILL');
  }

  #replaceServer(): void {
    const folder = this.#folder;
    const now = performance.now();
    this.#deaths = [...this.#deaths.filter((at) => now - at < DEATHS_MS), now];
    const agreed = folder.server?.agreed;
    if (agreed?.mayResend !== true) {
      const why = agreed === undefined ? 'before it served' : 'and this kernel is older than 6.9';
      this.#giveUp(`the process that serves its swap has ended, ${why}`);
    } else if (this.#deaths.length >= DEATHS_MAX) {
      this.#giveUp('the process that serves its swap ends again and again');
    } else {
      this.#start();
    }
  }

  /** Reads of the swap fail from now on. */
  #giveUp(reason: string): void {
    this.#folder.fail(reason);
    endGroup(this.#record);
    if (!this.#hasMount) return;
    this.#hasMount = false;
    const { connection } = this.#record;
    try {
      if (connection !== undefined) abortFuse(connection, this.#folder.control);
    } catch {
      // It ends with whoever still has it.
    }
    closeSync(MOUNT_FD);
  }

  /** Reclaim that waits for memory which only its own writes would free is without an end. */
  #guard(): void {
    if (availableBytes() >= reserveBytes() || this.#folder.isClosing) return;
    this.#folder.fail('the machine was about to have no memory left');
    endGroup(this.#record);
  }

  /**
   * The command has ended before; the program without it is nobody's. Meanwhile pages are served,
   * and whoever serves them is watched.
   */
  #takeDown(): void {
    const now = performance.now();
    if (this.#isTakingDown || now - this.#triedMs < AGAIN_MS) return;
    this.#isTakingDown = true;
    const ended = (): void => {
      this.#triedMs = performance.now();
      this.#isTakingDown = false;
    };
    // Whatever stands in the way, it is tried again.
    takeDown(this.#folder, this.#record).then(ended, ended);
  }
}

function endGroup(record: RunRecord): void {
  nodePaging.findGroup(record.group)?.kill();
}
