/**
 * Where the time of a request goes at the node that serves it: a stopwatch whose laps are the
 * stations of its way. Nothing is measured until somebody asks for it, and then for a while only:
 * off, a look at the input costs one comparison, and each station a test of `isOn`.
 *
 *   begin    a look at what has arrived begins; one look in `every` is measured
 *   lap      from the lap before to now was spent at this station
 *   count    one request of this kind is done; a look at which there was none counts for nothing
 *   end      the look is over: its laps are shared out among the requests that it has counted
 *
 * A look at requests of several kinds shares its laps out evenly, so kinds are told apart well only
 * where most looks see one kind, as where one client at a time is measured. What reading the clock
 * takes is taken off each lap.
 */

import type { Clock } from '../runtime/clock.js';
import { MessageType } from '../wire/messages.js';

/** In the order in which a request comes by. */
export const Station = {
  /** Its form is looked at, its checksum, and of a datagram its cookie. */
  CHECK: 0,
  /** Whether the change was made before, and its entry; over datagrams alone. */
  RECORD: 1,
  /** The window, and the page table. */
  TRANSLATE: 2,
  /** The bytes are copied, the word is exchanged; a frame for a page that had none. */
  ACCESS: 3,
  /** The reply is made, with its checksum. */
  REPLY: 4,
  /** The reply is given to the system. */
  SEND: 5,
} as const;
export type Station = (typeof Station)[keyof typeof Station];

export const STATION_NAMES = ['check', 'record', 'translate', 'access', 'reply', 'send'] as const;
export type StationName = (typeof STATION_NAMES)[number];

/** Which requests are told apart. */
export const REQUEST_KINDS = ['read', 'write', 'atomic', 'ping'] as const;
export type RequestKind = (typeof REQUEST_KINDS)[number];

const STATIONS = STATION_NAMES.length;
const KINDS = REQUEST_KINDS.length;
const NS_PER_MS = 1e6;
const CLOCK_ROUNDS = 8;
const CLOCK_LOOKS = 500;

/** Of a message type: an index of `REQUEST_KINDS`, or -1. */
function kindOf(type: number): number {
  if (type === MessageType.Read) return 0;
  if (type === MessageType.Write) return 1;
  if (type === MessageType.CompareAndSwap || type === MessageType.FetchAndAdd) return 2;
  return type === MessageType.Ping ? 3 : -1;
}

export class Stations {
  /** Whether the look that is under way is measured. */
  isOn = false;
  readonly #clock: Clock;
  /** What reading it takes; -1: not known yet. */
  #clockMs = -1;
  /** Of so many looks one is measured; 0: none. */
  #every = 0;
  #untilMs = 0;
  #looks = 0;
  #lastMs = 0;
  /** Milliseconds of this look by station, and its requests by kind. */
  readonly #lapMs = new Float64Array(STATIONS);
  readonly #counted = new Float64Array(KINDS);
  /** Since the start: milliseconds by kind and station, and requests by kind. */
  readonly #sumMs = new Float64Array(KINDS * STATIONS);
  readonly #requests = new Float64Array(KINDS);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Measures one look in `every` (0: none) for `forMs` from now on. */
  measure(every: number, forMs: number): void {
    this.#every = every;
    this.#untilMs = this.#clock.now() + forMs;
    if (every > 0 && this.#clockMs < 0) this.#clockMs = this.#readingMs();
  }

  begin(): void {
    if (this.#every === 0 || ++this.#looks < this.#every) return;
    this.#looks = 0;
    const now = this.#clock.now();
    if (now >= this.#untilMs) {
      this.#every = 0;
      return;
    }
    this.isOn = true;
    this.#lapMs.fill(0);
    this.#counted.fill(0);
    this.#lastMs = now;
  }

  /** Only where `isOn`. */
  lap(station: Station): void {
    const now = this.#clock.now();
    this.#lapMs[station] = (this.#lapMs[station] as number) + now - this.#lastMs - this.#clockMs;
    this.#lastMs = now;
  }

  /** Only where `isOn`: a request of this type is done. */
  count(type: number): void {
    const kind = kindOf(type);
    if (kind >= 0) this.#counted[kind] = (this.#counted[kind] as number) + 1;
  }

  /** What this look meets is no request that is measured, and would be in everybody's laps. */
  drop(): void {
    this.isOn = false;
  }

  end(): void {
    if (!this.isOn) return;
    this.isOn = false;
    const all = this.#counted.reduce((sum, count) => sum + count, 0);
    if (all === 0) return;
    for (let kind = 0; kind < KINDS; kind++) {
      const count = this.#counted[kind] as number;
      this.#requests[kind] = (this.#requests[kind] as number) + count;
      for (let station = 0; station < STATIONS; station++) {
        const at = kind * STATIONS + station;
        const share = ((this.#lapMs[station] as number) * count) / all;
        this.#sumMs[at] = (this.#sumMs[at] as number) + share;
      }
    }
  }

  /** Requests of a kind that were measured since the start. */
  requests(kind: number): number {
    return this.#requests[kind] as number;
  }

  /** What they took at a station in all, in whole nanoseconds. */
  sumNs(kind: number, station: number): number {
    const sumMs = this.#sumMs[kind * STATIONS + station] as number;
    return Math.max(0, Math.round(sumMs * NS_PER_MS));
  }

  /** What reading the clock takes, in whole nanoseconds; 0 before anything was measured. */
  get clockNs(): number {
    return Math.max(0, Math.round(this.#clockMs * NS_PER_MS));
  }

  /** That of the best round: in the others something else happened. */
  #readingMs(): number {
    let least = Infinity;
    for (let round = 0; round < CLOCK_ROUNDS; round++) {
      const began = this.#clock.now();
      for (let i = 1; i < CLOCK_LOOKS; i++) this.#clock.now();
      least = Math.min(least, (this.#clock.now() - began) / CLOCK_LOOKS);
    }
    return least;
  }
}
