/**
 * A region on its way to this node: entries, slots of the page table for their exact addresses, and
 * frames with what has come so far. None of it can be reached by anybody until `take`, which makes
 * the entries and then, by one store, the region. Before that all of it may be dropped at any time,
 * by raising the floor (docs/internals/moves.md).
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { Status } from '../../base/status.js';
import { EntryFlag } from '../../disk/page-table.js';
import type { TableFile } from '../../disk/table-file.js';
import { sleep, type Timers } from '../../runtime/clock.js';
import type { Memory } from '../../runtime/memory.js';
import type { Request } from '../../wire/messages.js';
import type { MessageType } from '../../wire/messages.js';
import type { Refusal } from '../slow/allocations.js';
import type { ChosenRange, RangeWish } from '../slow/slow-path.js';
import { durableFaults } from '../durable/planted.js';
import { FRAME_LATER, FRAME_NONE, type FramePool } from '../store/frame-pool.js';
import type { Frames } from '../store/frames.js';
import type { PageRun } from './region-pages.js';

/** In place of a client's slot: who the frames are promised to. */
const MOVE_SLOT = -1;
const RESERVATION = 1;
const RETRY_MS = 2;
/** What has come is flushed in parts of so many bytes; the source waits when four are left. */
const FLUSH_BYTES = 16 * 2 ** 20;
const UNFLUSHED_BYTES_MAX = 4 * FLUSH_BYTES;

/** Of memory that is on a disk. */
export interface MovesDisk {
  /** Of the file, that of now. */
  readonly opening: number;
  /** Resolves when what is in these frames is durable; the commit that names them relies on it. */
  readonly flush: (frames: readonly FrameIndex[]) => Promise<void>;
  /** What is in the frame is not what was flushed. */
  readonly changed: (frame: FrameIndex) => void;
}

export interface IncomingParts {
  readonly table: TableFile;
  readonly disk: MovesDisk | undefined;
  readonly pool: FramePool;
  readonly frames: Frames;
  readonly memory: Pick<Memory, 'copy'>;
  readonly timers: Timers;
  readonly awaitFrames: () => void;
  readonly slow: {
    choose(wish: RangeWish): Promise<ChosenRange>;
    release(space: number, firstPage: number, pages: number): void;
    addRegion(space: number, region: number): void;
    dropRegion(space: number, region: number): void;
    nudge(): void;
  };
}

export interface ComingRegion {
  readonly space: number;
  readonly region: number;
  readonly epoch: number;
}

interface ComingPage {
  flags: number;
  /** -1: it was never written to. */
  frame: number;
}

export class Incoming {
  readonly place: ComingRegion;
  /** Nothing is to come: what there is may be taken. */
  isListed = false;
  /** Under which nothing was lost, as the source says it; undefined: it has not said so. */
  openings: readonly number[] | undefined;
  /** Of memory on a disk: frames that were filled and not flushed since. */
  readonly #unflushed = new Set<FrameIndex>();
  #flushing: Promise<void> | undefined;
  readonly #parts: IncomingParts;
  /** By their places in the region. */
  readonly #pages = new Map<number, ComingPage>();
  /** Of the list that is being sent. */
  #runs: PageRun[] = [];
  #isDropped = false;

  constructor(parts: IncomingParts, place: ComingRegion) {
    this.#parts = parts;
    this.place = place;
    parts.slow.addRegion(place.space, place.region);
  }

  /** A part of the list of all entries; with the last one room is made for all of them. */
  async list(request: Request<typeof MessageType.MoveEntries>): Promise<Refusal | undefined> {
    if (request.isFirst !== 0) {
      this.#runs = [];
      this.isListed = false;
    }
    this.#runs.push(...request.runs);
    if (request.isLast === 0) return undefined;
    const problem = this.#notDurable() ?? (await this.#settle(this.#wanted()));
    // What came before: so that there is little left to be flushed in the pause.
    while (this.#isUnflushed && !this.#isDropped) await this.#flush();
    this.isListed = problem === undefined && !this.#isDropped;
    return this.#isDropped ? refusal(Status.Stale, 'the move was cancelled') : problem;
  }

  /** Memory on disks comes from disks alone, with what its clients may have left unflushed. */
  #notDurable(): Refusal | undefined {
    if (this.#parts.disk === undefined || this.openings !== undefined) return undefined;
    return refusal(Status.Unsupported, 'memory here is on a disk, and that of the source is not');
  }

  /** Undefined: the source may go on at once. */
  keepUp(): Promise<void> | undefined {
    const bytes = this.#unflushed.size * this.#parts.frames.pageBytes;
    if (bytes >= FLUSH_BYTES && this.#flushing === undefined) void this.#flush();
    return bytes >= UNFLUSHED_BYTES_MAX ? this.#flushing : undefined;
  }

  get #isUnflushed(): boolean {
    return this.#unflushed.size > 0 || this.#flushing !== undefined;
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#flushNow().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /** One part: others want to flush something meanwhile. */
  async #flushNow(): Promise<void> {
    const { disk, frames } = this.#parts;
    const count = Math.ceil(FLUSH_BYTES / frames.pageBytes);
    const part = [...this.#unflushed].slice(0, count);
    for (const frame of part) this.#unflushed.delete(frame);
    await disk?.flush(part);
  }

  #filled(frame: FrameIndex): void {
    const { disk } = this.#parts;
    if (disk === undefined) return;
    disk.changed(frame);
    this.#unflushed.add(frame);
  }

  #wanted(): Map<number, { flags: number; hasFrame: boolean }> {
    const wanted = new Map<number, { flags: number; hasFrame: boolean }>();
    for (const { page, pages, flags, frames } of this.#runs) {
      const end = Math.min(page + pages, this.#parts.table.pagesPerRegion);
      for (let at = page; at < end; at++) wanted.set(at, { flags, hasFrame: frames !== 0 });
    }
    this.#runs = [];
    return wanted;
  }

  async #settle(
    wanted: ReadonlyMap<number, { flags: number; hasFrame: boolean }>,
  ): Promise<Refusal | undefined> {
    const missing: number[] = [];
    for (const page of [...this.#pages.keys()]) if (!wanted.has(page)) this.#forget(page);
    for (const [page, { flags, hasFrame }] of wanted) {
      const known = this.#pages.get(page);
      if (known === undefined) missing.push(page);
      else {
        known.flags = flags;
        if (!hasFrame) this.#giveBack(known);
      }
    }
    for (const [first, count] of rangesOf(missing)) {
      const problem = await this.#takeSlots(first, count, wanted);
      if (problem !== undefined) return problem;
    }
    const bare = [...this.#pages].filter(([page, known]) => {
      return known.frame < 0 && wanted.get(page)?.hasFrame === true;
    });
    return this.#takeFrames(bare.map(([, known]) => known));
  }

  /** Slots of the page table for exactly these pages. */
  async #takeSlots(
    first: number,
    count: number,
    wanted: ReadonlyMap<number, { flags: number }>,
  ): Promise<Refusal | undefined> {
    const { slow, table } = this.#parts;
    const { space, region } = this.place;
    const wish = region * table.pagesPerRegion + first;
    const { firstPage } = await slow.choose({ space, region, pages: count, wish });
    if (this.#isDropped) return undefined;
    if (firstPage < 0) return refusal(Status.NoSpace, `no room for ${count} pages more`);
    if (firstPage !== wish) {
      slow.release(space, firstPage, count);
      return refusal(Status.NoSpace, 'a bucket of the page table has no room for these addresses');
    }
    for (let page = first; page < first + count; page++) {
      this.#pages.set(page, { flags: wanted.get(page)?.flags ?? 0, frame: -1 });
    }
    return undefined;
  }

  async #takeFrames(pages: readonly ComingPage[]): Promise<Refusal | undefined> {
    const { pool, timers, awaitFrames } = this.#parts;
    if (!pool.promise(MOVE_SLOT, RESERVATION, pages.length)) {
      return refusal(Status.NoSpace, `${pages.length} frames are wanted, there are not so many`);
    }
    for (const page of pages) {
      for (;;) {
        if (this.#isDropped) return undefined;
        const frame = pool.take(MOVE_SLOT, RESERVATION);
        if (frame >= 0) {
          page.frame = frame;
          this.#filled(frame as FrameIndex);
          break;
        }
        assert(frame === FRAME_LATER || frame !== FRAME_NONE, 'a frame that was promised is gone');
        awaitFrames();
        await sleep(timers, RETRY_MS);
      }
    }
    return undefined;
  }

  /** A piece of a page. False: the page is in no list, or the piece does not fit. */
  put(page: number, offset: number, data: Uint8Array): boolean {
    const { frames, memory } = this.#parts;
    const frame = this.#pages.get(page)?.frame ?? -1;
    const isWithin = offset % 8 === 0 && offset + data.length <= frames.pageBytes;
    if (this.#isDropped || frame < 0 || !isWithin) return false;
    const at = frames.offset(frame as FrameIndex) + offset;
    memory.copy(frames.piece(frame as FrameIndex).bytes, at, data, 0, data.length);
    this.#filled(frame as FrameIndex);
    return true;
  }

  /**
   * Makes the entries, paused, and then the region: from that store on this node holds it. Returns
   * how many pages it has. The caller lets them go on.
   */
  take(): number {
    const { table, pool, disk } = this.#parts;
    const { space, region } = this.place;
    if (durableFaults.copiesNotFlushed) void disk?.flush([...this.#unflushed]);
    if (disk !== undefined) table.regions.putOpenings(space, region, this.#former());
    const first = region * table.pagesPerRegion;
    for (const [page, { flags, frame }] of [...this.#pages].sort(([a], [b]) => a - b)) {
      const entry = table.pages.insert(space, first + page, flags | EntryFlag.PAUSED);
      if (frame >= 0) table.pages.setFrame(entry, frame as FrameIndex);
    }
    this.hold();
    pool.release(MOVE_SLOT, RESERVATION);
    this.#isDropped = true;
    return this.#pages.size;
  }

  /**
   * Not those of our own file: what is written here from now on is not durable yet, and would be
   * taken for it when the file has been opened anew. A client may name an older one of them, under
   * which the region was here before: its link has not seen since that the file was opened anew.
   */
  #former(): number[] {
    const own = new Set(this.#parts.table.openings);
    return (this.openings ?? []).filter((one) => !own.has(one));
  }

  /** From here on this node holds the region. */
  hold(): void {
    this.#parts.table.regions.put(this.place);
  }

  /** Nothing of it is here any more. */
  drop(): void {
    if (this.#isDropped) return;
    this.#isDropped = true;
    const { pool, slow } = this.#parts;
    pool.release(MOVE_SLOT, RESERVATION);
    const frames = [...this.#pages.values()].filter(({ frame }) => frame >= 0);
    pool.retireAll(frames.map(({ frame }) => frame as FrameIndex));
    slow.dropRegion(this.place.space, this.place.region);
    slow.nudge();
    this.#pages.clear();
  }

  #forget(page: number): void {
    const known = this.#pages.get(page);
    if (known !== undefined) this.#giveBack(known);
    this.#pages.delete(page);
    const { slow, table } = this.#parts;
    slow.release(this.place.space, this.place.region * table.pagesPerRegion + page, 1);
  }

  #giveBack(page: ComingPage): void {
    if (page.frame >= 0) {
      this.#unflushed.delete(page.frame as FrameIndex);
      this.#parts.pool.retire(page.frame as FrameIndex);
    }
    page.frame = -1;
  }
}

const refusal = (status: Refusal['status'], reason: string): Refusal => ({ status, reason });

/** First and count of each range of pages side by side. */
function rangesOf(pages: readonly number[]): [first: number, count: number][] {
  const ranges: [number, number][] = [];
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[0] + last[1] === page) last[1] += 1;
    else ranges.push([page, 1]);
  }
  return ranges;
}
