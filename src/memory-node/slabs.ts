/**
 * Copies of slabs at a memory node (docs/internals/block-devices.md): allocations like all others,
 * but for their nonce and the owner record in their last block (src/disk/slab-owner.ts). From these
 * a new process knows its copies again.
 *
 * A copy is made in one turn of the main thread: entries, provisional; the record; the confirmation
 * by one store. A process that is killed before that store leaves nothing. As long as a space has a
 * copy here it is for copies alone.
 */

import type { FrameIndex } from '../base/brands.js';
import { regionKey } from '../base/region-key.js';
import { Status } from '../base/status.js';
import { ENTRY_WORDS, isSlabStart, NO_FRAME } from '../disk/page-table.js';
import { RIGHTS_MASK, SLAB_NONCE } from '../disk/page-table.js';
import { OWNER_BLOCK_BYTES, type SlabOwner } from '../disk/slab-owner.js';
import { allocationPages } from '../disk/table-changes.js';
import type { TableFile } from '../disk/table-file.js';
import { BLOCK_BYTES, CHECKSUMS_BYTES, layoutOf, SLAB_BYTES_LEAST } from '../replication/layout.js';
import type { Timers } from '../runtime/clock.js';
import { PIECE_BYTES_MAX, SLABS_PER_MESSAGE_MAX } from '../wire/limits.js';
import type { MessageType, Request } from '../wire/messages.js';
import type { NodeLeases } from './leases.js';
import { ALL_PAGES, type OwnerBlocks } from './owner-blocks.js';
import { memoryNodeFaults } from './planted.js';
import type { Allocations, Choice, Refusal, SlabListener } from './slow/allocations.js';
import { clearPages } from './store/clear-pages.js';
import type { Frames } from './store/frames.js';
import { type FrameSource, takeFrames } from './store/take-frames.js';
import { NO_PARENT } from './translate/window-tree.js';
import type { Windows } from './translate/windows.js';

export interface SlabsParts {
  readonly table: TableFile;
  readonly allocations: Allocations;
  readonly owners: OwnerBlocks;
  readonly pool: FrameSource;
  readonly frames: Pick<Frames, 'piece' | 'offset'>;
  readonly ownEntry: Int32Array;
  readonly windows: Windows;
  readonly leases: Pick<NodeLeases, 'refuseWindow'>;
  readonly timers: Timers;
  /** Memory on a disk may come back with less than it had, and would be an old copy then. */
  readonly isDurable: boolean;
  readonly awaitFrames: () => void;
  /** True when access that was taken away has ended. */
  readonly settled: () => Promise<boolean>;
  /** Whether the region is on its way to another node. */
  readonly isGoing: (space: number, region: number) => boolean;
}

/** A copy and its place; `copy` 0: what has lost its record. */
export interface Slab extends SlabOwner {
  readonly space: number;
  readonly address: number;
  readonly bytes: number;
}

interface Known extends Slab {
  generation: number;
  /** Which of the places of its last block has its record. */
  place: number;
  /** What `open` has opened last, and for whom. */
  window: { number: number; epoch: number; client: number; leaseEpoch: number } | undefined;
}

type TakeRequest = Request<typeof MessageType.TakeSlab>;
type OneRequest = Request<typeof MessageType.OpenSlab>;
type TrimRequest = Request<typeof MessageType.TrimSlab>;
type TornRequest = Request<typeof MessageType.TornPages>;
type TornPage = TornRequest['mended'][number];

/** Some tenths of a millisecond. */
const PAGES_COUNTED_MAX = 2_048;

const NO_OWNER: SlabOwner = {
  device: 0,
  slab: 0,
  copy: 0,
  lease: 0,
  leaseEpoch: 0,
  generation: 0,
};

const refusal = (status: Refusal['status'], reason: string): Refusal => ({ status, reason });

export class Slabs implements SlabListener {
  readonly #parts: SlabsParts;
  readonly #byCopy = new Map<number, Known>();
  /** By region, then by address; those without their record, too. */
  readonly #places = new Map<number, Map<number, Known>>();
  /** How many copies each space has. */
  readonly #spaces = new Map<number, number>();
  /** By the number of the copy that is being made, or given back. */
  readonly #underWay = new Map<number, Promise<unknown>>();
  /** Regions of those that are being made, once for each: they are not moved from then on. */
  readonly #making: number[] = [];
  #takings = 0;

  /** Finds what the process before had. */
  constructor(parts: SlabsParts) {
    this.#parts = parts;
    const { pages } = parts.table;
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      if (isSlabStart(pages.flagsOf(at))) this.#find(at);
    }
  }

  /** By the entry of its first page. */
  #find(entry: number): void {
    const { table, owners } = this.#parts;
    const { pages, facts } = table;
    const space = pages.spaceOf(entry);
    const address = pages.pageOf(entry) * facts.pageBytes;
    const bytes = allocationPages(table, entry) * facts.pageBytes;
    const found = owners.read(space, address + bytes);
    const isNew = found !== undefined && !this.#byCopy.has(found.owner.copy);
    const owner = isNew ? found.owner : NO_OWNER;
    const place = found?.place ?? 0;
    this.#add({ ...owner, space, address, bytes, place, window: undefined });
  }

  /** The address of the copy: of the one that there is, or of a new one. */
  async take(request: TakeRequest, client: number): Promise<number | Refusal> {
    const { copy, space, region } = request;
    return this.#inTurn(copy, async () => {
      const problem = this.#takeProblem(request, client);
      if (problem !== undefined) return problem;
      const known = this.#byCopy.get(copy);
      if (known !== undefined) {
        if (isOf(known, request) && this.#isIn(known, space, region)) return known.address;
        return refusal(Status.Invalid, `copy ${copy} is there already, of another slab or size`);
      }
      const key = regionKey(space, region);
      this.#making.push(key);
      try {
        return await this.#make(request, client);
      } finally {
        this.#making.splice(this.#making.indexOf(key), 1);
      }
    });
  }

  /** One after the other for each copy: a repeated call never makes a second one. */
  async #inTurn<T>(copy: number, work: () => Promise<T>): Promise<T> {
    while (this.#underWay.has(copy) && !memoryNodeFaults.slabTakenTwice) {
      await this.#underWay.get(copy);
    }
    const done = work().finally(() => this.#underWay.delete(copy));
    this.#underWay.set(copy, done);
    return done;
  }

  #takeProblem(request: TakeRequest, client: number): Refusal | undefined {
    const { table, leases, isDurable, isGoing } = this.#parts;
    const { space, region, bytes, lease, leaseEpoch } = request;
    const { pageBytes } = table.facts;
    if (isDurable) {
      return refusal(Status.Unsupported, 'memory here is on a disk: copies of slabs are not');
    }
    const stale = leases.refuseWindow(lease, leaseEpoch, client);
    if (stale !== undefined) return stale;
    if (!table.regions.holds(space, region)) return this.#notHeld(space, region);
    if (isGoing(space, region)) {
      return refusal(Status.Unavailable, 'the region is on its way to another node');
    }
    if (bytes % pageBytes !== 0 || bytes < SLAB_BYTES_LEAST + OWNER_BLOCK_BYTES) {
      return refusal(Status.Invalid, `a copy is a number of pages of ${pageBytes} bytes, not few`);
    }
    return undefined;
  }

  async #make(request: TakeRequest, client: number): Promise<number | Refusal> {
    const { allocations, pool, timers, awaitFrames, table } = this.#parts;
    const { space, region, bytes } = request;
    const choice = await allocations.choose({ space, region, bytes, wish: 0, flags: 0 });
    if ('status' in choice) return choice;
    const own = ownPages(bytes, table.facts.pageBytes);
    this.#takings += 1;
    const frames = await takeFrames({ pool, timers, awaitFrames }, this.#takings, own.length);
    const problem = allocations.problemOf(choice);
    if (problem === undefined && typeof frames !== 'string') {
      const obstacle = this.#obstacle(request, client);
      if (obstacle === undefined) return this.#makeAt(choice, frames, request);
      allocations.letGo(choice);
      pool.retireAll(frames);
      return obstacle;
    }
    if (typeof frames !== 'string') pool.retireAll(frames);
    if (problem !== undefined) return problem;
    allocations.letGo(choice);
    return refusal(Status.NoSpace, 'all memory that is lent here is used or promised');
  }

  /** In the turn in which the copy is made. */
  #obstacle({ space, lease, leaseEpoch }: TakeRequest, client: number): Refusal | undefined {
    // Who has raised the epoch meanwhile may have asked already which copies there are.
    const stale = this.#parts.leases.refuseWindow(lease, leaseEpoch, client);
    if (stale !== undefined && !memoryNodeFaults.slabEpochSeenOnce) return stale;
    if (this.isFor(space) || !this.#isUsedOtherwise(space)) return undefined;
    return refusal(Status.Conflict, `space ${space} has memory here that is no copy of a slab`);
  }

  #isUsedOtherwise(space: number): boolean {
    const { pages } = this.#parts.table;
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      if (pages.spaceOf(at) === space) return true;
    }
    return false;
  }

  #makeAt({ range }: Choice, frames: readonly FrameIndex[], request: TakeRequest): number {
    const { table, allocations, owners, windows } = this.#parts;
    const { space, firstPage } = range;
    const address = firstPage * table.facts.pageBytes;
    const { device, slab, copy, bytes, lease, leaseEpoch } = request;
    const owner = { device, slab, copy, lease, leaseEpoch, generation: 0 };
    // Of the time before the first copy; from now on there are none but of copies.
    if (!this.isFor(space)) windows.closeSpace(space);
    const entry = allocations.make(range, 0, SLAB_NONCE);
    for (const [i, page] of ownPages(bytes, table.facts.pageBytes).entries()) {
      const entryOfPage = table.pages.find(space, firstPage + page);
      table.pages.setFrame(entryOfPage, frames[i] as FrameIndex);
    }
    owners.write(space, address + bytes, 0, owner);
    allocations.keep(entry);
    this.#add({ ...owner, space, address, bytes, place: 0, window: undefined });
    return address;
  }

  /** Its window, or why there is none. */
  open(request: OneRequest, client: number): number | Refusal {
    const { windows } = this.#parts;
    const { lease, leaseEpoch } = request;
    const known = this.#known(request, client);
    if ('status' in known) return known;
    const { window } = known;
    const isSame = window?.client === client && window.leaseEpoch === leaseEpoch;
    if (isSame && windows.isGood(window.number, client, window.epoch)) return window.number;
    const { space, address, bytes } = known;
    const end = address + bytes - OWNER_BLOCK_BYTES;
    const range = { space, rights: RIGHTS_MASK, base: address, end };
    const facts = { opener: client, space, isShared: false, parent: NO_PARENT, lease, leaseEpoch };
    const number = windows.openRange(range, facts);
    if (number < 0) return refusal(Status.Busy, 'too many windows are open here: close some');
    known.window = { number, epoch: windows.epochOf(number), client, leaseEpoch };
    return number;
  }

  /** The copy is in the set of this generation. */
  mark(request: OneRequest & { readonly generation: number }, client: number) {
    const known = this.#known(request, client);
    if ('status' in known) return known;
    const { generation } = request;
    if (generation <= known.generation) return undefined;
    const { space, address, bytes } = known;
    const place = known.place === 0 ? 1 : 0;
    this.#parts.owners.write(space, address + bytes, place, { ...known, generation });
    known.place = place;
    known.generation = generation;
    return undefined;
  }

  /**
   * Somebody was at work on the page of this entry, and is ended, or cut off: a copy may have half
   * of what he wrote there, and says so until it is mended.
   */
  interrupted(entry: number): void {
    const { table, owners } = this.#parts;
    const { pages, facts } = table;
    const space = pages.spaceOf(entry);
    const address = pages.pageOf(entry) * facts.pageBytes;
    const known = this.#around(space, address);
    if (known === undefined || memoryNodeFaults.tornForgotten) return;
    const page = (address - known.address) / facts.pageBytes;
    owners.noteTorn(space, known.address + known.bytes, page);
  }

  /** The copy whose memory the address is of. */
  #around(space: number, address: number): Known | undefined {
    const key = regionKey(space, Math.floor(address / this.#parts.table.facts.regionBytes));
    for (const slab of this.#places.get(key)?.values() ?? []) {
      const isWithin = slab.address <= address && address < slab.address + slab.bytes;
      if (isWithin && slab.copy !== 0) return slab;
    }
    return undefined;
  }

  /** Pages that may have half of a write, without those that are mended. */
  torn(request: TornRequest, client: number): readonly TornPage[] | Refusal {
    const known = this.#known(request, client);
    if ('status' in known) return known;
    const { owners, table } = this.#parts;
    const { pageBytes } = table.facts;
    const { space, address, bytes } = known;
    for (const one of request.mended) {
      const isAll = one.bytes > pageBytes;
      owners.forgetTorn(space, address + bytes, isAll ? ALL_PAGES : one.from / pageBytes);
    }
    return owners.torn(space, address + bytes).map((page) => {
      if (page === ALL_PAGES) return { from: 0, bytes };
      return { from: page * pageBytes, bytes: pageBytes };
    });
  }

  /**
   * Blocks of the copy are zeros when it returns. Only the holder has a window, and his link makes
   * no step in the copy while this call is under way: so its pages can be looked at.
   */
  trim(request: TrimRequest, client: number): Refusal | undefined {
    const known = this.#known(request, client);
    if ('status' in known) return known;
    const { from, bytes } = request;
    const areBlocks = from % BLOCK_BYTES === 0 && bytes % BLOCK_BYTES === 0;
    const end = from + bytes;
    const { dataBytes } = layoutOf(known.bytes - OWNER_BLOCK_BYTES);
    const isWithin = bytes <= PIECE_BYTES_MAX && end <= dataBytes;
    if (!areBlocks || !isWithin) {
      return refusal(Status.Invalid, 'what is trimmed are blocks of the copy, a piece at most');
    }
    const { space, address } = known;
    // What is behind the blocks has its memory for good.
    const keepFrom = address + dataBytes - (dataBytes % this.#parts.table.facts.pageBytes);
    const range = { space, start: address + from, end: address + end, keepFrom };
    const clear = (): boolean => clearPages(this.#parts, range);
    if (memoryNodeFaults.slabTrimmedLate) this.#parts.timers.after(1, clear);
    else if (!clear()) return refusal(Status.Busy, 'a page gets another frame: try again');
    return undefined;
  }

  /** Who has a window into it, or had one before the answer, has none after that. */
  give(request: OneRequest, client: number): Promise<Refusal | undefined> {
    return this.#free(request.copy, () => this.#known(request, client, true));
  }

  /** Gives back copies that are nobody's: no holder of a lease has them, or will. */
  async drop(copies: readonly number[]): Promise<Refusal | undefined> {
    for (const copy of copies) {
      const gone = refusal(Status.NotAllocated, `copy ${copy} is gone`);
      const refused = await this.#free(copy, () => this.#byCopy.get(copy) ?? gone);
      if (refused !== undefined && refused.status !== Status.NotAllocated) return refused;
    }
    return undefined;
  }

  #free(copy: number, find: () => Known | Refusal): Promise<Refusal | undefined> {
    return this.#inTurn(copy, async () => {
      const { table, allocations, windows, settled } = this.#parts;
      const known = find();
      if ('status' in known) return known;
      const { space, address, bytes } = known;
      const range = { space, base: address, end: address + bytes };
      if (!memoryNodeFaults.slabWindowsStay) windows.closeOver(range);
      if (!(await settled())) {
        const reason = 'a stopped thread is still at work there, and there is no frame: try again';
        return refusal(Status.Busy, reason);
      }
      const still = find();
      if ('status' in still) return still;
      const { pageBytes } = table.facts;
      allocations.freeRange({ space, firstPage: address / pageBytes, pages: bytes / pageBytes });
      return undefined;
    });
  }

  /** The copy, where this client may do something with it. */
  #known(request: OneRequest, client: number, isInTurn = false): Known | Refusal {
    const { table, leases } = this.#parts;
    const { space, address, copy, lease, leaseEpoch } = request;
    const stale = leases.refuseWindow(lease, leaseEpoch, client);
    if (stale !== undefined) return stale;
    const region = Math.floor(address / table.facts.regionBytes);
    if (!isInTurn && this.#underWay.has(copy)) {
      return refusal(Status.Busy, `copy ${copy} is being made, or given back: try again`);
    }
    const known = this.#byCopy.get(copy);
    if (known === undefined || !this.#isIn(known, space, region)) {
      if (!table.regions.holds(space, region)) return this.#notHeld(space, region);
      return refusal(Status.NotAllocated, `copy ${copy} is not in region ${region}`);
    }
    if (known.lease === lease) return known;
    return refusal(Status.Denied, `copy ${copy} was taken under another lease`);
  }

  /** Those that have their record, in no order. */
  all(): readonly Slab[] {
    return [...this.#byCopy.values()];
  }

  find(copy: number): Slab | undefined {
    return this.#byCopy.get(copy);
  }

  /** Of memory that it has taken: of a large one by and large. */
  bytesUsed({ space, address, bytes }: Slab): number {
    const { pages, facts } = this.#parts.table;
    const first = address / facts.pageBytes;
    const count = bytes / facts.pageBytes;
    const step = Math.ceil(count / PAGES_COUNTED_MAX);
    let used = 0;
    for (let page = first; page < first + count; page += step) {
      const entry = pages.find(space, page);
      if (entry >= 0 && pages.frameOf(entry) !== NO_FRAME) used += step * facts.pageBytes;
    }
    return used;
  }

  /** In the order of their numbers, those above `after`; of one device, or, with 0, of all. */
  list(after: number, device: number): { more: number; slabs: Slab[] } {
    const found = [...this.#byCopy.values()].filter((slab) => {
      return slab.copy > after && (device === 0 || slab.device === device);
    });
    found.sort((a, b) => a.copy - b.copy);
    const slabs = found.slice(0, SLABS_PER_MESSAGE_MAX);
    return { more: slabs.length < found.length ? (slabs.at(-1)?.copy ?? 0) : 0, slabs };
  }

  /** Whether the space is for copies alone here. */
  isFor(space: number): boolean {
    return this.#spaces.has(space);
  }

  /** Of a plain call; what has lost its record can be freed by its address. */
  refusePlain(space: number, freed = -1): Refusal | undefined {
    if (!this.isFor(space)) return undefined;
    const region = Math.floor(freed / this.#parts.table.facts.regionBytes);
    if (freed >= 0 && this.#places.get(regionKey(space, region))?.get(freed)?.copy === 0) {
      return undefined;
    }
    return refusal(Status.Denied, `space ${space} is for slabs of block devices`);
  }

  /** Whether a copy is in the region, or may be soon. */
  isIn(space: number, region: number): boolean {
    const key = regionKey(space, region);
    return this.#places.has(key) || this.#making.includes(key);
  }

  freed(space: number, address: number): void {
    const key = regionKey(space, Math.floor(address / this.#parts.table.facts.regionBytes));
    const places = this.#places.get(key);
    const slab = places?.get(address);
    if (slab === undefined) return;
    this.#forget(slab);
    places?.delete(address);
    if (places?.size === 0) this.#places.delete(key);
  }

  wentWith(space: number, region: number): void {
    const key = regionKey(space, region);
    for (const slab of this.#places.get(key)?.values() ?? []) this.#forget(slab);
    this.#places.delete(key);
  }

  counts(): { kept: number; bytes: number; withoutRecord: number } {
    const all = [...this.#places.values()].flatMap((places) => [...places.values()]);
    const bytes = all.reduce((sum, slab) => sum + slab.bytes, 0);
    return { kept: this.#byCopy.size, bytes, withoutRecord: all.length - this.#byCopy.size };
  }

  #add(slab: Known): void {
    const { space, address, copy } = slab;
    const key = regionKey(space, Math.floor(address / this.#parts.table.facts.regionBytes));
    const places = this.#places.get(key) ?? new Map<number, Known>();
    places.set(address, slab);
    this.#places.set(key, places);
    this.#spaces.set(space, (this.#spaces.get(space) ?? 0) + 1);
    if (copy !== 0) this.#byCopy.set(copy, slab);
  }

  #forget({ space, copy }: Known): void {
    this.#byCopy.delete(copy);
    const left = (this.#spaces.get(space) ?? 0) - 1;
    if (left > 0) this.#spaces.set(space, left);
    else this.#spaces.delete(space);
  }

  #isIn(slab: Slab, space: number, region: number): boolean {
    const { regionBytes } = this.#parts.table.facts;
    return slab.space === space && Math.floor(slab.address / regionBytes) === region;
  }

  #notHeld(space: number, region: number): Refusal {
    return refusal(Status.NotFound, `region ${region} of space ${space} is not held here`);
  }
}

/** Those that have what is behind the blocks, and the last one, counted from its start. */
export function ownPages(bytes: number, pageBytes: number): number[] {
  const { areas, intentAt, checksumsAt } = layoutOf(bytes - OWNER_BLOCK_BYTES);
  const end = checksumsAt + areas * CHECKSUMS_BYTES;
  const last = bytes / pageBytes - 1;
  const pages: number[] = [];
  for (let page = Math.floor(intentAt / pageBytes); page * pageBytes < end; page++) {
    pages.push(page);
  }
  return pages.at(-1) === last ? pages : [...pages, last];
}

function isOf(known: Slab, { device, slab, bytes, lease }: TakeRequest): boolean {
  const isSame = known.device === device && known.slab === slab && known.lease === lease;
  return isSame && known.bytes === bytes;
}
