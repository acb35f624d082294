/**
 * A memory node without its network: tables, frames, slow path, and the handler of data messages,
 * put together over the three memory files.
 */

import type { FrameIndex } from '../base/brands.js';
import type { TableFile } from '../disk/table-file.js';
import { Stations } from '../fabric/stations.js';
import type { DonorMarks } from '../policies/donor/donor-limit.js';
import { MAPPING_BYTES_MAX, type Mapping, type MemoryFile } from '../runtime/memory.js';
import type { Clock } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { DonorFlag, messageName } from '../wire/messages.js';
import { Access } from './access/access.js';
import { RegionRates } from './access/region-rates.js';
import { type AdoptedTable, adoptTable, framesAtWork } from './adoption.js';
import { NodeCounters } from './counters.js';
import { Donor } from './donor.js';
import type { Journal } from './durable/journal.js';
import { type DurableOptions, openJournal } from './durable/open-journal.js';
import { durableFaults } from './durable/planted.js';
import { Eviction } from './eviction.js';
import { Giving } from './giving.js';
import { NodeLeases } from './leases.js';
import type { CallServer } from './network/call-server.js';
import { serveCalls } from './network/calls.js';
import { answeringDurably } from './network/durable-answers.js';
import { NodeDataHandler } from './network/data-handler.js';
import { serveLeases } from './network/lease-calls.js';
import { type NodeFiles, Sharing } from './sharing.js';
import { Slabs, type SlabsParts } from './slabs.js';
import type { MovesDisk } from './moves/incoming.js';
import { Moves, type MovesParts } from './moves/moves.js';
import { WrittenFrames } from './moves/written-frames.js';
import { OwnerBlocks } from './owner-blocks.js';
import { Allocations } from './slow/allocations.js';
import type { Neighbours } from './slow/provisional.js';
import { Regions } from './slow/regions.js';
import { SlowPath } from './slow/slow-path.js';
import { FramePool, type FramePoolOptions } from './store/frame-pool.js';
import { Frames } from './store/frames.js';
import type { Quiescence } from './store/quiescence.js';
import { REVOKE_MS_DEFAULT } from './store/revocation.js';
import { Translator } from './translate/translator.js';
import { Windows } from './translate/windows.js';
import { Withdrawal } from './withdrawal.js';

export interface NodeOptions extends NodeFiles {
  /** Where the frames are a file on a disk. */
  readonly durable?: DurableOptions | undefined;
  /** Pages that may be allocated in all. */
  readonly commitPages: number;
  /** Zeroed frames that are kept ready. */
  readonly zeroedFrames: number;
  /** How long a thread without the node may take for a step before its page is copied. */
  readonly revokeMs?: number;
  /** Of so many looks at what has arrived one is timed by station; 0: none. */
  readonly timedLooks?: number;
  /** What of its machine's need the node looks at; undefined: all is lent always. */
  readonly donor?: DonorOptions | undefined;
}

export interface DonorOptions {
  /** In bytes; undefined: shares of the machine or group. */
  readonly marks?: DonorMarks | undefined;
  /** Empty: the machine, and all groups that the process is in. */
  readonly controlGroup: string;
}

/** Its ten readings of the clock are then too few to be seen in the others. */
const TIMED_LOOKS_DEFAULT = 64;

export interface MemoryNodeLoad {
  /** The most that it ever lends. */
  readonly bytesCapacity: number;
  readonly bytesLent: number;
  readonly bytesUsed: number;
  readonly bytesCommitted: number;
  /** Used, and more than is lent now. */
  readonly bytesToGive: number;
  /** Of `DonorFlag`. */
  readonly donor: number;
}

type OfNode =
  | 'clock'
  | 'timers'
  | 'memory'
  | 'alone'
  | 'settled'
  | 'resumed'
  | 'isRemoving'
  | 'commit';
type MovesOver = Omit<MovesParts, OfNode>;
type SlabsOfNode = 'leases' | 'isDurable' | 'owners' | 'settled' | 'isGoing';

export class MemoryNode {
  readonly table: TableFile;
  readonly moves: Moves;
  readonly dataHandler: NodeDataHandler;
  readonly counters = new NodeCounters();
  /** Resolves with the reason when the slow path has ended: then the process must end. */
  readonly slowPathEnded: Promise<string>;
  readonly sharing: Sharing;
  /** What times requests; for the endpoint that they come through, too. */
  readonly stations: Stations;
  /** Undefined: the memory is not on a disk. */
  readonly journal: Journal | undefined;
  readonly #clock: Clock;
  readonly #slow: SlowPath;
  readonly #donor: Donor;
  readonly #pool: FramePool;
  readonly #windows: Windows;
  readonly #allocations: Allocations;
  readonly #regions: Regions;
  readonly #withdrawal: Withdrawal;
  readonly #leases: NodeLeases;
  readonly #rates: RegionRates;
  readonly #giving: Giving;
  readonly #slabs: Slabs;
  readonly #eviction: Eviction;
  /** Used memory has to be moved away from now on: to be told soon. */
  mustGive: () => void = () => {};

  /**
   * Resolves when the node can serve; a string says why this memory can never be taken over.
   * Rejects when something else went wrong, which may be better next time.
   */
  static async open(
    runtime: Runtime,
    options: NodeOptions,
    storageFailed: (error: unknown) => void = () => {},
  ): Promise<MemoryNode | string> {
    const memory = runtime.memory.adopt(options.tableMemory);
    if (memory.bytes > MAPPING_BYTES_MAX) return 'the table file is longer than one mapping';
    const mapping = memory.map(0, memory.bytes);
    const kept = keptOf(runtime, options, mapping, storageFailed);
    if (typeof kept === 'string') return kept;
    const adopted = adoptTable(mapping, kept.journal?.store);
    if (typeof adopted === 'string') return adopted;
    const { frames: count, pageBytes } = adopted.table.facts;
    if (kept.file.bytes < count * pageBytes) return 'the memory file is shorter than its table';
    const frames = new Frames(kept.file, pageBytes, count);
    // Before a frame is zeroed that the disk may still call a page's, and before anybody is served.
    const begun = kept.journal?.start();
    if (!durableFaults.servedBeforeCheckpoint) await begun;
    const node = new MemoryNode(runtime, options, adopted, frames, kept.journal);
    const end = await Promise.race([node.#slow.ready, node.slowPathEnded]);
    if (typeof end === 'string') throw new Error(`the slow path has ended: ${end}`);
    return node;
  }

  private constructor(
    runtime: Runtime,
    options: NodeOptions,
    adopted: AdoptedTable,
    frames: Frames,
    journal: Journal | undefined,
  ) {
    const { table } = adopted;
    const { timers } = runtime;
    const { facts, pages, incarnation } = table;
    const sharing = new Sharing(runtime, table, options);
    const { quiescence, ownEntry } = sharing;
    const resting = framesAtWork(adopted, quiescence);
    const slow = this.#startSlowPath(runtime, options, adopted, resting);
    const pool = poolOver(adopted, resting, options, { quiescence, slow, journal });
    sharing.keepFramesOf(pool);
    const counters = this.counters;
    const windows = new Windows({ table: table.windows, incarnation, entropy: runtime.entropy });
    const parts = { table, pool, source: slow, timers, counters };
    const allocations = new Allocations(parts, adopted.committed);
    this.#donor = new Donor({
      ...{ pool, allocations, pageBytes: facts.pageBytes, clock: runtime.clock },
      marks: options.donor?.marks,
      isOn: options.donor !== undefined,
      hold: (count) => slow.hold(count),
      wants: () => this.mustGive(),
    });
    this.#rates = new RegionRates({ table, slots: sharing.slots }, runtime.clock.now());
    this.table = table;
    this.sharing = sharing;
    this.stations = new Stations(runtime.clock, options.timedLooks ?? TIMED_LOOKS_DEFAULT);
    this.slowPathEnded = slow.ended;
    this.#clock = runtime.clock;
    this.journal = journal;
    this.#slow = slow;
    this.#pool = pool;
    this.#windows = windows;
    this.#allocations = allocations;
    this.#regions = new Regions({ table, windows, allocations, slow, timers });
    const awaitFrames = (): void => slow.awaitFrames();
    this.#withdrawal = new Withdrawal(runtime, {
      ...{ table, windows, quiescence, frames, pool, awaitFrames },
      revokeMs: options.revokeMs ?? REVOKE_MS_DEFAULT,
      resumed: () => this.dataHandler.goOn(),
      mayCopyAway: (entry) => this.moves.mayCopyAway(entry),
      interrupted: (entry) => this.#slabs.interrupted(entry),
    });
    this.#leases = new NodeLeases(table.leases, runtime.clock, this.#withdrawal);
    const written = new WrittenFrames(table, sharing.marks);
    const translator = new Translator(pages, windows, table.regions, facts.pageBytes);
    const moves = this.#movesOver(runtime, {
      ...{ table, pool, frames, windows, allocations, written, quiescence, slow, awaitFrames },
      stuckMs: options.revokeMs ?? REVOKE_MS_DEFAULT,
      disk: journal === undefined ? undefined : diskOf(journal),
    });
    this.moves = moves;
    this.#giving = this.#givingOf(timers);
    translator.isGone = (space, region) => moves.isGone(space, region);
    const access = new Access(pages, frames, pool, runtime.memory, written, ownEntry);
    const ofSlabs = { table, allocations, pool, frames, ownEntry, windows, timers, awaitFrames };
    this.#slabs = this.#slabsIn(ofSlabs, access);
    this.#eviction = this.#evictionOf(runtime);
    this.dataHandler = new NodeDataHandler({
      ...{ pages, windows, translator, pool, counters, awaitFrames, access },
      pageBytes: facts.pageBytes,
      isSilent: (entry) => moves.isSilentEntry(entry),
      stations: this.stations,
      ...{ rates: this.#rates, clock: runtime.clock, returns: moves.returns },
    });
  }

  #startSlowPath(
    runtime: Runtime,
    options: NodeOptions,
    { table, isUsed }: AdoptedTable,
    resting: readonly FrameIndex[],
  ): SlowPath {
    const { zeroedFrames, commitPages, tableMemory, frameMemory, donor } = options;
    const watch = donor?.controlGroup;
    const isDurable = options.durable !== undefined;
    const limits = { zeroedTarget: zeroedFrames, commitLimit: commitPages };
    const start = { ...limits, isUsed, isDurable, resting, watch };
    return new SlowPath(runtime, table.facts.frames, start, [tableMemory, frameMemory], {
      framesReady: () => this.dataHandler.goOn(),
      measured: (room) => {
        this.#rates.look(runtime.clock.now());
        this.#donor.measured(room);
        this.#eviction.look();
      },
    });
  }

  #slabsIn(parts: Omit<SlabsParts, SlabsOfNode>, access: Access): Slabs {
    const { pages, facts } = parts.table;
    const slabs = new Slabs({
      ...parts,
      ...{ leases: this.#leases, isDurable: this.journal !== undefined },
      owners: new OwnerBlocks(pages, facts.pageBytes, access),
      settled: () => this.#withdrawal.revocation.settled(),
      isGoing: (space, region) => this.moves.isGoing(space, region),
    });
    this.sharing.interrupted = (entry) => slabs.interrupted(entry);
    this.sharing.lookBack();
    parts.allocations.slabs = slabs;
    this.moves.slabs = slabs;
    return slabs;
  }

  /** Both ways in which used memory is given back: what goes in the one counts in the other. */
  #givingOf(timers: Runtime['timers']): Giving {
    const { moves } = this;
    return new Giving({
      ...{ table: this.table, timers, donor: this.#donor, rates: this.#rates },
      mayGo: (space, region) => moves.mayGo(space, region),
      isGoing: (space, region) => moves.isGoing(space, region),
      bytesOfSlabs: () => this.#eviction.bytesGoing,
    });
  }

  #evictionOf({ clock, timers, entropy }: Runtime): Eviction {
    return new Eviction({
      ...{ clock, timers, entropy, slabs: this.#slabs, leases: this.#leases },
      bytesToGive: () => this.#giving.bytesLeft,
    });
  }

  /** Regions that come from other nodes, and go there. */
  #movesOver(runtime: Runtime, parts: MovesOver): Moves {
    const moves = new Moves({
      ...parts,
      ...{ clock: runtime.clock, timers: runtime.timers, memory: runtime.memory },
      alone: (work) => this.#withdrawal.relocation.alone(work),
      settled: () => this.#withdrawal.revocation.settled(),
      resumed: () => this.dataHandler.goOn(),
      isRemoving: (space) => this.#regions.isRemoving(space),
      // Memory that is not durable has nothing to wait for.
      commit: () => this.journal?.commit() ?? Promise.resolve(),
    });
    this.#regions.moves = moves;
    parts.allocations.pauses = moves;
    return moves;
  }

  /** From now on threads that have a slot may read and write, too. */
  serveCalls(calls: CallServer, moreCounters: () => Record<string, unknown>): void {
    const { journal } = this;
    const server = answeringDurably(calls, journal);
    this.sharing.begin();
    serveLeases(server, this.#leases);
    serveCalls(server, {
      table: this.table,
      journal,
      windows: this.#windows,
      allocations: this.#allocations,
      regions: this.#regions,
      leases: this.#leases,
      sharing: this.sharing,
      revocation: this.#withdrawal.revocation,
      relocation: this.#withdrawal.relocation,
      moves: this.moves,
      giving: this.#giving,
      slabs: this.#slabs,
      eviction: this.#eviction,
      counters: this.counters,
      clock: this.#clock,
      stations: this.stations,
      pingSlowPath: () => this.#slow.ping(),
      countersJson: () => JSON.stringify({ ...this.#countersNow(), ...moreCounters() }),
    });
  }

  /** How other nodes are reached, to which regions go. */
  reachNodes(peer: NonNullable<Moves['peer']>): void {
    this.moves.peer = peer;
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
    const { pageBytes } = this.table.facts;
    return {
      bytesCapacity: this.#donor.capacityBytes,
      bytesLent: this.#donor.lentBytes,
      bytesUsed: this.#pool.mapped * pageBytes,
      bytesCommitted: this.#allocations.committed * pageBytes,
      bytesToGive: this.#donor.bytesToGive,
      donor: this.#donor.isUnmeasured ? DonorFlag.UNMEASURED : 0,
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
      framesLent: pool.limit,
      ...this.#donor.counts(),
      ...this.sharing.counts(),
      ...this.#withdrawal.counts(),
      ...this.moves.counts(),
      framesPromised: pool.promised,
      firstTouches: pool.firstTouches,
      waitsForZeroedFrame: pool.waits,
      framesRefused: pool.refusals,
      pagesCommitted: this.#allocations.committed,
      regions: this.table.regions.size,
      windows: this.#windows.open,
      windowsShared: this.#windows.shared,
      leases: this.#leases.counts(),
      slabs: this.#slabs.counts(),
      slabsGoing: this.#eviction.going,
      slabsGone: this.#eviction.gone,
      stationSeconds: this.stations.seconds,
      service: this.stations.service,
      waits: this.stations.waits.seconds,
      slow: this.stations.waits.slow,
      ...(this.journal === undefined ? {} : { disk: this.journal.counts() }),
    };
  }

  /** Ends the slow path; the memory stays as it is. */
  async stop(): Promise<void> {
    this.sharing.stop();
    this.moves.stop();
    this.#allocations.stop();
    await this.#slow.stop();
    await this.journal?.close();
  }
}

/** The file of the frames, and where that is on a disk what makes the table durable. */
interface Kept {
  readonly file: MemoryFile;
  readonly journal: Journal | undefined;
}

function keptOf(
  runtime: Runtime,
  { durable, frameMemory }: NodeOptions,
  table: Mapping,
  failed: (error: unknown) => void,
): Kept | string {
  if (durable === undefined) {
    return { file: runtime.memory.adopt(frameMemory), journal: undefined };
  }
  const file = runtime.durables.adopt(frameMemory);
  const journal = openJournal(runtime, file, table, durable, failed);
  return typeof journal === 'string' ? journal : { file, journal };
}

/** A page that comes back after a crash then has what was flushed. */
function durablyBy(journal: Journal): NonNullable<FramePoolOptions['durably']> {
  return (frames, done) => {
    for (const frame of frames) journal.lost(frame);
    if (durableFaults.zeroedBeforeCommit) done();
    else void journal.commit().then(done);
  };
}

function diskOf(journal: Journal): MovesDisk {
  return {
    opening: journal.opening,
    flush: (frames) => journal.flushFrames(frames),
    changed: (frame) => journal.lost(frame),
  };
}

interface PoolParts {
  readonly quiescence: Quiescence;
  readonly slow: SlowPath;
  readonly journal: Journal | undefined;
}

function poolOver(
  { table, mapped }: AdoptedTable,
  resting: readonly FrameIndex[],
  { zeroedFrames }: NodeOptions,
  { quiescence, slow, journal }: PoolParts,
): FramePool {
  return new FramePool({
    ...{ frames: table.facts.frames, mapped, resting },
    rest: (frames, done) => quiescence.rest(frames, done),
    zeroed: slow.zeroed,
    retired: slow.retired,
    ...(journal === undefined ? {} : { durably: durablyBy(journal) }),
    refillBelow: Math.ceil(zeroedFrames / 2),
    refill: () => slow.nudge(),
  });
}
