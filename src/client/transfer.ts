/**
 * A read, write or atomic that cannot be sent at once: its region or window is not known yet, it
 * stands behind a conflicting one, or it has many pieces.
 *
 *   waiting -> (regions and windows) -> (reservation) -> sending -> sent -> ended
 *
 * A write of more than one piece first reserves, at every node that it touches, the frames that
 * it may need; only when all have promised them the first piece is sent. So `NoSpace` means that
 * nothing was changed. The pieces of a large one are sent a window at a time, because the queue of
 * a link is bounded.
 */

import { type Outcome, Status } from '../base/status.js';
import type { Runtime } from '../runtime/runtime.js';
import { IN_FLIGHT_MAX, REGION_BYTES } from '../wire/limits.js';
import type { Connection } from './connections.js';
import { type Issuer, Kind, type OperationTable, type Range } from './operations.js';
import { isOnePiece, pieceBytes } from './pieces.js';
import type { Routes } from './routes.js';
import type { PageRange, Submission, Waiting } from './submission.js';
import type { Unflushed } from './unflushed.js';

/** Pieces of one operation under way at the same time: as many as a link has in flight. */
const PIECES_MAX = IN_FLIGHT_MAX;
/** Sending goes on when this many have come back, so that frames stay full. */
const PIECES_REFILL = PIECES_MAX / 4;
/** With more items than this, the range from the lowest to the highest stands for all. */
const RANGES_MAX = 16;

export interface Item {
  readonly address: number;
  readonly buffer: Uint8Array;
  readonly bytes: number;
}

/** The operands of an atomic, as halves. */
export interface Operands {
  readonly firstLow: number;
  readonly firstHigh: number;
  readonly secondLow: number;
  readonly secondHigh: number;
}

export interface TransferParts {
  readonly runtime: Runtime;
  readonly table: OperationTable;
  readonly submission: Submission;
  readonly regions: Routes;
  readonly pageBytes: number;
  readonly timeoutMs: number;
  readonly unflushed: Unflushed | undefined;
}

/** The pages of the items, coarsened when there are many. */
export function pagesOf(items: readonly Item[], pageBytes: number): PageRange[] {
  const ranges = items.map(({ address, bytes }) => ({
    first: Math.floor(address / pageBytes),
    end: Math.ceil((address + bytes) / pageBytes),
  }));
  if (ranges.length <= RANGES_MAX) return ranges;
  let first = Number.MAX_SAFE_INTEGER;
  let end = 0;
  for (const range of ranges) {
    first = Math.min(first, range.first);
    end = Math.max(end, range.end);
  }
  return [{ first, end }];
}

export class Transfer implements Waiting, Issuer {
  readonly changes: boolean;
  readonly pages: readonly PageRange[];
  /** All that it reads or writes. */
  readonly ranges: readonly Range[];
  isStarted = false;
  readonly #parts: TransferParts;
  readonly #kind: Kind;
  readonly #row: number;
  readonly #items: readonly Item[];
  readonly #operands: Operands | undefined;
  #item = 0;
  #offset = 0;
  #outstanding = 0;
  #isSending = false;
  #isSent = false;
  readonly #reserved = new Map<Connection, number>();
  #reservesLeft = 0;
  #reserveStatus: Status = Status.Ok;

  /** `row` was begun with one piece too many, which is given back when all are sent. */
  constructor(
    parts: TransferParts,
    kind: Kind,
    row: number,
    items: readonly Item[],
    operands?: Operands,
  ) {
    this.#parts = parts;
    this.#kind = kind;
    this.#row = row;
    this.#items = items;
    this.#operands = operands;
    this.changes = kind !== Kind.Read;
    this.ranges = items;
    this.pages = pagesOf(items, parts.pageBytes);
    parts.table.issuedBy(row, this);
  }

  start(): void {
    if (this.#allReady()) this.#reserve();
    else void this.#prepare();
  }

  abandon(): void {
    if (!this.#isSent) this.#stop(Status.Closed);
  }

  #deadline(): number {
    return this.#parts.runtime.clock.now() + this.#parts.timeoutMs;
  }

  #allReady(): boolean {
    const { regions } = this.#parts;
    for (const { address, bytes } of this.#items) {
      const last = Math.floor((address + bytes - 1) / REGION_BYTES);
      for (let region = Math.floor(address / REGION_BYTES); region <= last; region++) {
        if (regions.ready(region) === undefined) return false;
      }
    }
    return true;
  }

  async #prepare(): Promise<void> {
    const deadline = this.#deadline();
    for (const { address, bytes } of this.#items) {
      const first = Math.floor(address / REGION_BYTES);
      const last = Math.floor((address + bytes - 1) / REGION_BYTES);
      const status = await this.#parts.regions.prepare(first, last, deadline);
      if (this.#isSent) return;
      if (status !== Status.Ok) {
        this.#stop(status);
        return;
      }
    }
    this.#reserve();
  }

  /** Asks for the frames of every item that is cut; goes on at once when none is. */
  #reserve(): void {
    if (this.changes) {
      for (const { address, bytes } of this.#items) {
        if (this.#isCut(address, bytes)) this.#reserveRange(address, bytes);
      }
    }
    if (this.#reservesLeft === 0) this.#send();
  }

  #isCut(address: number, bytes: number): boolean {
    return !isOnePiece(address, bytes, this.#parts.pageBytes);
  }

  /** One number for all that this operation reserves at the node; 0: all are in use. */
  #reservationAt(connection: Connection): number {
    const known = this.#reserved.get(connection);
    if (known !== undefined) return known;
    const made = connection.reservations.begin();
    if (made !== 0) this.#reserved.set(connection, made);
    return made;
  }

  #reserveRange(address: number, bytes: number): void {
    const deadline = this.#deadline();
    for (let done = 0; done < bytes; ) {
      const from = address + done;
      const inRegion = Math.min(bytes - done, REGION_BYTES - (from % REGION_BYTES));
      const route = this.#parts.regions.ready(Math.floor(from / REGION_BYTES));
      if (route?.window !== undefined) {
        this.#reservesLeft += 1;
        const reservation = this.#reservationAt(route.connection);
        if (reservation === 0) {
          this.#parts.runtime.timers.soon(() => this.#reservation.completed(0, Status.Busy));
        } else {
          const { link } = route.connection;
          const { window } = route;
          const sink = this.#reservation;
          link.reserve(window, from, inRegion, sink, this.#row, deadline, reservation);
        }
      }
      done += inRegion;
    }
  }

  /** Told how each reservation ended. */
  readonly #reservation = {
    completed: (_token: number, status: Status): void => {
      if (this.#reserveStatus === Status.Ok) this.#reserveStatus = status;
      this.#reservesLeft -= 1;
      if (this.#reservesLeft > 0 || this.#isSent) return;
      if (this.#reserveStatus === Status.Moved) {
        this.#reserveAgain();
        return;
      }
      if (this.#reserveStatus === Status.Ok) this.#send();
      // A reservation changes no data: an unknown one is as good as none.
      else if (this.#reserveStatus === Status.OutcomeUnknown) this.#stop(Status.Unavailable);
      else this.#stop(this.#reserveStatus);
    },
  };

  /** A region has moved: what was promised is given back, and asked for where the region is now. */
  #reserveAgain(): void {
    this.operationEnded();
    this.#reserveStatus = Status.Ok;
    const { regions } = this.#parts;
    for (const { address, bytes } of this.#items) {
      const last = Math.floor((address + bytes - 1) / REGION_BYTES);
      regions.moved?.(Math.floor(address / REGION_BYTES), last);
    }
    void this.#prepare();
  }

  #send(): void {
    this.#isSending = true;
    const { table, pageBytes } = this.#parts;
    const deadline = this.#deadline();
    while (this.#outstanding < PIECES_MAX && !table.hasFailed(this.#row)) {
      const item = this.#items[this.#item];
      if (item === undefined) break;
      const address = item.address + this.#offset;
      const region = Math.floor(address / REGION_BYTES);
      if (this.#parts.regions.isGoingOver?.(region) === true) {
        void this.#waitFor(region);
        return;
      }
      const bytes = pieceBytes(address, item.bytes - this.#offset, pageBytes);
      this.#sendPiece(item, address, bytes, deadline);
      this.#offset += bytes;
      if (this.#offset === item.bytes) {
        this.#item += 1;
        this.#offset = 0;
      }
    }
    if (this.#item === this.#items.length || table.hasFailed(this.#row)) this.#sentAll();
  }

  /** The region is on its way to another node: what comes next goes there. */
  async #waitFor(region: number): Promise<void> {
    this.#isSending = false;
    const { regions, table } = this.#parts;
    const status = await regions.prepare(region, region, this.#deadline());
    if (this.#isSent) return;
    if (status !== Status.Ok) table.fail(this.#row, status, 'notApplied');
    this.#send();
  }

  #sendPiece(item: Item, address: number, bytes: number, deadline: number): void {
    const { table, regions } = this.#parts;
    const o = this.#operands;
    const { buffer } = item;
    // Its owner, who should have left it alone, may have shrunk it or given it to another thread.
    if (o === undefined && this.#offset + bytes > buffer.length) {
      table.fail(this.#row, Status.Invalid, 'notApplied');
      return;
    }
    const region = Math.floor(address / REGION_BYTES);
    const route = regions.ready(region);
    if (route?.window === undefined) {
      const isLost = regions.state(region) === 'lost';
      table.fail(this.#row, isLost ? Status.DataLost : Status.Unavailable, 'notApplied');
      return;
    }
    table.hold(this.#row);
    this.#outstanding += 1;
    const { link } = route.connection;
    if (this.changes) this.#parts.unflushed?.note(address, bytes, link.opening ?? 0);
    const row = this.#row;
    const { window } = route;
    if (this.#kind === Kind.Read) {
      link.read(window, address, buffer, this.#offset, bytes, table, row, deadline);
    } else if (this.#kind === Kind.Write) {
      const isPromised = this.#isCut(item.address, item.bytes);
      const paying = isPromised ? (this.#reserved.get(route.connection) ?? 0) : 0;
      link.write(window, address, buffer, this.#offset, bytes, table, row, deadline, paying);
    } else if (o !== undefined && this.#kind === Kind.CompareAndSwap) {
      link.compareAndSwap(
        window,
        address,
        o.firstLow,
        o.firstHigh,
        o.secondLow,
        o.secondHigh,
        table,
        row,
        deadline,
      );
    } else if (o !== undefined) {
      link.fetchAndAdd(window, address, o.firstLow, o.firstHigh, table, row, deadline);
    }
  }

  pieceEnded(): void {
    this.#outstanding -= 1;
    if (this.#isSent || !this.#isSending) return;
    const mayGoOn = this.#outstanding <= PIECES_MAX - PIECES_REFILL;
    if (mayGoOn || this.#parts.table.hasFailed(this.#row)) this.#send();
  }

  operationEnded(): void {
    for (const [connection, reservation] of this.#reserved) {
      connection.reservations.end(reservation);
    }
    this.#reserved.clear();
  }

  /** Ends it without sending more. */
  #stop(status: Status, outcome: Outcome = 'notApplied'): void {
    this.#parts.table.fail(this.#row, status, outcome);
    this.#sentAll();
  }

  #sentAll(): void {
    if (this.#isSent) return;
    this.#isSent = true;
    this.#parts.submission.leave(this);
    this.#parts.table.unhold(this.#row);
  }
}
