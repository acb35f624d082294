/**
 * The slow path of a memory node: a thread that chooses addresses and zeroes frames (Clio, sections
 * 4.4.2 and 4.4.3), so that nothing of that is ever done while a data request waits.
 *
 * It reads the tables once, at start, before the main thread changes anything; from then on it
 * knows what it is told. All its state can be made again from the tables, so it may die.
 */

import { assert } from '../../base/assert.js';
import type { FrameIndex } from '../../base/brands.js';
import { ENTRY_WORDS } from '../../disk/page-table.js';
import { TableFile } from '../../disk/table-file.js';
import { verify } from '../../disk/table-changes.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { ThreadMain } from '../../runtime/thread-main.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';
import { Frames } from '../store/frames.js';
import { AddressChooser } from './address-chooser.js';
import { FrameCleaner } from './frame-cleaner.js';
import {
  ANSWER,
  AnswerKind,
  pageOfRecord,
  planRings,
  putPage,
  RECORD_WORDS,
  REQUEST,
  RequestKind,
} from './records.js';
import { RoomGauge } from './room-gauge.js';

export interface SlowPathStart {
  readonly zeroedTarget: number;
  readonly commitLimit: number;
  /** False for memory that was never used: then it needs no zeroing. */
  readonly isUsed: boolean;
  /** The frames are a file on a disk, which keeps its place there. */
  readonly isDurable: boolean;
  /** Frames without a page that threads may still be touching: they come when that has ended. */
  readonly resting: readonly number[];
  /** The control group to watch, '' for all that the process is in; undefined: nothing is. */
  readonly watch: string | undefined;
}

/** Only a safeguard: the thread is woken for everything that it must see. */
const SLEEP_MS_MAX = 60_000;
/**
 * Memory that is freed is often allocated again soon; after this time it is given back. To give 2
 * MiB back and take it again costs some 2 ms of page faults, to zero it where it is 0.07 ms.
 */
const GIVE_BACK_AFTER_MS = 30_000;

/** `start.memory` is the table file, then the memory file; `start.shared` the rings. */
export const slowPathThread: ThreadMain = async (runtime, start) => {
  const [tableHandle, memoryHandle] = start.memory;
  const shared = start.shared[0];
  assert(tableHandle !== undefined && memoryHandle !== undefined && shared !== undefined);
  const tableMemory = runtime.memory.adopt(tableHandle);
  const table = TableFile.open(tableMemory.map(0, tableMemory.bytes));
  if (typeof table === 'string') throw new Error(table);
  const options = start.arguments as SlowPathStart;
  const { frames, pageBytes } = table.facts;
  const worker = new Worker(runtime, table, shared, options);
  const files = options.isDurable ? runtime.durables : runtime.memory;
  worker.readTables(new Frames(files.adopt(memoryHandle), pageBytes, frames));
  await worker.run();
};

class Worker {
  readonly #runtime: Runtime;
  readonly #table: TableFile;
  readonly #options: SlowPathStart;
  readonly #chooser: AddressChooser;
  readonly #requests: RingConsumer;
  readonly #answers: RingProducer;
  readonly #zeroed: RingProducer;
  readonly #zeroedRecords: number;
  readonly #retired: RingConsumer;
  readonly #request = new Int32Array(RECORD_WORDS);
  readonly #answer = new Int32Array(RECORD_WORDS);
  readonly #frame = new Int32Array(1);
  #cleaner: FrameCleaner | undefined;
  #areFramesAwaited = false;
  #lastRetiredMs: number;
  #isStopped = false;
  #gauge: RoomGauge | undefined;

  constructor(
    runtime: Runtime,
    table: TableFile,
    shared: SharedArrayBuffer,
    options: SlowPathStart,
  ) {
    const { threads } = runtime;
    const plan = planRings(threads, table.facts.frames, options.zeroedTarget);
    this.#runtime = runtime;
    this.#table = table;
    this.#options = options;
    this.#lastRetiredMs = runtime.clock.now();
    this.#requests = threads.consumer(shared, plan.requestsAt, plan.requests);
    this.#answers = threads.producer(shared, plan.answersAt, plan.answers);
    this.#zeroed = threads.producer(shared, plan.zeroedAt, plan.zeroed);
    this.#zeroedRecords = plan.zeroed.records;
    this.#retired = threads.consumer(shared, plan.retiredAt, plan.retired);
    this.#chooser = new AddressChooser({
      pagesPerRegion: table.pagesPerRegion,
      bucketMask: table.pages.bucketMask,
      commitLimit: options.commitLimit,
    });
  }

  /** Ranges, counts per bucket and free frames, all from the tables. */
  readTables(frames: Frames): void {
    const { pages, regions } = this.#table;
    const used = verify(this.#table);
    assert(typeof used !== 'string', 'the main thread has verified the tables before');
    for (const grant of regions.list()) this.#chooser.addRegion(grant.space, grant.region);
    for (let at = pages.next(0); at >= 0; at = pages.next(at + ENTRY_WORDS)) {
      this.#chooser.note(pages.spaceOf(at), pages.pageOf(at));
    }
    const cleaner = new FrameCleaner({
      frames,
      zeroed: this.#zeroed,
      ringRecords: this.#zeroedRecords,
      target: this.#options.zeroedTarget,
      areFresh: !this.#options.isUsed,
    });
    if (this.#options.isUsed) {
      const resting = new Set(this.#options.resting);
      for (let frame = 0; frame < used.length; frame++) {
        if (used[frame] === 0 && !resting.has(frame)) cleaner.retire(frame as FrameIndex);
      }
    }
    this.#cleaner = cleaner;
    const { watch } = this.#options;
    const { memory, clock } = this.#runtime;
    if (watch !== undefined) this.#gauge = new RoomGauge(watch, frames, memory, clock);
    this.#say(AnswerKind.READY);
  }

  async run(): Promise<void> {
    const cleaner = this.#cleaner;
    assert(cleaner !== undefined, 'tables are read first');
    while (!this.#isStopped) {
      while (this.#requests.take(this.#request)) this.#execute(this.#request);
      this.#takeRetired(cleaner);
      this.#tellFrames();
      if (this.#gauge?.measure(this.#answer) === true) this.#say(AnswerKind.ROOM);
      if (cleaner.hasWork) {
        cleaner.step();
        await this.#runtime.threads.pausePoint();
      } else if (!this.#isStopped && this.#requests.waiting() === 0) {
        const sleepMs = cleaner.hasTooMany ? GIVE_BACK_AFTER_MS : SLEEP_MS_MAX;
        await this.#requests.wait(Math.min(sleepMs, this.#gauge?.untilNextMs() ?? sleepMs));
      }
    }
  }

  #takeRetired(cleaner: FrameCleaner): void {
    const nowMs = this.#runtime.clock.now();
    while (this.#retired.take(this.#frame)) {
      cleaner.retire(this.#frame[0] as FrameIndex);
      this.#lastRetiredMs = nowMs;
    }
    if (this.#options.isDurable) return;
    cleaner.mayGiveBack = nowMs - this.#lastRetiredMs >= GIVE_BACK_AFTER_MS;
  }

  #execute(request: Int32Array): void {
    const space = (request[REQUEST.space] as number) >>> 0;
    const region = request[REQUEST.region] as number;
    const pages = request[REQUEST.pages] as number;
    const page = pageOfRecord(request, REQUEST.pageLow);
    switch (request[REQUEST.kind]) {
      case RequestKind.ALLOCATE:
        this.#allocate(request[REQUEST.id] as number, space, region, pages, page);
        break;
      case RequestKind.RELEASE:
        this.#chooser.release(space, page, pages);
        break;
      case RequestKind.ADD_REGION:
        this.#chooser.addRegion(space, region);
        break;
      case RequestKind.DROP_REGION:
        this.#chooser.dropRegion(space, region);
        break;
      case RequestKind.NUDGE:
        if (request[REQUEST.id] === 1) this.#areFramesAwaited = true;
        break;
      case RequestKind.PING:
        this.#answer[ANSWER.id] = request[REQUEST.id] as number;
        this.#say(AnswerKind.PONG);
        break;
      case RequestKind.HOLD:
        if (this.#cleaner !== undefined) this.#cleaner.heldMax = pages;
        this.#gauge?.taken();
        break;
      case RequestKind.STOP:
        this.#isStopped = true;
        break;
      default:
        assert(false, 'request of an unknown kind');
    }
  }

  #allocate(id: number, space: number, region: number, pages: number, wish: number): void {
    const first = this.#chooser.choose(space, region, pages, wish);
    this.#answer[ANSWER.id] = id;
    this.#answer[ANSWER.retries] = this.#chooser.retries;
    if (first >= 0) putPage(this.#answer, ANSWER.pageLow, first);
    else this.#answer.fill(-1, ANSWER.pageLow, ANSWER.pageHigh + 1);
    this.#say(AnswerKind.ALLOCATED);
  }

  #tellFrames(): void {
    if (!this.#areFramesAwaited || this.#zeroed.room() === this.#zeroedRecords) return;
    this.#areFramesAwaited = false;
    this.#say(AnswerKind.FRAMES_READY);
  }

  #say(kind: number): void {
    this.#answer[ANSWER.kind] = kind;
    const done = this.#answers.submit(this.#answer);
    assert(done, 'more answers than requests may be outstanding');
    this.#answers.ring();
  }
}
