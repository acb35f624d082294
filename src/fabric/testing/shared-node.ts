/**
 * A memory node without its process, for tests of links that reach memory without it: the three
 * memory files, pages and windows in them, and a handler of data messages over the same frames.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { Status } from '../../base/status.js';
import { memoryFileName } from '../../disk/memory-names.js';
import {
  ENTRIES_PER_BUCKET,
  EntryFlag,
  pageWord,
  RIGHTS_MASK,
  spaceWord,
} from '../../disk/page-table.js';
import { slotFileBytes, SLOT_FRAME, SLOT_GENERATION, slotWord } from '../../disk/slots.js';
import { formatTableFile, TableFile, tableFileBytes } from '../../disk/table-file.js';
import type { Mapping, MemoryFile } from '../../runtime/memory.js';
import type { Bytes } from '../../runtime/network.js';
import type { Runtime } from '../../runtime/runtime.js';
import { ADDRESS_END } from '../../wire/limits.js';
import { MessageType, type Reply, type Request, windowOf } from '../../wire/messages.js';
import type { Endpoint } from '../endpoint.js';
import type { Window } from '../link.js';
import { type ClientSession, type DataHandler, type DataSession, DONE, WAIT } from '../serve.js';
import type { AttachFacts } from '../shm/attachment.js';

export const PAGE = 65536;
export const SPACE = 5;
const WINDOWS = 64;

export interface SharedNodeOptions {
  readonly memoryId?: number;
  readonly frames?: number;
  readonly incarnation?: number;
}

export class SharedNode implements DataHandler {
  readonly runtime: Runtime;
  readonly files: readonly [table: MemoryFile, frames: MemoryFile, slots: MemoryFile];
  readonly table: TableFile;
  readonly slots: Int32Array;
  readonly frames: Mapping;
  readonly memoryId: number;
  /** Frames that no page has, the next one last. */
  readonly free: number[] = [];
  /** Types of the data messages that were executed. */
  readonly executed: number[] = [];
  readonly reserved = new Set<number>();
  /** Calls of Attach that were answered with Ok. */
  attached = 0;
  /** In place of the answer to Attach. */
  refusal: Status | undefined;
  /** Told to who attaches. */
  ring = '';
  /** While true data messages that need the bytes of a page wait. */
  isStalled = false;
  readonly #waiting = new Set<DataSession>();
  #nextWindow = 1;
  #nextEpoch = 1000;

  constructor(runtime: Runtime, options: SharedNodeOptions = {}) {
    const { memory } = runtime;
    const frames = options.frames ?? 16;
    this.runtime = runtime;
    this.memoryId = options.memoryId ?? 4711;
    const facts = {
      nodeId: 'node-1',
      memoryId: this.memoryId,
      pageBytes: PAGE,
      frames,
      tableEntries: ENTRIES_PER_BUCKET * 16,
      regionEntries: 16,
      regionBytes: 2 ** 30,
      windowEntries: WINDOWS,
    };
    const table = memory.create(memoryFileName('table', facts), tableFileBytes(facts));
    const frameFile = memory.create(memoryFileName('frames', facts), frames * PAGE);
    const slots = memory.create(memoryFileName('slots', facts), slotFileBytes(frames));
    this.files = [table, frameFile, slots];
    const mapping = table.map(0, table.bytes);
    formatTableFile(mapping, facts);
    const opened = TableFile.open(mapping);
    if (typeof opened === 'string') throw new Error(opened);
    this.table = opened;
    this.slots = slots.map(0, slots.bytes).words;
    this.frames = frameFile.map(0, frames * PAGE);
    for (let frame = frames - 1; frame >= 0; frame--) this.free.push(frame);
    for (let i = 0; i < (options.incarnation ?? 1); i++) this.table.raiseIncarnation();
    this.table.raiseGeneration();
    this.table.alive = this.table.incarnation;
  }

  /** What a new process does first, and once it serves. */
  restart(): void {
    this.table.alive = 0;
    this.table.raiseIncarnation();
    this.table.windows.closeAll();
    this.table.raiseGeneration();
    this.table.alive = this.table.incarnation;
  }

  // ------------------------------------------------------------------------------- the tables

  /** A page of `SPACE`, with a frame unless it is said that it has none. Returns its entry. */
  page(number: number, flags: number = RIGHTS_MASK, hasFrame = true): number {
    const entry = this.table.pages.insert(SPACE, number, flags);
    if (hasFrame) this.table.pages.setFrame(entry, this.takeFrame());
    return entry;
  }

  takeFrame(): FrameIndex {
    const frame = this.free.pop();
    assert(frame !== undefined, 'no frame is free');
    this.frames.bytes.fill(0, frame * PAGE, (frame + 1) * PAGE);
    return frame as FrameIndex;
  }

  entry(page: number): number {
    return this.table.pages.lookup(pageWord(page), spaceWord(SPACE, page));
  }

  window(rights: number = RIGHTS_MASK, base = 0, end = ADDRESS_END - 1): Window {
    const id = this.#nextWindow++;
    const epoch = this.#nextEpoch++;
    this.table.windows.open(id, epoch, { spaceWord: spaceWord(SPACE, 0), rights, base, end });
    return { space: SPACE, id, epoch };
  }

  /** The bytes of a page, from its frame. */
  bytes(page: number): Uint8Array {
    const frame = this.table.pages.frameOf(this.entry(page));
    assert(frame >= 0, 'the page has no frame');
    const { buffer, byteOffset } = this.frames.bytes;
    return new Uint8Array(buffer, byteOffset + frame * PAGE, PAGE);
  }

  /** As copy on revoke does it: to a fresh frame, told as forced. */
  cutOff(page: number): void {
    const { pages } = this.table;
    const entry = this.entry(page);
    const flags = pages.flagsOf(entry);
    const fresh = this.takeFrame();
    pages.setFlags(entry, flags | EntryFlag.PAUSED);
    this.table.raiseForced();
    this.frames.bytes.copyWithin(
      fresh * PAGE,
      pages.frameOf(entry) * PAGE,
      (pages.frameOf(entry) + 1) * PAGE,
    );
    pages.setFrame(entry, fresh);
    pages.setFlags(entry, flags);
  }

  // -------------------------------------------------------------------------------- the slots

  attach(client: number, identity: string, token = 1, slot = 0): AttachFacts {
    const { owners } = this.table;
    if (owners.owner(slot) !== undefined) owners.free(slot);
    owners.take(slot, { client, identity, token });
    const [table, frames, slots] = this.files.map((file) =>
      this.runtime.memory.nameOf(file.handle),
    ) as [string, string, string];
    return { slot, incarnation: this.table.alive, table, frames, slots };
  }

  generationOf(slot = 0): number {
    return Atomics.load(this.slots, slotWord(slot) + SLOT_GENERATION);
  }

  /** The frame that the slot publishes; -1: none. */
  publishedFrame(slot = 0): number {
    return Atomics.load(this.slots, slotWord(slot) + SLOT_FRAME) - 1;
  }

  // -------------------------------------------------------------------------------- messages

  /** Serves what a link needs. */
  serve(endpoint: Endpoint): void {
    endpoint.serveData(this);
    endpoint.serve(MessageType.OpenWindow, () => {
      const { id, epoch } = this.window();
      return { status: Status.Ok, window: id, epoch, pageBytes: PAGE };
    });
    endpoint.serve(MessageType.Attach, (request, session) => this.#attach(request, session));
    endpoint.serve(MessageType.Detach, ({ slot }) => {
      if (this.table.owners.owner(slot) === undefined) {
        return { status: Status.NotFound, reason: 'nobody has the slot' };
      }
      this.table.owners.free(slot);
      return { status: Status.Ok };
    });
  }

  #attach(
    request: Request<typeof MessageType.Attach>,
    session: ClientSession,
  ): Reply<typeof MessageType.Attach> {
    if (this.refusal !== undefined && this.refusal !== Status.Ok) {
      return { status: this.refusal, reason: 'as the test wants it' };
    }
    const { identity, token } = request;
    this.attached++;
    const { owners } = this.table;
    const known = owners.taken().find((slot) => owners.owner(slot)?.token === token);
    const slot = known ?? owners.firstFree();
    const given = this.attach(session.client, identity, token, slot);
    return { status: Status.Ok, ...given, isDurable: 0, ring: this.ring };
  }

  /** Lets those that wait go on. */
  goOn(): void {
    this.isStalled = false;
    for (const session of [...this.#waiting]) session.resume();
    this.#waiting.clear();
  }

  execute(session: DataSession, input: Bytes, at: number, type: number, extra: number): 0 | 1 {
    if (this.isStalled && type < MessageType.Reserve) {
      if (session.mayWait) this.#waiting.add(session);
      return WAIT;
    }
    this.executed.push(type);
    if (type === MessageType.Reserve) session.finishValue(Status.Ok, 0, 0);
    else if (type > MessageType.Reserve) session.finish(Status.Ok, 0);
    else this.#access(session, input, at, type, windowOf(extra));
    return DONE;
  }

  #access(session: DataSession, input: Bytes, at: number, type: number, window: number): void {
    const address = Number(input.view.getBigUint64(at, true));
    const bytes = input.view.getUint32(at + 8, true);
    const page = Math.floor(address / PAGE);
    const status = this.#judge(window, input.view.getUint32(at + 12, true), page, type);
    const { windows } = this.table;
    const isIn = address >= windows.baseOf(window) && address + bytes <= windows.endOf(window);
    const isForm = bytes > 0 && (address % PAGE) + bytes <= PAGE;
    const isAtomic = type > MessageType.Write;
    const isAligned = !isAtomic || address % 8 === 0;
    const within = status === Status.Ok && !isIn ? Status.Denied : status;
    const end = status !== Status.Stale && !(isForm && isAligned) ? Status.Invalid : within;
    if (end !== Status.Ok) {
      if (isAtomic) session.finishValue(end, 0, 0);
      else session.finish(end, 0);
      return;
    }
    const { pages } = this.table;
    const entry = this.entry(page);
    if (pages.frameOf(entry) < 0) pages.setFrame(entry, this.takeFrame());
    const start = pages.frameOf(entry) * PAGE + (address % PAGE);
    if (type === MessageType.Read) {
      session.output.bytes.set(this.frames.bytes.subarray(start, start + bytes), session.replyAt);
      session.finish(Status.Ok, bytes);
    } else if (type === MessageType.Write) {
      this.frames.bytes.set(input.bytes.subarray(at + 16, at + 16 + bytes), start);
      session.finish(Status.Ok, 0);
    } else {
      this.#change(session, input, at + 16, type, start / 8);
    }
  }

  #judge(window: number, epoch: number, page: number, type: number): Status {
    const { windows, pages } = this.table;
    if (epoch === 0 || windows.epochOf(window) !== epoch) return Status.Stale;
    const entry = this.entry(page);
    if (entry < 0) return Status.NotAllocated;
    const isRead = type === MessageType.Read;
    const needed = isRead ? EntryFlag.READ : EntryFlag.WRITE;
    const isAllowed = (windows.rightsOf(window) & pages.flagsOf(entry) & needed) !== 0;
    return isAllowed ? Status.Ok : Status.Denied;
  }

  #change(session: DataSession, input: Bytes, at: number, type: number, word: number): void {
    const first = input.view.getBigUint64(at, true);
    const { wide } = this.frames;
    const old =
      type === MessageType.FetchAndAdd
        ? Atomics.add(wide, word, first)
        : Atomics.compareExchange(wide, word, first, input.view.getBigUint64(at + 8, true));
    session.finishValue(Status.Ok, Number(old & 0xffffffffn), Number(old >> 32n));
  }

  closed(session: DataSession): void {
    this.#waiting.delete(session);
  }

  begunAnew(): void {}
  forgotten(): void {}
}
