/**
 * Executes data messages: reads the operands out of the received frame, asks translate and access,
 * and ends the message. No object, closure or promise per message.
 */

import { regionKey } from '../../base/region-key.js';
import { Status } from '../../base/status.js';
import { assert } from '../../base/assert.js';
import { EntryFlag } from '../../disk/page-table.js';
import {
  type DataHandler,
  type DataSession,
  DONE,
  type Progress,
  WAIT,
} from '../../fabric/serve.js';
import { Station, type Stations } from '../../fabric/stations.js';
import type { Clock } from '../../runtime/clock.js';
import type { Bytes } from '../../runtime/network.js';
import {
  CompareAndSwapRequest,
  FetchAndAddRequest,
  isAccess,
  MessageType,
  ReadRequest,
  reservationOf,
  windowOf,
  WriteRequest,
} from '../../wire/messages.js';
import { ADDRESS_END, REGION_BYTES } from '../../wire/limits.js';
import { ACCESS_LATER, ACCESS_NO_SPACE, type Access, type AccessEnd } from '../access/access.js';
import { reserve } from '../access/reserve.js';
import type { RegionRates } from '../access/region-rates.js';
import type { NodeCounters } from '../counters.js';
import type { PageTable } from '../../disk/page-table.js';
import { memoryNodeFaults } from '../planted.js';
import type { Returns } from '../moves/returns.js';
import type { FramePool } from '../store/frame-pool.js';
import { ENTRY_PAUSED, type Translator } from '../translate/translator.js';
import type { Windows } from '../translate/windows.js';
import { ToldMoved } from './told-moved.js';

const READ = EntryFlag.READ;
const WRITE = EntryFlag.WRITE;
const BOTH = READ | WRITE;
const ATOMIC_BYTES = 8;
const TWO_TO_32 = 2 ** 32;

// The operands are read as words: address in two halves, bytes, epoch, then what the type adds.
const OFFSETS = ReadRequest.offsets;
assert(OFFSETS.address === 0 && OFFSETS.bytes === 8 && OFFSETS.epoch === 12);
const EXPECTED = CompareAndSwapRequest.offsets.expected;
assert(CompareAndSwapRequest.offsets.desired === EXPECTED + 8);
const DELTA = FetchAndAddRequest.offsets.delta;
const WRITTEN = WriteRequest.fixedBytes;

export interface DataHandlerParts {
  readonly pages: PageTable;
  readonly pageBytes: number;
  readonly windows: Windows;
  readonly translator: Translator;
  readonly access: Access;
  readonly pool: FramePool;
  readonly counters: NodeCounters;
  readonly stations: Stations;
  readonly rates: Pick<RegionRates, 'used'>;
  readonly clock: Clock;
  /** Asks for `goOn`. */
  readonly awaitFrames: () => void;
  readonly returns: Returns;
  /** Of a paused page: nobody can say when it goes on. */
  readonly isSilent: (entry: number) => boolean;
}

export class NodeDataHandler implements DataHandler {
  readonly #parts: DataHandlerParts;
  readonly #translator: Translator;
  readonly #access: Access;
  readonly #counters: NodeCounters;
  readonly #stations: Stations;
  readonly #rates: DataHandlerParts['rates'];
  /** Sessions that wait for a zeroed frame, or for a page that is paused, longest first. */
  readonly #waiting: Set<DataSession> = new Set();
  readonly #toldMoved = new ToldMoved();
  readonly #returns: Returns;
  /** The message that is being executed was refused as moved. */
  #hasMoved = false;

  constructor(parts: DataHandlerParts) {
    this.#parts = parts;
    this.#translator = parts.translator;
    this.#access = parts.access;
    this.#counters = parts.counters;
    this.#stations = parts.stations;
    this.#rates = parts.rates;
    this.#returns = parts.returns;
  }

  execute(session: DataSession, input: Bytes, at: number, type: number, extra: number): Progress {
    if (session.sinceMs <= this.#returns.latestMs && isAccess(type)) {
      const region = this.#regionOf(input, at, windowOf(extra));
      if (this.#returns.isFromBefore(session, region)) return dismissed(session);
    }
    if (this.#toldMoved.size > 0 && this.#mustComeBack(session, input, at, type, extra)) {
      return this.#refuse(session, type, Status.Moved);
    }
    const progress = this.#dispatch(session, input, at, type, extra);
    if (this.#hasMoved) this.#noteMoved(session, input, at, extra);
    return progress;
  }

  #dispatch(session: DataSession, input: Bytes, at: number, type: number, extra: number): Progress {
    const window = windowOf(extra);
    switch (type) {
      case MessageType.Read:
        return this.#read(session, input, at, window);
      case MessageType.Write:
        return this.#write(session, input, at, window, reservationOf(extra));
      case MessageType.CompareAndSwap:
      case MessageType.FetchAndAdd:
        return this.#atomic(session, input, at, type, window);
      case MessageType.Reserve:
        return this.#reserve(session, input, at, window, reservationOf(extra));
      case MessageType.Unreserve:
        this.#unreserve(session.slot, reservationOf(extra));
        return this.#plain(session, type);
      case MessageType.Fence:
        this.#toldMoved.forget(session.slot);
        return this.#plain(session, type);
      case MessageType.Ping:
        // Everything before it on this connection has been executed: there is one thread.
        return this.#plain(session, type);
      default:
        assert(false, 'a data message of an unknown type');
        return DONE;
    }
  }

  #read(session: DataSession, input: Bytes, at: number, window: number): Progress {
    const { words } = input;
    const first = at >> 2;
    const low = words[first] as number;
    const bytes = (words[first + 2] as number) >>> 0;
    const entry = this.#translator.entryOf(
      window,
      session.client,
      (words[first + 3] as number) >>> 0,
      low,
      words[first + 1] as number,
      bytes,
      READ,
    );
    if (entry < 0) return this.#refuseOrWait(session, MessageType.Read, entry);
    const stations = this.#stations;
    if (stations.isOn) stations.lap(Station.TRANSLATE);
    const offset = this.#translator.offsetInPage(low);
    this.#access.read(entry, offset, bytes, session.output, session.replyAt);
    if (stations.isOn) stations.lap(Station.ACCESS);
    this.#rates.used(entry);
    this.#count(MessageType.Read);
    this.#counters.bytesRead += bytes;
    session.finish(Status.Ok, bytes);
    return DONE;
  }

  #write(
    session: DataSession,
    input: Bytes,
    at: number,
    window: number,
    reservation: number,
  ): Progress {
    const { words } = input;
    const first = at >> 2;
    const low = words[first] as number;
    const bytes = (words[first + 2] as number) >>> 0;
    const entry = this.#translator.entryOf(
      window,
      session.client,
      (words[first + 3] as number) >>> 0,
      low,
      words[first + 1] as number,
      bytes,
      WRITE,
    );
    if (entry < 0) return this.#refuseOrWait(session, MessageType.Write, entry);
    const stations = this.#stations;
    if (stations.isOn) stations.lap(Station.TRANSLATE);
    const offset = this.#translator.offsetInPage(low);
    const { slot } = session;
    const from = at + WRITTEN;
    const end = this.#access.write(entry, slot, reservation, offset, bytes, input, from);
    if (end === ACCESS_LATER) return this.#waitForFrame(session);
    if (end === ACCESS_NO_SPACE) return this.#refuse(session, MessageType.Write, Status.NoSpace);
    if (stations.isOn) stations.lap(Station.ACCESS);
    this.#rates.used(entry);
    this.#count(MessageType.Write);
    this.#counters.bytesWritten += bytes;
    session.finish(Status.Ok, 0);
    return DONE;
  }

  #atomic(session: DataSession, input: Bytes, at: number, type: number, window: number): Progress {
    const { words } = input;
    const first = at >> 2;
    const low = words[first] as number;
    const entry = this.#translator.entryOf(
      window,
      session.client,
      (words[first + 3] as number) >>> 0,
      low,
      words[first + 1] as number,
      ATOMIC_BYTES,
      BOTH,
    );
    if ((low & (ATOMIC_BYTES - 1)) !== 0) return this.#refuse(session, type, Status.Invalid);
    if (entry < 0) return this.#refuseOrWait(session, type, entry);
    const stations = this.#stations;
    if (stations.isOn) stations.lap(Station.TRANSLATE);
    const end = this.#change(
      entry,
      session.slot,
      this.#translator.offsetInPage(low),
      input,
      at,
      type,
    );
    if (end === ACCESS_LATER) return this.#waitForFrame(session);
    if (end === ACCESS_NO_SPACE) return this.#refuse(session, type, Status.NoSpace);
    if (stations.isOn) stations.lap(Station.ACCESS);
    this.#rates.used(entry);
    this.#count(type);
    session.finishValue(Status.Ok, this.#access.oldLow, this.#access.oldHigh);
    return DONE;
  }

  #change(
    entry: number,
    slot: number,
    offset: number,
    input: Bytes,
    at: number,
    type: number,
  ): AccessEnd {
    return type === MessageType.CompareAndSwap
      ? this.#access.compareAndSwap(entry, slot, offset, input, at + EXPECTED)
      : this.#access.fetchAndAdd(entry, slot, offset, input, at + DELTA);
  }

  /** Once per large write: an object more does not matter here. */
  #reserve(
    session: DataSession,
    input: Bytes,
    at: number,
    window: number,
    reservation: number,
  ): Progress {
    const { words } = input;
    const first = at >> 2;
    const address = addressOf(input, at);
    const bytes = (words[first + 2] as number) >>> 0;
    const epoch = (words[first + 3] as number) >>> 0;
    const status = this.#translator.checkWindow(window, session.client, epoch);
    if (status !== Status.Ok) return this.#refuse(session, MessageType.Reserve, status);
    const isWithin = bytes >= 1 && (address % REGION_BYTES) + bytes <= REGION_BYTES;
    if (!isWithin || address >= ADDRESS_END || reservation === 0) {
      return this.#refuse(session, MessageType.Reserve, Status.Invalid);
    }
    const { pages, pool, pageBytes } = this.#parts;
    const count = reserve(
      pages,
      pool,
      { slot: session.slot, reservation },
      { space: this.#parts.windows.factsOf(window)?.space ?? 0, address, bytes, pageBytes },
      {
        entryOf: (page) =>
          this.#translator.entryOf(
            window,
            session.client,
            epoch,
            (page % TWO_TO_32) | 0,
            Math.floor(page / TWO_TO_32),
            1,
            WRITE,
          ),
      },
    );
    if (count < 0) return this.#refuseOrWait(session, MessageType.Reserve, count);
    this.#count(MessageType.Reserve);
    session.finishValue(Status.Ok, count, 0);
    return DONE;
  }

  #unreserve(slot: number, reservation: number): void {
    if (!memoryNodeFaults.reservationNotUndone) this.#parts.pool.release(slot, reservation);
  }

  #plain(session: DataSession, type: number): Progress {
    this.#count(type);
    session.finish(Status.Ok, 0);
    return DONE;
  }

  #refuse(session: DataSession, type: number, status: Status): Progress {
    this.#count(type);
    const { refusals } = this.#counters;
    refusals[status] = (refusals[status] as number) + 1;
    const hasValue = type === MessageType.Reserve || isAtomic(type);
    if (hasValue) session.finishValue(status, 0, 0);
    else session.finish(status, 0);
    return DONE;
  }

  /** Of datagrams the client sees to it: it sends nothing behind what has come back. */
  #mustComeBack(
    session: DataSession,
    input: Bytes,
    at: number,
    type: number,
    extra: number,
  ): boolean {
    if (!this.#toldMoved.hasAny(session.slot)) return false;
    if (!session.mayWait || !isAccess(type)) return false;
    const { clock } = this.#parts;
    const region = this.#regionOf(input, at, windowOf(extra));
    return this.#toldMoved.has(session.slot, region, clock.now());
  }

  #noteMoved(session: DataSession, input: Bytes, at: number, extra: number): void {
    this.#hasMoved = false;
    if (!session.mayWait) return;
    const region = this.#regionOf(input, at, windowOf(extra));
    this.#toldMoved.note(session.slot, region, this.#parts.clock.now());
  }

  #regionOf(input: Bytes, at: number, window: number): number {
    const space = this.#parts.windows.factsOf(window)?.space ?? 0;
    return regionKey(space, Math.floor(addressOf(input, at) / REGION_BYTES));
  }

  /** `entry` is what the translator gives in place of one. */
  #refuseOrWait(session: DataSession, type: number, entry: number): Progress {
    if (entry === -Status.Moved) this.#hasMoved = true;
    if (entry !== ENTRY_PAUSED) return this.#refuse(session, type, -entry as Status);
    if (this.#parts.isSilent(this.#translator.pausedEntry)) {
      return this.#refuse(session, type, Status.Unavailable);
    }
    this.#counters.waitsForPausedPage += 1;
    if (session.mayWait) this.#waiting.add(session);
    return WAIT;
  }

  #waitForFrame(session: DataSession): Progress {
    if (session.mayWait) this.#waiting.add(session);
    this.#parts.awaitFrames();
    return WAIT;
  }

  #count(type: number): void {
    const { operations } = this.#counters;
    operations[type] = (operations[type] as number) + 1;
  }

  /** There are zeroed frames, or a paused page goes on: everybody tries again, in order. */
  goOn(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const session of waiting) session.resume();
  }

  closed(session: DataSession): void {
    this.#waiting.delete(session);
  }

  begunAnew(slot: number): void {
    if (!memoryNodeFaults.reservationNotUndone) this.#parts.pool.releaseAll(slot);
  }

  forgotten(slot: number, client: number): void {
    this.#toldMoved.forget(slot);
    this.begunAnew(slot);
    this.#parts.windows.closeClient(client);
  }
}

function dismissed(session: DataSession): Progress {
  session.dismiss();
  return WAIT;
}

function addressOf({ words }: Bytes, at: number): number {
  const first = at >> 2;
  return (words[first + 1] as number) * TWO_TO_32 + ((words[first] as number) >>> 0);
}

function isAtomic(type: number): boolean {
  return type === MessageType.CompareAndSwap || type === MessageType.FetchAndAdd;
}
