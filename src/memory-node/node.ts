/**
 * A memory node without its network: tables, frames, slow path, and the handler of data messages,
 * put together over the three memory files.
 */

import type { TableFile } from '../disk/table-file.js';
import { Stations } from '../fabric/stations.js';
import { MAPPING_BYTES_MAX, type MemoryFile } from '../runtime/memory.js';
import type { Clock } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { messageName } from '../wire/messages.js';
import { Access } from './access/access.js';
import { type AdoptedTable, adoptTable, framesAtWork } from './adoption.js';
import { NodeCounters } from './counters.js';
import { NodeLeases } from './leases.js';
import type { CallServer } from './network/call-server.js';
import { serveCalls } from './network/calls.js';
import { NodeDataHandler } from './network/data-handler.js';
import { serveLeases } from './network/lease-calls.js';
import { type NodeFiles, Sharing } from './sharing.js';
import { Allocations } from './slow/allocations.js';
import type { Neighbours } from './slow/provisional.js';
import { Regions } from './slow/regions.js';
import { SlowPath } from './slow/slow-path.js';
import { FramePool } from './store/frame-pool.js';
import { Frames } from './store/frames.js';
import { REVOKE_MS_DEFAULT } from './store/revocation.js';
import { Translator } from './translate/translator.js';
import { Windows } from './translate/windows.js';
import { Withdrawal } from './withdrawal.js';

export interface NodeOptions extends NodeFiles {
  /** Pages that may be allocated in all. */
  readonly commitPages: number;
  /** Zeroed frames that are kept ready. */
  readonly zeroedFrames: number;
  /** How long a thread without the node may take for a step before its page is copied. */
  readonly revokeMs?: number;
}

export interface MemoryNodeLoad {
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
}

export class MemoryNode {
  readonly table: TableFile;
  readonly dataHandler: NodeDataHandler;
  readonly counters = new NodeCounters();
  /** Resolves with the reason when the slow path has ended: then the process must end. */
  readonly slowPathEnded: Promise<string>;
  readonly sharing: Sharing;
  /** What times requests; for the endpoint that they come through, too. */
  readonly stations: Stations;
  readonly #clock: Clock;
  readonly #slow: SlowPath;
  readonly #pool: FramePool;
  readonly #windows: Windows;
  readonly #allocations: Allocations;
  readonly #regions: Regions;
  readonly #withdrawal: Withdrawal;
  readonly #leases: NodeLeases;

  /**
   * Resolves when the node can serve; a string says why this memory can never be taken over.
   * Rejects when something else went wrong, which may be better next time.
   */
  static async open(runtime: Runtime, options: NodeOptions): Promise<MemoryNode | string> {
    const memory = runtime.memory.adopt(options.tableMemory);
    if (memory.bytes > MAPPING_BYTES_MAX) return 'the table file is longer than one mapping';
    const adopted = adoptTable(memory.map(0, memory.bytes));
    if (typeof adopted === 'string') return adopted;
    const frameMemory = runtime.memory.adopt(options.frameMemory);
    const { frames, pageBytes } = adopted.table.facts;
    if (frameMemory.bytes < frames * pageBytes) return 'the memory file is shorter than its table';
    const node = new MemoryNode(runtime, options, adopted, frameMemory);
    const end = await Promise.race([node.#slow.ready, node.slowPathEnded]);
    if (typeof end === 'string') throw new Error(`the slow path has ended: ${end}`);
    return node;
  }

  private constructor(
    runtime: Runtime,
    options: NodeOptions,
    adopted: AdoptedTable,
    frameMemory: MemoryFile,
  ) {
    const { table, isUsed } = adopted;
    const { timers } = runtime;
    const { facts, pages } = table;
    const sharing = new Sharing(runtime, table, options);
    const { quiescence } = sharing;
    const resting = framesAtWork(adopted, quiescence);
    const { zeroedFrames, commitPages } = options;
    const start = { zeroedTarget: zeroedFrames, commitLimit: commitPages, isUsed, resting };
    const slow = new SlowPath(
      runtime,
      facts.frames,
      start,
      [options.tableMemory, options.frameMemory],
      () => this.dataHandler.goOn(),
    );
    const pool = new FramePool({
      frames: facts.frames,
      mapped: adopted.mapped,
      resting,
      rest: (frames, done) => quiescence.rest(frames, done),
      zeroed: slow.zeroed,
      retired: slow.retired,
      refillBelow: Math.ceil(zeroedFrames / 2),
      refill: () => slow.nudge(),
    });
    sharing.keepFramesOf(pool);
    const counters = this.counters;
    const { incarnation } = table;
    const windows = new Windows({ table: table.windows, incarnation, entropy: runtime.entropy });
    const parts = { table, pool, source: slow, timers, counters };
    const allocations = new Allocations(parts, adopted.committed);
    this.table = table;
    this.sharing = sharing;
    this.stations = new Stations(runtime.clock);
    this.slowPathEnded = slow.ended;
    this.#clock = runtime.clock;
    this.#slow = slow;
    this.#pool = pool;
    this.#windows = windows;
    this.#allocations = allocations;
    this.#regions = new Regions({ table, windows, allocations, slow, timers });
    const frames = new Frames(frameMemory, facts.pageBytes, facts.frames);
    const awaitFrames = (): void => slow.awaitFrames();
    this.#withdrawal = new Withdrawal(runtime, {
      ...{ table, windows, quiescence, frames, pool, awaitFrames },
      revokeMs: options.revokeMs ?? REVOKE_MS_DEFAULT,
      resumed: () => this.dataHandler.goOn(),
    });
    this.#leases = new NodeLeases(table.leases, runtime.clock, this.#withdrawal);
    this.dataHandler = new NodeDataHandler({
      pages,
      pageBytes: facts.pageBytes,
      windows,
      translator: new Translator(pages, windows, table.regions, facts.pageBytes),
      access: new Access(pages, frames, pool, runtime.memory),
      pool,
      counters,
      stations: this.stations,
      awaitFrames,
    });
  }

  /** From now on threads that have a slot may read and write, too. */
  serveCalls(server: CallServer, moreCounters: () => Record<string, unknown>): void {
    this.sharing.begin();
    serveLeases(server, this.#leases);
    serveCalls(server, {
      table: this.table,
      windows: this.#windows,
      allocations: this.#allocations,
      regions: this.#regions,
      leases: this.#leases,
      sharing: this.sharing,
      revocation: this.#withdrawal.revocation,
      relocation: this.#withdrawal.relocation,
      counters: this.counters,
      clock: this.#clock,
      stations: this.stations,
      pingSlowPath: () => this.#slow.ping(),
      countersJson: () => JSON.stringify({ ...this.#countersNow(), ...moreCounters() }),
    });
  }

  /** Where pieces of allocations at other nodes are asked for. */
  askNeighbours(neighbours: Neighbours): void {
    this.#allocations.neighbours = neighbours;
  }

  /** Bytes of all that is kept for windows. */
  get stateBytes(): number {
    return this.#windows.stateBytes;
  }

  load(): MemoryNodeLoad {
    const { frames, pageBytes } = this.table.facts;
    return {
      bytesLent: frames * pageBytes,
      bytesUsed: this.#pool.mapped * pageBytes,
      bytesCommitted: this.#allocations.committed * pageBytes,
    };
  }

  #countersNow(): Record<string, unknown> {
    const pool = this.#pool;
    return {
      ...this.counters.toJson(messageName),
      incarnation: this.table.incarnation,
      frames: pool.frames,
      framesUsed: pool.mapped,
      framesResting: pool.resting,
      framesKept: pool.kept,
      ...this.sharing.counts(),
      ...this.#withdrawal.counts(),
      framesPromised: pool.promised,
      firstTouches: pool.firstTouches,
      waitsForZeroedFrame: pool.waits,
      framesRefused: pool.refusals,
      pagesCommitted: this.#allocations.committed,
      regions: this.table.regions.size,
      windows: this.#windows.open,
      windowsShared: this.#windows.shared,
      leases: this.#leases.counts(),
    };
  }

  /** Ends the slow path; the memory stays as it is. */
  async stop(): Promise<void> {
    this.sharing.stop();
    this.#allocations.stop();
    await this.#slow.stop();
  }
}
