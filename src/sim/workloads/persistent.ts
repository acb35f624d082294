/**
 * Memory on disks while machines stop, processes die and flushes fail. Each client has words of its
 * own, writes rising numbers, flushes, and reads: what a flush has confirmed is there for ever;
 * what was written since may be gone, but not for who flushes it without being told `DataLost`;
 * and no word ever shows what was not written to it.
 *
 * Invariant 7, judged from what clients see alone. That a region goes to another file loses
 * nothing: where none was opened anew for a while, nobody may be told that something is gone.
 */

import type { MemrackError } from '../../client/error.js';
import { type DurableSpace, endedBy } from '../observed-space.js';
import { type ClientMoment, SUCCESS } from '../journal.js';
import type { DurablePiece as Piece, DurableWord as Word } from './durable-words.js';
import type { ClientProgram, Workload } from './workload.js';

/** Words of each page that are used: its first and last, and where blocks of the disk meet. */
const PLACES = [0, 1, 511, 512, 4095, 8191];
const PAGES_MAX = 2;
const PIECES = 3;
const PASSING_MS = 50;
const WORD_BYTES = 8;
/** Within which a client has heard of a file that a region has moved to. */
const HEARD_WITHIN_MS = 4_000;
/** What nobody may be told of memory of its own. */
const MEANS_LOSS: ReadonlySet<string> = new Set(['DataLost', 'NotFound', 'NotAllocated']);
const NUMBERS = 1_000_000;
/** Memory that nobody has touched is written to, and flushed at once. */
const NEW_IS_FLUSHED_PER_MILLION = 700_000;
/** One that failed, mostly at once and again. */
const FLUSHED_AGAIN_PER_MILLION = 900_000;
const FLUSHES_MAX = 8;

interface Unflushed {
  readonly sinceMs: number;
  /** When the last operation before began that was answered. */
  readonly answeredMs: number;
}

class DurableProgram {
  readonly #client: ClientProgram;
  readonly #space: DurableSpace;
  readonly #pieces: Piece[] = [];
  /** By page: when something was first written of which no flush has said that it is safe, */
  readonly #unflushed = new Map<number, Unflushed>();
  /** and when the last operation began that its node has answered. */
  readonly #answeredMs = new Map<number, number>();
  #marks = 0;

  constructor(client: ClientProgram, space: DurableSpace) {
    this.#client = client;
    this.#space = space;
    const { board, forerunner, number } = client;
    for (const piece of board.durable.get(forerunner ?? number) ?? []) this.#inherit(piece);
    board.durable.set(number, this.#pieces);
  }

  /** Of a client that was killed: what it had not flushed is promised to nobody. */
  #inherit({ at, bytes, words }: Piece): void {
    const known = words.map((word) => {
      return { ...word, acknowledged: word.flushed, seen: 0, inherited: word.written };
    });
    const isDoubtful = words.some(({ isUnderWay }) => isUnderWay);
    this.#pieces.push({ at, bytes, words: known, isDoubtful });
  }

  async step(): Promise<void> {
    const { prng } = this.#client;
    const own = this.#pieces.filter(({ isDoubtful }) => !isDoubtful).length;
    if (own < PIECES && prng.below(6) === 0) return this.#alloc();
    if (this.#pieces.length === 0) return this.#alloc();
    const piece = prng.pick(this.#pieces);
    const kind = prng.below(100);
    // What may still come is to meet nothing else there.
    const isRead = piece.isDoubtful && (kind < 47 || kind >= 88);
    if (isRead) await this.#read(prng.pick(piece.words));
    else if (kind < 47) await this.#change(prng.pick(piece.words));
    else if (kind < 65) await this.#flush(piece);
    else if (kind < 88) await this.#read(prng.pick(piece.words));
    else if (kind < 94) await this.#relocate(piece);
    else await this.#free(piece);
  }

  #reach(moment: ClientMoment): void {
    this.#client.journal.reach(moment, this.#client.number);
  }

  /** Its pages get other frames, and those of before are zeroed. */
  async #relocate({ at, bytes }: Piece): Promise<void> {
    this.#reach('a relocation');
    await this.#attempt('relocate', async () => {
      await this.#space.relocate(at, bytes);
      return true;
    });
  }

  async #alloc(): Promise<void> {
    const { prng, pageBytes, number } = this.#client;
    const pages = prng.between(1, PAGES_MAX);
    const at = await this.#attempt('alloc', () => this.#space.alloc(pages * pageBytes));
    if (typeof at !== 'number') return;
    const words: Word[] = [];
    for (let page = 0; page < pages; page++) {
      for (const place of PLACES) {
        this.#marks += 1;
        const mark = number * 100_000 + this.#marks;
        const word = { at: at + page * pageBytes + place * WORD_BYTES, page, mark };
        words.push({
          ...word,
          written: 0,
          acknowledged: 0,
          ...{ seen: 0, seenMs: 0, inherited: 0 },
          flushed: 0,
          isUnderWay: false,
        });
      }
    }
    const piece = { at, bytes: pages * pageBytes, words, isDoubtful: false };
    this.#pieces.push(piece);
    const word = prng.pick(words);
    await this.#read(word);
    if (!prng.chance(NEW_IS_FLUSHED_PER_MILLION)) return;
    await this.#write(word);
    await this.#flush(piece);
    if (word.flushed > 0) this.#reach('the end of a first flush');
  }

  /** Half of the time it is looked first what would be written over. */
  async #change(word: Word): Promise<void> {
    if (this.#client.prng.chance(500_000)) await this.#read(word);
    await this.#write(word);
  }

  async #write(word: Word): Promise<void> {
    word.written += 1;
    word.isUnderWay = true;
    this.#noteWrite(word);
    const number = word.written;
    const bytes = new Uint8Array(WORD_BYTES);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(word.mark * NUMBERS + number), true);
    const beganMs = this.#client.journal.nowMs();
    const done = await this.#attempt('write', async () => {
      await this.#space.write(word.at, bytes);
      return true;
    });
    if (done !== true) return;
    this.#answeredMs.set(this.#pageOf(word), beganMs);
    word.acknowledged = number;
    word.isUnderWay = false;
  }

  /** Of the whole piece, or of some of its pages. */
  async #flush(piece: Piece): Promise<void> {
    const { prng, pageBytes } = this.#client;
    const pages = piece.bytes / pageBytes;
    const first = prng.below(pages);
    const count = prng.between(1, pages - first);
    const words = piece.words.filter(({ page }) => page >= first && page < first + count);
    for (let tries = 1; tries <= FLUSHES_MAX; tries++) {
      const end = await this.#flushPages(piece, words, first, count);
      if (end === true) return this.#reach('the end of a flush');
      if (!prng.chance(FLUSHED_AGAIN_PER_MILLION)) return;
      // Nothing is written until it is flushed: what is there now must be it.
      if (end === 'DataLost') for (const word of words) await this.#read(word);
    }
  }

  async #flushPages(
    piece: Piece,
    words: readonly Word[],
    first: number,
    count: number,
  ): Promise<true | 'DataLost' | undefined> {
    const { pageBytes } = this.#client;
    const before = words.map(({ acknowledged, seen, seenMs }) => ({ acknowledged, seen, seenMs }));
    const at = piece.at + first * pageBytes;
    const flush = async (): Promise<true> => {
      await this.#space.flush(at, count * pageBytes);
      return true;
    };
    this.#reach('a flush');
    const end = await this.#attempt('flush', flush, true);
    if (end === true) {
      words.forEach((word, i) => {
        const known = before[i] as (typeof before)[number];
        const seen = this.#isThereStill(word, known) ? known.seen : 0;
        word.flushed = Math.max(word.flushed, known.acknowledged, seen);
      });
    }
    const places = Array.from({ length: count }, (_, page) => at + page * pageBytes);
    if (end === 'DataLost') this.#judgeLoss(places);
    if (end === true) for (const place of places) this.#unflushed.delete(place);
    // What may be gone is named: from here on nothing more than before is promised.
    if (end === 'DataLost') {
      words.forEach((word) => {
        word.acknowledged = word.flushed;
        word.seen = 0;
      });
    }
    return end;
  }

  /**
   * What was read is in memory, whatever was told of the write. What somebody else has written and
   * not flushed may go with his machine, and nobody but he is told so.
   */
  #isThereStill({ inherited }: Word, known: { seen: number; seenMs: number }): boolean {
    return known.seen > inherited || this.#client.journal.openedMs < known.seenMs;
  }

  #pageOf({ at }: Word): number {
    return at - (at % this.#client.pageBytes);
  }

  #noteWrite(word: Word): void {
    const page = this.#pageOf(word);
    if (this.#unflushed.has(page)) return;
    const answeredMs = this.#answeredMs.get(page) ?? -Infinity;
    this.#unflushed.set(page, { sinceMs: this.#client.journal.nowMs(), answeredMs });
  }

  /**
   * A client hears of a file that was opened anew with its next operation there. What it writes by
   * then counts as written under the opening before.
   */
  #judgeLoss(places: readonly number[]): void {
    const { openedMs } = this.#client.journal;
    const written = places.flatMap((place) => this.#unflushed.get(place) ?? []);
    const sinceMs = Math.min(...written.map((one) => one.sinceMs));
    if (openedMs + HEARD_WITHIN_MS >= sinceMs) return;
    if (written.some(({ answeredMs }) => answeredMs <= openedMs)) return;
    const what = `what was written since ${sinceMs.toFixed(0)} ms`;
    const why = `no file was opened since ${openedMs.toFixed(0)} ms, of which the client had heard`;
    this.#client.journal.complain('lost-by-mistake', `DataLost: ${what}, and ${why}`);
  }

  async #read(word: Word): Promise<boolean> {
    const into = new Uint8Array(WORD_BYTES);
    const beganMs = this.#client.journal.nowMs();
    const done = await this.#attempt('read', async () => {
      await this.#space.read(word.at, into);
      return true;
    });
    if (done !== true) return false;
    this.#answeredMs.set(this.#pageOf(word), beganMs);
    this.#judge(word, Number(new DataView(into.buffer).getBigUint64(0, true)));
    word.seenMs = beganMs;
    return true;
  }

  #judge(word: Word, value: number): void {
    const { journal } = this.#client;
    const mark = Math.floor(value / NUMBERS);
    const number = value % NUMBERS;
    const what = `the word at ${word.at} of ${word.mark}`;
    if (value !== 0 && (mark !== word.mark || number > word.written)) {
      journal.complain('foreign-bytes', `${what} shows ${value}`);
    } else if (number < word.flushed) {
      journal.complain('flushed-lost', `${what} shows ${number}, and ${word.flushed} was flushed`);
    }
    word.seen = number;
  }

  /** Not again where it may have been done: what is there may be another's by now. */
  async #free(piece: Piece): Promise<void> {
    const { journal } = this.#client;
    this.#pieces.splice(this.#pieces.indexOf(piece), 1);
    for (let isOver = false; !isOver; ) {
      const end = await this.#attempt('free', async () => {
        try {
          await this.#space.free(piece.at);
        } catch (error) {
          isOver = endedBy(error).outcome === 'unknown';
          journal.mayHoldFreed ||= isOver;
          throw error;
        }
        return true;
      });
      isOver ||= end === true;
    }
  }

  /** When the rest is over: every word once more, however long its node takes to come back. */
  async end(): Promise<void> {
    for (const { words } of this.#pieces) {
      for (const word of words) {
        while (!(await this.#read(word))) await this.#client.sleep(PASSING_MS);
      }
    }
    for (const piece of this.#pieces.filter(({ isDoubtful }) => !isDoubtful)) {
      await this.#free(piece);
    }
  }

  /** Undefined: it failed in a way that passes. Loss is told only where a flush may tell it. */
  async #attempt<T>(
    verb: string,
    run: () => Promise<T>,
    mayLose = false,
  ): Promise<T | 'DataLost' | undefined> {
    const { journal } = this.#client;
    try {
      const result = await run();
      journal.count(verb, SUCCESS);
      return result;
    } catch (error) {
      const ended = endedBy(error);
      const { code } = ended;
      journal.count(verb, ended);
      if (code === 'DataLost' && mayLose) return code;
      if (MEANS_LOSS.has(code)) {
        const { message } = error as MemrackError;
        journal.complain('lost-by-mistake', `${code}: ${message}`);
      }
      await this.#client.sleep(PASSING_MS * this.#client.prng.fraction());
      return undefined;
    }
  }
}

export const persistent: Workload = {
  name: 'persistent',
  about: 'memory on disks: machines that stop, processes that die, flushes that fail',
  isBulky: false,
  isPersistent: true,
  // Few, so that frames are given out again soon.
  frames: [5, 8],
  steps: 700,
  blowCount: [3, 7],
  blows: {
    cut: 10,
    partition: 4,
    'pause-node': 4,
    'kill-node': 20,
    'kill-supervisor': 10,
    'crash-node': 15,
    'stop-node': 8,
    'kill-controller': 4,
    'crash-controller': 4,
    'fail-flushes': 4,
  },
  async run(client) {
    if (client.openDurable === undefined) return;
    const space = await client.openDurable('kept');
    const program = new DurableProgram(client, space);
    while (client.step()) await program.step();
    await program.end();
  },
};

/** Machines that stop take those with them that use memory of theirs without its node. */
export const oneSidedPersistent: Workload = {
  ...persistent,
  name: 'one-sided-persistent',
  about: 'memory on disks, used by clients on its machines, which end with them',
  isOneSided: true,
  // What clients leave that are killed stays until the end.
  frames: [10, 16],
  steps: 800,
  blows: { ...persistent.blows, 'kill-client': 10, 'pause-in-step': 6, 'kill-in-step': 10 },
};

/** Moves come to their end while nothing else happens. */
const QUIET_MS = [20, 120] as const;

export const durableMoves: Workload = {
  ...persistent,
  name: 'durable-moves',
  about: 'regions on disks that go from file to file, while machines stop and flushes fail',
  isMoving: true,
  // Also one node alone has room for most of it.
  frames: [10, 16],
  steps: 540,
  blowCount: [3, 7],
  blows: {
    'drain-node': 12,
    'move-region': 6,
    'strike-in-move': 10,
    cut: 6,
    partition: 2,
    'kill-node': 5,
    'kill-supervisor': 4,
    'crash-node': 4,
    'stop-node': 1,
    'kill-controller': 2,
    'crash-controller': 2,
    'fail-flushes': 4,
  },
  async run(client) {
    if (client.openDurable === undefined) return;
    const { board, prng } = client;
    const spaces = [await client.openDurable('kept'), await client.openDurable('kept-too')];
    const programs = spaces.map((space) => new DurableProgram(client, space));
    while (client.step()) {
      if (board.isQuiet && prng.chance(250_000)) await client.sleep(prng.between(...QUIET_MS));
      await prng.pick(programs).step();
    }
    for (const program of programs) await program.end();
  },
};
