/**
 * Counts by adding 1 to words of remote memory, many at a time, and notes what was told: each
 * value that a word had before is seen once at most, and every increment is known to be done, known
 * not to be, or unknown.
 */
import type { MemrackError, RemoteSpace } from '../../src/apps/library.js';

/** One word in each: operations on different lines do not wait for each other. */
export const LINE_BYTES = 64;
/** What an operation may take beyond its time-out. */
const SLACK_MS = 100;
const TICK_MS = 10;
const REFUSED_PAUSE_MS = 5;
const SLOW_MS = 1000;

/** Of one word. */
export interface WordReport {
  readonly line: number;
  acknowledged: number;
  unknown: number;
  /** A bit for each value that an acknowledged increment was told. */
  seen: Uint8Array;
}

export interface CountReport {
  readonly words: WordReport[];
  /** Values that were told twice, within this process. */
  twice: number;
  /** Increments that were refused, so not done, and tried again. */
  refused: number;
  /** Operations that ended later than their deadline and 100 ms, */
  late: number;
  /** and those that did while this process had no processor for so long. */
  starved: number;
  /** Took longer than a second. */
  slow: number;
  msMost: number;
  /** Texts of the refusals and unknown outcomes, and how often each. */
  reasons: Record<string, number>;
}

/** How long this thread came too late for its timer, of late. */
class Lag {
  readonly #late: { at: number; ms: number }[] = [];
  #expected = performance.now() + TICK_MS;
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const now = performance.now();
    const ms = now - this.#expected;
    if (ms > TICK_MS) this.#late.push({ at: now, ms });
    if (this.#late.length > 10_000) this.#late.shift();
    this.#expected = now + TICK_MS;
  }

  /** All of it since then. */
  since(from: number): number {
    const running = Math.max(0, performance.now() - this.#expected);
    let sum = running;
    for (const { at, ms } of this.#late) if (at > from) sum += ms;
    return sum;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

export class Counting {
  readonly report: CountReport = {
    words: [],
    twice: 0,
    refused: 0,
    late: 0,
    starved: 0,
    slow: 0,
    msMost: 0,
    reasons: {},
  };
  done = 0;
  readonly #timeoutMs: number;
  readonly #words = new Map<number, WordReport>();
  readonly #lag = new Lag();
  #left: number;

  /** `increments` in all; the spaces were opened with this time-out. */
  constructor(increments: number, timeoutMs: number) {
    this.#left = increments;
    this.#timeoutMs = timeoutMs;
  }

  /** Increments these lines, each one at a time, until enough was done by all; or is stopped. */
  async run(space: RemoteSpace, at: number, lines: readonly number[]): Promise<void> {
    await Promise.all(lines.map((line) => this.#lane(space, at, line)));
  }

  stop(): void {
    this.#left = 0;
  }

  finish(): CountReport {
    this.#lag.stop();
    return this.report;
  }

  #wordOf(line: number): WordReport {
    let word = this.#words.get(line);
    if (word === undefined) {
      word = { line, acknowledged: 0, unknown: 0, seen: new Uint8Array(1024) };
      this.#words.set(line, word);
      this.report.words.push(word);
    }
    return word;
  }

  async #lane(space: RemoteSpace, at: number, line: number): Promise<void> {
    const word = this.#wordOf(line);
    const address = at + line * LINE_BYTES;
    while (this.#left > 0) {
      this.#left--;
      const began = performance.now();
      try {
        const before = await space.fetchAndAdd(address, 1n);
        this.#acknowledged(word, Number(before));
      } catch (error) {
        await this.#failed(word, error as MemrackError);
      }
      this.#timed(began);
    }
  }

  #acknowledged(word: WordReport, before: number): void {
    word.acknowledged++;
    this.done++;
    const byte = before >> 3;
    if (byte >= word.seen.length) {
      const longer = new Uint8Array(Math.max(byte + 1, 2 * word.seen.length));
      longer.set(word.seen);
      word.seen = longer;
    }
    const bit = 1 << (before & 7);
    if (((word.seen[byte] as number) & bit) !== 0) this.report.twice++;
    word.seen[byte] = (word.seen[byte] as number) | bit;
  }

  async #failed(word: WordReport, error: MemrackError): Promise<void> {
    const reason = `${error.code} (${error.outcome}): ${error.message}`.replaceAll(/\d+/g, 'N');
    this.report.reasons[reason] = (this.report.reasons[reason] ?? 0) + 1;
    if (error.outcome === 'unknown') {
      word.unknown++;
      this.done++;
      return;
    }
    this.report.refused++;
    this.#left++;
    await new Promise((resolve) => setTimeout(resolve, REFUSED_PAUSE_MS));
  }

  #timed(began: number): void {
    const ms = performance.now() - began;
    this.report.msMost = Math.max(this.report.msMost, ms);
    if (ms > SLOW_MS) this.report.slow++;
    const beyond = ms - this.#timeoutMs - SLACK_MS;
    if (beyond <= 0) return;
    if (this.#lag.since(began) >= beyond) this.report.starved++;
    else this.report.late++;
  }
}
