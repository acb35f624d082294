/**
 * Runs a program with so much memory of its machine, and the rest in the rack: makes what there is
 * to make, in the order in which it is needed, runs it, and takes everything down, whatever came.
 */

import { totalmem } from 'node:os';
import { closeSync } from 'node:fs';
import { formatBytes, MiB } from '../../base/units.js';
import { createDevice, seeDevices } from '../../block/manage.js';
import type { Rack } from '../../client/rack.js';
import { availableBytes } from '../../runtime/node/available-memory.js';
import { detachFuse, mountFuse } from '../../runtime/node/node-fuse.js';
import { canPin } from '../../runtime/node/resident-memory.js';
import { nodePaging } from '../../runtime/node/node-paging.js';
import { type ControlGroup, PagingError } from '../../runtime/paging.js';
import { SWAP_DATA_BYTES_MAX } from '../../doors/fuse/door.js';
import { connect } from '../library.js';
import { startHelper } from './helpers.js';
import { runProgram } from './program.js';
import { meanOf, p99Of, pagesOf, type RunReport, sumTraffic } from './report.js';
import { reserveBytes } from './reserve.js';
import { deviceOfRun, isGone, ownIdentity, RunFolder, type RunRecord } from './run-folder.js';
import { takeDown } from './take-down.js';

export interface RunWish {
  readonly rack: string;
  readonly localBytes: number;
  /** Undefined: one is made, and removed afterwards. */
  readonly device?: string | undefined;
  /** Of a device that is made; undefined: as much as the machine has, or the pool. */
  readonly swapBytes?: number | undefined;
  readonly copies: number;
  readonly backup?: string | undefined;
  readonly words: readonly string[];
}

export interface RunResult {
  /** Undefined: the program was not run. */
  readonly report?: RunReport;
  /** Why it did not run, or could not go on; what is left, and what to do about it. */
  readonly problems: readonly string[];
}

const SERVED_MS = 45_000;
const LOOK_MS = 100;
/** Looks between those at pages of others, which cost one file for each process of the machine. */
const FOREIGN_LOOKS = 10;
/** What a server has done is written down by then. */
const TOLD_MS = 400;
const PRIORITY_MAX = 0x7fff;
const LEAST_SWAP_BYTES = 64 * MiB;
/** Of the free memory of the rack, for a device whose size nobody has named. */
const POOL_SHARE = 0.9;

/** Throws an `Error` before anything has been made; what comes later is in the result. */
export async function runWithRemoteMemory(wish: RunWish, asked: AbortSignal): Promise<RunResult> {
  refuseWithoutRoom(wish);
  const id = `${process.pid}-${Date.now().toString(36)}`;
  const rack = await connect(wish.rack);
  let run: Run;
  try {
    run = await Run.begin(id, wish, rack);
  } finally {
    await rack.close();
  }
  return run.whole(asked);
}

function refuseWithoutRoom({ localBytes }: RunWish): void {
  const needed = localBytes + reserveBytes();
  const there = availableBytes();
  if (there >= needed) return;
  throw new PagingError(
    `${formatBytes(localBytes)} of local memory and a reserve of ${formatBytes(reserveBytes())} ` +
      `are more than the ${formatBytes(there)} that this machine has available`,
  );
}

class Run {
  readonly #wish: RunWish;
  readonly #folder: RunFolder;
  #record: RunRecord;
  readonly #swapBytes: number;
  #group: ControlGroup | undefined;
  #loop: string | undefined;
  #peakForeign = 0;
  #peakLocal = 0;
  #looks = 0;
  #peakRemote = 0;

  private constructor(wish: RunWish, folder: RunFolder, record: RunRecord, swapBytes: number) {
    this.#wish = wish;
    this.#folder = folder;
    this.#record = record;
    this.#swapBytes = swapBytes;
  }

  /** With its device. */
  static async begin(id: string, wish: RunWish, rack: Rack): Promise<Run> {
    const device = wish.device ?? deviceOfRun(id);
    const swapBytes = await bytesOf(wish, rack);
    const folder = new RunFolder(id);
    folder.make();
    const record: RunRecord = {
      ...{ id, device, rack: wish.rack, localBytes: wish.localBytes },
      ...{ group: `memrack-run-${id}`, helpers: `memrack-run-${id}-helpers` },
      command: ownIdentity(),
      ...{ isOwnDevice: wish.device === undefined, file: `memrack-run-${id}` },
    };
    folder.record = record;
    if (record.isOwnDevice) {
      const { copies, backup } = wish;
      try {
        await createDevice(rack.core, { name: device, bytes: swapBytes, copies, backup });
      } catch (error) {
        const { code } = error as { readonly code?: string };
        // Without an answer it may be there, and is looked for when all is taken down.
        const isUnknown = code === 'Unavailable' || code === 'OutcomeUnknown';
        if (!isUnknown) folder.remove();
        if (!isUnknown) throw error;
        const remedy = 'it may be there all the same: run memrack doctor --clean';
        throw new PagingError(`${(error as Error).message}: ${remedy}`);
      }
    }
    return new Run(wish, folder, record, swapBytes);
  }

  async whole(asked: AbortSignal): Promise<RunResult> {
    const problems: string[] = [];
    let report: RunReport | undefined;
    try {
      await this.#makeSwap(asked);
      asked.throwIfAborted();
      report = await this.#run();
    } catch (error) {
      problems.push((error as Error).message);
    }
    this.#failIfUnserved();
    const { failure, said } = this.#folder;
    if (report !== undefined && report.failedReads > 0) {
      problems.push(
        `${report.failedReads} pages could not be had; programs that wanted them ended`,
      );
    }
    if (failure !== undefined) problems.push(failure);
    if (problems.length > 0 && said !== '') problems.push(said);
    problems.push(...(await takeDown(this.#folder, this.#record)));
    return { problems, ...(report && { report }) };
  }

  // ------------------------------------------------------------------------------------- swap

  async #makeSwap(asked: AbortSignal): Promise<void> {
    const folder = this.#folder;
    this.#group = nodePaging.makeGroup(this.#record.group);
    this.#group.limit(this.#wish.localBytes);
    const mount = { folder: folder.mount, source: `memrack-${folder.id}` };
    const { fd, connection } = await mountFuse({ ...mount, dataBytesMax: SWAP_DATA_BYTES_MAX });
    this.#record = { ...this.#record, connection };
    folder.record = this.#record;
    const helpers = nodePaging.makeGroup(this.#record.helpers);
    const isKept = helpers.keepFromSwap();
    if (!isKept && !canPin()) {
      throw new PagingError(
        'control groups of version 1 cannot keep the processes that serve swap out of it, and ' +
          'nothing can be pinned: allow io_uring (sysctl kernel.io_uring_disabled=0), or boot ' +
          'with version 2',
      );
    }
    const watchdog = startHelper('swap-watchdog', this.#record, fd, helpers);
    closeSync(fd);
    if (watchdog === undefined) throw new PagingError('no process can be started now');
    await this.#served(asked);
    const loop = nodePaging.attachLoop(`${folder.mount}/${this.#record.file}`);
    this.#loop = loop.path;
    nodePaging.formatSwap(loop.path, 'memrack-run');
    nodePaging.swapOn(loop.path, priorityAbove());
    // It goes with the swap now, and the mount with it.
    loop.leave();
    detachFuse(folder.mount);
  }

  async #served(asked: AbortSignal): Promise<void> {
    const folder = this.#folder;
    for (const end = performance.now() + SERVED_MS; folder.server?.agreed === undefined; ) {
      asked.throwIfAborted();
      if (folder.failure !== undefined) throw new PagingError('the swap cannot be served');
      if (performance.now() > end) throw new PagingError('nobody serves the swap in time');
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  // ---------------------------------------------------------------------------------- program

  async #run(): Promise<RunReport> {
    const group = this.#group as ControlGroup;
    const began = performance.now();
    const timer = setInterval(() => this.#look(group), LOOK_MS);
    try {
      const exitCode = await runProgram(group, this.#wish.words);
      const seconds = (performance.now() - began) / 1000;
      // Whether that was for want of a page is told in a moment.
      if (exitCode !== 0) await new Promise((resolve) => setTimeout(resolve, TOLD_MS));
      return this.#report(exitCode, seconds, group);
    } finally {
      clearInterval(timer);
    }
  }

  #look(group: ControlGroup): void {
    const { swappedBytes, localBytes } = group.use();
    this.#peakLocal = Math.max(this.#peakLocal, localBytes);
    this.#peakRemote = Math.max(this.#peakRemote, swappedBytes);
    if (this.#looks++ % FOREIGN_LOOKS === 0) {
      this.#peakForeign = Math.max(this.#peakForeign, this.#foreignBytes(group));
    }
    if (this.#failIfUnserved()) group.kill();
  }

  /** Both at once: nobody is left to replace the other, and what is in the swap is lost. */
  #failIfUnserved(): boolean {
    const folder = this.#folder;
    const { watchdog, server, startedServer } = folder;
    if (!isGone(watchdog) || !isGone(startedServer ?? server?.identity)) return false;
    folder.fail('the processes that serve its swap, and watch over it, have been ended');
    return true;
  }

  /** Pages in swap of processes outside of the group, as far as they may be in this one. */
  #foreignBytes(group: ControlGroup): number {
    const area = nodePaging.swapAreas().find(({ path }) => path === this.#loop);
    const own = new Set(group.processes());
    return Math.min(
      area?.usedBytes ?? 0,
      nodePaging.swappedBytes((pid) => !own.has(pid)),
    );
  }

  #report(exitCode: number, seconds: number, group: ControlGroup): RunReport {
    const { traffic } = this.#folder;
    const { readBytes, writtenBytes, failedReads, readMicros } = sumTraffic(traffic);
    const { peakLocalBytes, killed } = group.use();
    return {
      ...{ exitCode, seconds, localBytes: this.#wish.localBytes, killed, failedReads },
      // Kernels before 5.19 do not tell of version 2.
      peakLocalBytes: Math.max(peakLocalBytes, this.#peakLocal),
      peakRemoteBytes: this.#peakRemote,
      swapBytes: this.#swapBytes,
      pagesIn: pagesOf(readBytes),
      pagesOut: pagesOf(writtenBytes),
      pageInMeanMicros: meanOf(readMicros),
      pageInP99Micros: p99Of(readMicros),
      peakForeignBytes: this.#peakForeign,
      takeovers: traffic.length - 1,
    };
  }
}

/** Pages go there before they go to any other swap of the machine. */
function priorityAbove(): number {
  const highest = Math.max(0, ...nodePaging.swapAreas().map(({ priority }) => priority));
  return Math.min(PRIORITY_MAX, highest + 1);
}

async function bytesOf(wish: RunWish, rack: Rack): Promise<number> {
  if (wish.device !== undefined) {
    const found = (await seeDevices(rack.core)) as readonly { name: string; bytes: number }[];
    const device = found.find(({ name }) => name === wish.device);
    if (device !== undefined) return device.bytes;
    throw new PagingError(`there is no device ${wish.device}; make it, or leave --device out`);
  }
  if (wish.swapBytes !== undefined) return wish.swapBytes;
  const nodes = await rack.nodes();
  const free = nodes.reduce((sum, { bytesLent, bytesUsed }) => sum + bytesLent - bytesUsed, 0);
  const share = (free * POOL_SHARE) / wish.copies;
  const whole = Math.floor(Math.min(share, totalmem()) / LEAST_SWAP_BYTES) * LEAST_SWAP_BYTES;
  if (whole >= LEAST_SWAP_BYTES) return whole;
  throw new PagingError(
    `the rack has ${formatBytes(free)} free, too little for ${wish.copies} copies of ` +
      `${formatBytes(LEAST_SWAP_BYTES)}: add memory nodes`,
  );
}
