/**
 * Where the time of a request goes at the node that serves it: a stopwatch whose laps are the
 * stations of its way. One look in many is measured, or none, until somebody asks for more, for a
 * while. A look that is not measured costs a count and a comparison, and each station a test of
 * `isOn`.
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

import { Histogram, type HistogramCounts } from '../base/histogram.js';
import type { Clock } from '../runtime/clock.js';
import { MessageType } from '../wire/messages.js';
import { Waits } from './waits.js';

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
/** From a microsecond to a quarter of a second. */
const LEAST_S = 1e-6;
const BUCKETS = 19;
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
  /** Requests that leave the fast path, which are no laps. */
  readonly waits: Waits;
  readonly #clock: Clock;
  /** What reading it takes; -1: not known yet. */
  #clockMs = -1;
  readonly #everyDefault: number;
  /** Of so many looks one is measured; 0: none. */
  #every: number;
  #untilMs = Infinity;
  #looks = 0;
  #lastMs = 0;
  /** Milliseconds of this look by station, and its requests by kind. */
  readonly #lapMs = new Float64Array(STATIONS);
  readonly #counted = new Float64Array(KINDS);
  /** Since the start: milliseconds by kind and station, and requests by kind. */
  readonly #sumMs = new Float64Array(KINDS * STATIONS);
  readonly #requests = new Float64Array(KINDS);
  /** Seconds of a request at all stations together, by kind. */
  readonly #service = REQUEST_KINDS.map(() => new Histogram(LEAST_S, BUCKETS));

  /** While nobody asks for more, one look in `everyDefault` is measured; 0: none. */
  constructor(clock: Clock, everyDefault = 0) {
    this.#clock = clock;
    this.waits = new Waits(clock);
    this.#everyDefault = everyDefault;
    this.#every = everyDefault;
    if (everyDefault > 0) this.#clockMs = this.#readingMs();
  }

  /** Measures one look in `every` (0: as if nobody had asked) for `forMs` from now on. */
  measure(every: number, forMs: number): void {
    if (every === 0) {
      this.#asBefore();
      return;
    }
    this.#every = every;
    this.#untilMs = this.#clock.now() + forMs;
    if (this.#clockMs < 0) this.#clockMs = this.#readingMs();
  }

  #asBefore(): void {
    this.#every = this.#everyDefault;
    this.#untilMs = Infinity;
  }

  begin(): void {
    if (this.#every === 0 || ++this.#looks < this.#every) return;
    this.#looks = 0;
    const now = this.#clock.now();
    if (now >= this.#untilMs) {
      this.#asBefore();
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
    const requestMs = this.#lapMs.reduce((sum, ms) => sum + ms, 0) / all;
    for (let kind = 0; kind < KINDS; kind++) {
      const count = this.#counted[kind] as number;
      if (count > 0) this.#service[kind]?.add(Math.max(0, requestMs) / 1000, count);
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

  /** What requests took in all that were measured, as seconds; by kind. */
  get service(): Readonly<Record<RequestKind, HistogramCounts>> {
    const entries = REQUEST_KINDS.map((kind, i) => [kind, this.#service[i]?.counts()] as const);
    return Object.fromEntries(entries) as Record<RequestKind, HistogramCounts>;
  }

  /** Their seconds at each station, by kind. */
  get seconds(): Readonly<Record<RequestKind, Readonly<Record<StationName, number>>>> {
    const entries = REQUEST_KINDS.map((kind, i) => {
      const ofKind = STATION_NAMES.map((name, at) => [name, this.sumNs(i, at) / 1e9] as const);
      return [kind, Object.fromEntries(ofKind)] as const;
    });
    return Object.fromEntries(entries) as Record<RequestKind, Record<StationName, number>>;
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
