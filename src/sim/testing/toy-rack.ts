/**
 * A rack in a hundred lines, right by construction, with some ways to be wrong: it shows that the
 * workloads use what they should and that the checkers see what they should, before and beside
 * the real rack. Operations take effect and return after random times, in order per client.
 */

import { Prng } from '../../base/prng.js';
import type { StatusName } from '../../base/status.js';
import { Journal } from '../journal.js';
import { type DrivenSpace, ObservedSpace } from '../observed-space.js';
import { Board, type ClientProgram, type Workload } from '../workloads/workload.js';

const PAGE = 64 * 1024;

export type ToyBug =
  | 'none'
  | 'zeroing-skipped'
  | 'addition-doubled'
  | 'write-lost'
  | 'refused-but-applied'
  | 'given-twice'
  | 'late-write'
  | 'wrong-place';

class ToyError extends Error {
  readonly code: StatusName;
  readonly outcome: string;

  constructor(code: StatusName, outcome = 'notApplied') {
    super(code);
    this.code = code;
    this.outcome = outcome;
  }
}

interface ToyEvent {
  readonly atMs: number;
  readonly run: () => void;
}

/** Time and memory of the toy. */
export class ToyRack {
  readonly journal = new Journal();
  readonly prng: Prng;
  readonly bug: ToyBug;
  readonly #frames: number;
  readonly #board = new Board();
  readonly #events: ToyEvent[] = [];
  readonly #pages: Map<string, Uint8Array> = new Map();
  readonly #sizes: Map<string, number> = new Map();
  readonly #rights: Map<string, string> = new Map();
  readonly #dirty: Uint8Array[] = [];
  #nowMs = 0;
  #nextAt = 2 ** 30;
  #stepsLeft = 0;

  constructor(seed: number, bug: ToyBug, frames: number) {
    this.prng = new Prng(seed);
    this.bug = bug;
    this.#frames = frames;
  }

  get hasBug(): boolean {
    return this.bug !== 'none' && this.prng.chance(30_000);
  }

  after(ms: number): Promise<void> {
    return new Promise((run) => this.#events.push({ atMs: this.#nowMs + ms, run }));
  }

  async run(workload: Workload, clients: number): Promise<void> {
    this.#stepsLeft = workload.steps;
    let open = clients;
    for (let number = 1; number <= clients; number++) {
      void workload.run(this.#client(number)).finally(() => open--);
    }
    while (open > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#events.sort((a, b) => b.atMs - a.atMs);
      const next = this.#events.pop();
      if (next === undefined) continue;
      this.#nowMs = next.atMs;
      next.run();
    }
  }

  #client(number: number): ClientProgram {
    return {
      number,
      prng: this.prng.fork(`client ${number}`),
      journal: this.journal,
      board: this.#board,
      pageBytes: PAGE,
      frames: this.#frames,
      open: (name) => Promise.resolve(this.observed(name, number)),
      files: () => Promise.reject(new Error('the toy rack has no files')),
      leases: () => Promise.reject(new Error('the toy rack has no leases')),
      sleep: (ms) => this.after(ms),
      untilStopped: () => this.after(1).then(() => undefined),
      untilGoneOn: () => this.after(1),
      step: () => this.#stepsLeft-- > 0,
    };
  }

  observed(name: string, client: number): ObservedSpace {
    const facts = { name, client, pageBytes: PAGE, journal: this.journal, nowMs: () => 0 };
    return new ObservedSpace({ ...facts, space: new ToySpace(this, name), noteOutcome: () => {} });
  }

  alloc(space: string, bytes: number): number {
    const pages = Math.ceil(bytes / PAGE);
    if (this.#pages.size + pages > this.#frames) throw new ToyError('NoSpace');
    const key = [...this.#sizes.keys()].find((one) => one.startsWith(space));
    if (this.bug === 'given-twice' && this.hasBug && key !== undefined) {
      return Number(key.split('@')[1]);
    }
    const at = this.#nextAt;
    this.#nextAt += pages * PAGE;
    this.#sizes.set(`${space}@${at}`, pages);
    for (let i = 0; i < pages; i++) {
      const fresh = new Uint8Array(PAGE);
      const used = this.#dirty.pop();
      const isDirty = this.bug === 'zeroing-skipped' && used !== undefined;
      this.#pages.set(`${space}@${at + i * PAGE}`, isDirty ? used : fresh);
    }
    return at;
  }

  free(space: string, at: number): void {
    const pages = this.#sizes.get(`${space}@${at}`);
    if (pages === undefined) throw new ToyError('NotAllocated');
    this.#sizes.delete(`${space}@${at}`);
    for (let i = 0; i < pages; i++) {
      const key = `${space}@${at + i * PAGE}`;
      this.#dirty.push(this.#pages.get(key) as Uint8Array);
      this.#pages.delete(key);
      this.#rights.delete(key);
    }
  }

  protect(space: string, at: number, bytes: number, rights: string): void {
    for (let i = 0; i < bytes; i += PAGE) this.#rights.set(`${space}@${at + i}`, rights);
  }

  /** Calls `visit` with every page of the range. */
  touch(
    space: string,
    at: number,
    bytes: number,
    needs: 'r' | 'rw',
    visit: (page: Uint8Array, offset: number, done: number, length: number) => void,
  ): void {
    const stretches: [Uint8Array, number, number, number][] = [];
    for (let done = 0; done < bytes; ) {
      const offset = (at + done) % PAGE;
      const length = Math.min(bytes - done, PAGE - offset);
      const key = `${space}@${at + done - offset}`;
      const page = this.#pages.get(key);
      if (page === undefined) throw new ToyError('NotAllocated');
      const rights = this.#rights.get(key) ?? 'rw';
      if (rights === 'none' || (rights === 'r' && needs === 'rw')) throw new ToyError('Denied');
      stretches.push([page, offset, done, length]);
      done += length;
    }
    for (const stretch of stretches) visit(...stretch);
  }
}

/** What one client sees of a space. */
class ToySpace implements DrivenSpace {
  readonly id = 1;
  readonly #rack: ToyRack;
  readonly #name: string;
  #last: Promise<unknown> = Promise.resolve();

  constructor(rack: ToyRack, name: string) {
    this.#rack = rack;
    this.#name = name;
  }

  /** After what was called before it has taken effect; some answers get lost. */
  #do<T>(effect: () => T): Promise<T> {
    const rack = this.#rack;
    const done = this.#last.then(async () => {
      await rack.after(rack.prng.fraction());
      const isLost = rack.prng.chance(5_000);
      if (isLost && rack.prng.chance(500_000)) throw new ToyError('OutcomeUnknown', 'unknown');
      const value = effect();
      if (isLost) throw new ToyError('OutcomeUnknown', 'unknown');
      return value;
    });
    this.#last = done.catch(() => {});
    return done.finally(() => rack.after(rack.prng.fraction()));
  }

  alloc(bytes: number): Promise<number> {
    return this.#do(() => this.#rack.alloc(this.#name, bytes));
  }

  free(at: number): Promise<void> {
    return this.#do(() => this.#rack.free(this.#name, at));
  }

  protect(at: number, bytes: number, rights: string): Promise<void> {
    return this.#do(() => this.#rack.protect(this.#name, at, bytes, rights));
  }

  fence(): Promise<void> {
    return this.#do(() => undefined);
  }

  read(at: number, into: Uint8Array): Promise<unknown> {
    return this.#do(() => this.#readNow(at, into));
  }

  readMany(reads: readonly { readonly at: number; readonly into: Uint8Array }[]): Promise<unknown> {
    return this.#do(() => {
      for (const { at, into } of reads) this.#readNow(at, into);
    });
  }

  #readNow(at: number, into: Uint8Array): void {
    this.#rack.touch(this.#name, at, into.length, 'r', (page, offset, done, length) => {
      into.set(page.subarray(offset, offset + length), done);
    });
  }

  /** Of one allocation: what refuses one of them refuses the first. */
  writeMany(
    writes: readonly { readonly at: number; readonly from: Uint8Array }[],
  ): Promise<unknown> {
    return this.#do(() => {
      for (const { at, from } of writes) {
        this.#rack.touch(this.#name, at, from.length, 'rw', (page, offset, done, length) => {
          page.set(from.subarray(done, done + length), offset);
        });
      }
    });
  }

  write(at: number, from: Uint8Array): Promise<unknown> {
    return this.#do(() => {
      const rack = this.#rack;
      const { bug } = rack;
      const store = (): void => {
        rack.touch(this.#name, at, from.length, 'rw', (page, offset, done, length) => {
          const isShifted = bug === 'wrong-place' && rack.hasBug && offset >= 8;
          page.set(from.subarray(done, done + length), isShifted ? offset - 8 : offset);
        });
      };
      if (bug === 'write-lost' && rack.hasBug) return;
      if (bug === 'late-write' && rack.hasBug) {
        void rack.after(5).then(() => {
          try {
            store();
          } catch {
            // Freed meanwhile.
          }
        });
      }
      store();
      if (bug === 'refused-but-applied' && rack.hasBug) throw new ToyError('NoSpace');
    });
  }

  compareAndSwap(at: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#word(at, (old) => (old === expected ? desired : old));
  }

  fetchAndAdd(at: number, delta: bigint): Promise<bigint> {
    const rack = this.#rack;
    return this.#word(at, (old) => {
      const isDoubled = rack.bug === 'addition-doubled' && rack.hasBug;
      return old + delta * (isDoubled ? 2n : 1n);
    });
  }

  #word(at: number, change: (old: bigint) => bigint): Promise<bigint> {
    return this.#do(() => {
      let old = 0n;
      this.#rack.touch(this.#name, at, 8, 'rw', (page, offset) => {
        const view = new DataView(page.buffer);
        old = view.getBigUint64(offset, true);
        view.setBigUint64(offset, change(old), true);
      });
      return old;
    });
  }
}
