/**
 * What the main thread and the slow path say to each other: four rings in one shared buffer.
 *
 *   requests   main -> slow    see RequestKind
 *   answers    slow -> main    see AnswerKind
 *   zeroed     slow -> main    one word: a frame that reads as zeros
 *   retired    main -> slow    one word: a frame that no page uses any more; room for every frame
 *
 * Requests and answers are taken in the order in which they were made, so the slow path's picture
 * is the main thread's, only a little older: a range that it calls free is free.
 */

import type { RingOptions, Threads } from '../../runtime/threads.js';

/** The key under which the application registers the slow path's `ThreadMain`. */
export const SLOW_PATH_THREAD = 'memory-node/slow';

export const RequestKind = {
  /** Choose an address: id, space, region, pages, wish (low, high). Answered by ALLOCATED. */
  ALLOCATE: 1,
  /** Pages are free again: -, space, -, pages, first page (low, high). */
  RELEASE: 2,
  /** The node holds the region: -, space, region. */
  ADD_REGION: 3,
  /** It does no longer, and all its pages are free: -, space, region. */
  DROP_REGION: 4,
  /** Look at the rings. Word 1 is 1: answer FRAMES_READY once the zeroed ring is not empty. */
  NUDGE: 5,
  STOP: 6,
  /** Is it there: id. Answered by PONG. */
  PING: 7,
  /** So many frames may hold memory: -, -, -, frames. Answers ROOM; then comes the next one. */
  HOLD: 8,
} as const;

export const AnswerKind = {
  /** The tables have been read; pages committed. Answers nothing else before it. */
  READY: 1,
  /** id, first page (low, high; all ones: no room), retries. */
  ALLOCATED: 2,
  FRAMES_READY: 3,
  /** id. */
  PONG: 4,
  /** What was measured, in the words of `ROOM`. */
  ROOM: 5,
} as const;

/** Words of a request. */
export const REQUEST = {
  kind: 0,
  id: 1,
  space: 2,
  region: 3,
  pages: 4,
  pageLow: 5,
  pageHigh: 6,
} as const;
/** Words of an answer. */
export const ANSWER = { kind: 0, id: 1, pageLow: 2, pageHigh: 3, retries: 4 } as const;

/** Words of a ROOM: stalls and problem in one, then byte counts; see room-gauge.ts. */
export const ROOM = { stalled: 1, available: 2, total: 4, held: 6 } as const;

export const RECORD_WORDS = 8;
const MESSAGES: RingOptions = { records: 1024, recordWords: RECORD_WORDS };
/** So that the ring of answers can never be full. */
export const OUTSTANDING_MAX = MESSAGES.records / 2;

export interface RingPlan {
  readonly requests: RingOptions;
  readonly answers: RingOptions;
  readonly zeroed: RingOptions;
  readonly retired: RingOptions;
  readonly requestsAt: number;
  readonly answersAt: number;
  readonly zeroedAt: number;
  readonly retiredAt: number;
  readonly bytes: number;
}

/** Both threads make the same plan from the same numbers. */
export function planRings(threads: Threads, frames: number, zeroedTarget: number): RingPlan {
  const zeroed: RingOptions = { records: powerOfTwo(zeroedTarget), recordWords: 1 };
  const retired: RingOptions = { records: powerOfTwo(frames), recordWords: 1 };
  const messageBytes = aligned(threads.ringBytes(MESSAGES));
  const zeroedAt = 2 * messageBytes;
  const retiredAt = zeroedAt + aligned(threads.ringBytes(zeroed));
  return {
    requests: MESSAGES,
    answers: MESSAGES,
    zeroed,
    retired,
    requestsAt: 0,
    answersAt: messageBytes,
    zeroedAt,
    retiredAt,
    bytes: retiredAt + aligned(threads.ringBytes(retired)),
  };
}

function powerOfTwo(atLeast: number): number {
  let power = 1;
  while (power < atLeast) power *= 2;
  return power;
}

/** To a cache line, so that rings do not slow each other. */
function aligned(bytes: number): number {
  return Math.ceil(bytes / 64) * 64;
}

const TWO_TO_32 = 2 ** 32;

export function pageOfRecord(record: Int32Array, low: number): number {
  return (record[low + 1] as number) * TWO_TO_32 + ((record[low] as number) >>> 0);
}

export function putPage(record: Int32Array, low: number, page: number): void {
  record[low] = (page % TWO_TO_32) | 0;
  record[low + 1] = Math.floor(page / TWO_TO_32);
}
