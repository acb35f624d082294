/**
 * The main thread's end of the slow path: starts the thread, tells it what changes, and asks it for
 * addresses. Bounded work per call; what does not fit into the ring waits here in order.
 */

import { assert } from '../../base/assert.js';
import type { MemoryHandle } from '../../runtime/memory.js';
import type { Runtime } from '../../runtime/runtime.js';
import type { RingConsumer, RingProducer } from '../../runtime/threads.js';
import {
  ANSWER,
  AnswerKind,
  OUTSTANDING_MAX,
  pageOfRecord,
  planRings,
  putPage,
  RECORD_WORDS,
  REQUEST,
  RequestKind,
  SLOW_PATH_THREAD,
} from './records.js';
import { type MeasuredRoom, measuredRoom } from './room-gauge.js';
import type { SlowPathStart } from './worker.js';

/** Requests that do not fit into the ring are offered again after this time at the latest. */
const RETRY_MS = 1;

export interface ChosenRange {
  /** -1: there is no room. */
  readonly firstPage: number;
  /** How often a full bucket of the page table pushed the search on. */
  readonly retries: number;
}

export interface RangeWish {
  readonly space: number;
  readonly region: number;
  readonly pages: number;
  /** Page number, 0 for none. */
  readonly wish: number;
}

export interface SlowPathEvents {
  /** Frames that were awaited are there. */
  framesReady(): void;
  /** To be answered by `hold`, before which nothing is measured again. */
  measured(room: MeasuredRoom): void;
}

export class SlowPath {
  /** Both ends that the frame pool uses. */
  readonly zeroed: RingConsumer;
  readonly retired: RingProducer;
  /** Resolves with the reason when the thread has ended. */
  readonly ended: Promise<string>;
  readonly #runtime: Runtime;
  readonly #requests: RingProducer;
  readonly #answers: RingConsumer;
  readonly #record = new Int32Array(RECORD_WORDS);
  readonly #answer = new Int32Array(RECORD_WORDS);
  /** Records that wait for room in the ring, oldest first. */
  #backlog: Int32Array[] = [];
  #isRetrying = false;
  readonly #choices = new Map<number, (range: ChosenRange) => void>();
  readonly #pings = new Map<number, () => void>();
  #nextId = 1;
  #areFramesAwaited = false;
  readonly #events: SlowPathEvents;
  readonly ready: Promise<void>;
  #tellReady: () => void = () => {};

  constructor(
    runtime: Runtime,
    frames: number,
    start: SlowPathStart,
    memory: readonly [table: MemoryHandle, frames: MemoryHandle],
    events: SlowPathEvents,
  ) {
    const { threads } = runtime;
    const plan = planRings(threads, frames, start.zeroedTarget);
    const shared = threads.share(plan.bytes);
    this.#runtime = runtime;
    this.#events = events;
    this.#requests = threads.producer(shared, plan.requestsAt, plan.requests);
    this.#answers = threads.consumer(shared, plan.answersAt, plan.answers);
    this.zeroed = threads.consumer(shared, plan.zeroedAt, plan.zeroed);
    this.retired = threads.producer(shared, plan.retiredAt, plan.retired);
    this.ready = new Promise((resolve) => {
      this.#tellReady = resolve;
    });
    this.#answers.listen(() => this.#takeAnswers());
    const entry = SLOW_PATH_THREAD;
    this.ended = threads.spawn({ entry, arguments: start, shared: [shared], memory }).ended;
  }

  /** Asks for a free range; the caller then makes its entries, or gives it back by `release`. */
  choose(wish: RangeWish): Promise<ChosenRange> {
    const id = this.#nextId;
    this.#nextId = (id + 1) | 0;
    const record = this.#fill(RequestKind.ALLOCATE, wish.space, wish.region, wish.pages, wish.wish);
    record[REQUEST.id] = id;
    return new Promise((resolve) => {
      this.#choices.set(id, resolve);
      this.#submit(record);
    });
  }

  /** Resolves when the thread has answered; it does so in its turn, behind what it was told. */
  ping(): Promise<void> {
    const id = this.#nextId;
    this.#nextId = (id + 1) | 0;
    const record = this.#fill(RequestKind.PING, 0, 0, 0, 0);
    record[REQUEST.id] = id;
    return new Promise((resolve) => {
      this.#pings.set(id, resolve);
      this.#submit(record);
    });
  }

  release(space: number, firstPage: number, pages: number): void {
    this.#submit(this.#fill(RequestKind.RELEASE, space, 0, pages, firstPage));
  }

  addRegion(space: number, region: number): void {
    this.#submit(this.#fill(RequestKind.ADD_REGION, space, region, 0, 0));
  }

  dropRegion(space: number, region: number): void {
    this.#submit(this.#fill(RequestKind.DROP_REGION, space, region, 0, 0));
  }

  /** From now on at most so many frames may hold memory, those of pages included. */
  hold(frames: number): void {
    this.#submit(this.#fill(RequestKind.HOLD, 0, 0, frames, 0));
  }

  /** Lets the thread look at the rings: frames were retired, or the zeroed ones run low. */
  nudge(): void {
    // What waits here will say no less, and many of these would only be in its way.
    if (this.#backlog.length > 0) {
      this.#requests.ring();
      return;
    }
    this.#submit(this.#fill(RequestKind.NUDGE, 0, 0, 0, 0));
  }

  /** `framesReady` will be called as soon as the ring of zeroed frames is not empty. */
  awaitFrames(): void {
    if (this.#areFramesAwaited) return;
    this.#areFramesAwaited = true;
    const record = this.#fill(RequestKind.NUDGE, 0, 0, 0, 0);
    record[REQUEST.id] = 1;
    this.#submit(record);
  }

  /** Lets the thread finish what it was told, and ends it. */
  async stop(): Promise<void> {
    this.#submit(this.#fill(RequestKind.STOP, 0, 0, 0, 0));
    await this.ended;
    this.#answers.close();
  }

  #fill(kind: number, space: number, region: number, pages: number, page: number): Int32Array {
    const record = this.#record.fill(0);
    record[REQUEST.kind] = kind;
    record[REQUEST.space] = space;
    record[REQUEST.region] = region;
    record[REQUEST.pages] = pages;
    putPage(record, REQUEST.pageLow, page);
    return record;
  }

  #submit(record: Int32Array): void {
    if (this.#backlog.length > 0 || !this.#offer(record)) {
      this.#backlog.push(new Int32Array(record));
      this.#retryLater();
    }
    this.#requests.ring();
  }

  #offer(record: Int32Array): boolean {
    const kind = record[REQUEST.kind];
    const isAnswered = kind === RequestKind.ALLOCATE || kind === RequestKind.PING;
    if (isAnswered && this.#outstanding >= OUTSTANDING_MAX) return false;
    if (!this.#requests.submit(record)) return false;
    if (isAnswered) this.#outstanding += 1;
    return true;
  }

  #outstanding = 0;

  #retryLater(): void {
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    this.#runtime.timers.after(RETRY_MS, () => {
      this.#isRetrying = false;
      this.#offerBacklog();
      if (this.#backlog.length > 0) this.#retryLater();
    });
  }

  #offerBacklog(): void {
    let offered = 0;
    while (offered < this.#backlog.length && this.#offer(this.#backlog[offered] as Int32Array)) {
      offered += 1;
    }
    if (offered === 0) return;
    this.#backlog = this.#backlog.slice(offered);
    this.#requests.ring();
  }

  #takeAnswers(): void {
    const answer = this.#answer;
    while (this.#answers.take(answer)) {
      switch (answer[ANSWER.kind]) {
        case AnswerKind.READY:
          this.#tellReady();
          break;
        case AnswerKind.ALLOCATED:
          this.#chosen(answer);
          break;
        case AnswerKind.ROOM:
          this.#events.measured(measuredRoom(answer));
          break;
        case AnswerKind.PONG:
          this.#pinged(answer[ANSWER.id] as number);
          break;
        case AnswerKind.FRAMES_READY:
          this.#areFramesAwaited = false;
          this.#events.framesReady();
          break;
        default:
          assert(false, 'answer of an unknown kind');
      }
    }
    this.#offerBacklog();
  }

  #pinged(id: number): void {
    const resolve = this.#pings.get(id);
    assert(resolve !== undefined, 'an answer that nobody asked for');
    this.#pings.delete(id);
    this.#outstanding -= 1;
    resolve();
  }

  #chosen(answer: Int32Array): void {
    const id = answer[ANSWER.id] as number;
    const resolve = this.#choices.get(id);
    assert(resolve !== undefined, 'an answer that nobody asked for');
    this.#choices.delete(id);
    this.#outstanding -= 1;
    const isNone = answer[ANSWER.pageHigh] === -1;
    const firstPage = isNone ? -1 : pageOfRecord(answer, ANSWER.pageLow);
    resolve({ firstPage, retries: answer[ANSWER.retries] as number });
  }
}
