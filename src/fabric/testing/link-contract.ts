/**
 * What every link promises, whichever way it takes: run against each of them, over a `SharedNode`.
 * A case is given a link and the node at its other end, and waits for what it is told.
 */

import { type Outcome, Status } from '../../base/status.js';
import { EntryFlag } from '../../disk/page-table.js';
import { sleep } from '../../runtime/clock.js';
import type { Runtime } from '../../runtime/runtime.js';
import { PIECE_BYTES_MAX } from '../../wire/limits.js';
import { type CompletionSink, type Link, NOT_NOW, type Window } from '../link.js';
import { PAGE, type SharedNode, SPACE } from './shared-node.js';

const BOTH = EntryFlag.READ | EntryFlag.WRITE;

interface Told {
  readonly status: Status;
  readonly outcome: Outcome;
  readonly low: number;
  readonly high: number;
}

class Waiter implements CompletionSink {
  readonly told = new Map<number, Told>();
  readonly order: number[] = [];
  #wanted = 0;
  #resolve: () => void = () => undefined;

  completed(token: number, status: Status, outcome: Outcome, low: number, high: number): void {
    if (this.told.has(token)) throw new Error(`operation ${token} was told twice`);
    this.told.set(token, { status, outcome, low, high });
    this.order.push(token);
    if (this.told.size >= this.#wanted) this.#resolve();
  }

  async all(count: number): Promise<void> {
    if (this.told.size >= count) return;
    this.#wanted = count;
    await new Promise<void>((resolve) => (this.#resolve = resolve));
  }

  status(token: number): Status | undefined {
    return this.told.get(token)?.status;
  }
}

export interface LinkUnderTest {
  readonly runtime: Runtime;
  readonly link: Link;
  /** Pages 1 and 2 have frames; pages 3 and 4 have none. */
  readonly node: SharedNode;
}

/** What a case is given. */
class Trial {
  readonly runtime: Runtime;
  readonly link: Link;
  readonly node: SharedNode;
  readonly window: Window;
  readonly sink = new Waiter();
  #token = 0;

  constructor({ runtime, link, node }: LinkUnderTest, window: Window) {
    this.runtime = runtime;
    this.link = link;
    this.node = node;
    this.window = window;
  }

  get deadline(): number {
    return this.runtime.clock.now() + 20_000;
  }

  get started(): number {
    return this.#token;
  }

  write(address: number, from: Uint8Array, window = this.window, deadline = this.deadline): number {
    this.link.write(window, address, from, 0, from.length, this.sink, ++this.#token, deadline);
    return this.#token;
  }

  read(address: number, into: Uint8Array, window = this.window): number {
    const { link, sink, deadline } = this;
    link.read(window, address, into, 0, into.length, sink, ++this.#token, deadline);
    return this.#token;
  }

  add(address: number, low: number, high = 0, window = this.window): number {
    this.link.fetchAndAdd(window, address, low, high, this.sink, ++this.#token, this.deadline);
    return this.#token;
  }

  swap(address: number, expected: number, desired: number): number {
    const { link, sink, deadline, window } = this;
    link.compareAndSwap(window, address, expected, 0, desired, 0, sink, ++this.#token, deadline);
    return this.#token;
  }

  fence(): number {
    this.link.fence(this.sink, ++this.#token, this.deadline);
    return this.#token;
  }

  all(): Promise<void> {
    return this.sink.all(this.#token);
  }
}

export interface LinkCase {
  readonly name: string;
  run(
    trial: Trial,
    same: (actual: unknown, expected: unknown, what?: string) => void,
  ): Promise<void>;
}

const bytes = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (seed + i * 13) & 0xff);

/** Where two arrays differ first; -1: nowhere. Large ones are compared so, because it is quick. */
function difference(a: Uint8Array, b: Uint8Array): number {
  return a.length === b.length ? a.findIndex((byte, i) => byte !== b[i]) : 0;
}

export const LINK_CASES: readonly LinkCase[] = [
  {
    name: 'ranges of every kind are written and read, up to the ends of a page',
    async run(trial, same) {
      const model = new Uint8Array(PAGE);
      const sizes = [1, 2, 3, 4, 7, 8, 9, 16, 63, 64, 65, 256, 257, 4096, PIECE_BYTES_MAX];
      for (const size of sizes) {
        for (const at of [0, 1, 4, 8, 9, PAGE - size].filter((each) => each + size <= PAGE)) {
          const from = bytes(size, at + size);
          const into = new Uint8Array(size);
          trial.write(PAGE + at, from);
          trial.read(PAGE + at, into);
          await trial.all();
          model.set(from, at);
          same(difference(into, from), -1, `${size} bytes at ${at}`);
        }
      }
      same(difference(trial.node.bytes(1), model), -1, 'the whole page');
      same(new Set([...trial.sink.told.values()].map((told) => told.status)), new Set([Status.Ok]));
    },
  },
  {
    name: 'atomics find the word that is there, of 64 bits, and wrap',
    async run(trial, same) {
      const first = trial.add(PAGE + 8, 0xffffffff, 0xffffffff);
      const second = trial.add(PAGE + 8, 3);
      const third = trial.swap(PAGE + 8, 2, 9);
      const fourth = trial.swap(PAGE + 8, 2, 7);
      await trial.all();
      const found = (token: number) => [
        trial.sink.told.get(token)?.low,
        trial.sink.told.get(token)?.high,
      ];
      same(found(first), [0, 0]);
      same(found(second), [0xffffffff, 0xffffffff]);
      same(found(third), [2, 0]);
      same(found(fourth), [9, 0]);
      same(trial.sink.told.get(first)?.outcome, 'applied');
    },
  },
  {
    name: 'a page that was never written reads as zeros, and takes writes and atomics',
    async run(trial, same) {
      const into = bytes(16, 1);
      trial.read(3 * PAGE + 8, into);
      await trial.all();
      same(into, new Uint8Array(16));
      trial.write(3 * PAGE, bytes(8, 5));
      trial.add(4 * PAGE, 7);
      const old = trial.add(4 * PAGE, 1);
      await trial.all();
      same(trial.node.bytes(3).slice(0, 8), bytes(8, 5));
      same(trial.sink.told.get(old)?.low, 7);
    },
  },
  {
    name: 'what is not allowed is refused, with nothing changed',
    async run(trial, same) {
      const { node, window } = trial;
      const eight = bytes(8, 1);
      const refused: [Status, number][] = [
        [Status.Invalid, trial.write(2 * PAGE - 4, eight)],
        [Status.Invalid, trial.read(PAGE, new Uint8Array(0))],
        [Status.Invalid, trial.add(PAGE + 4, 1)],
        [Status.NotAllocated, trial.write(9 * PAGE, eight)],
        [Status.Stale, trial.write(PAGE, eight, { ...window, epoch: window.epoch + 9 })],
        [Status.Stale, trial.write(PAGE, eight, { ...window, id: 63 })],
        [Status.Denied, trial.write(PAGE, eight, node.window(EntryFlag.READ))],
        [Status.Denied, trial.add(PAGE, 1, 0, node.window(EntryFlag.READ))],
        [Status.Denied, trial.read(PAGE, eight.slice(), node.window(EntryFlag.WRITE))],
        [Status.Denied, trial.write(PAGE, eight, node.window(BOTH, PAGE + 1))],
        [Status.Denied, trial.write(PAGE, eight, node.window(BOTH, 0, PAGE + 7))],
      ];
      const narrow = trial.write(PAGE, eight, node.window(BOTH, PAGE, PAGE + 8));
      await trial.all();
      for (const [status, token] of refused) {
        same(trial.sink.told.get(token)?.status, status, `operation ${token}`);
        same(trial.sink.told.get(token)?.outcome, 'notApplied', `operation ${token}`);
      }
      same(trial.sink.status(narrow), Status.Ok);
      same(difference(node.bytes(1).subarray(8), new Uint8Array(PAGE - 8)), -1);
    },
  },
  {
    name: 'operations take effect in the order of their start, also where they take other ways',
    async run(trial, same) {
      const reads: [Uint8Array, number][] = [];
      const word = (value: number) => Uint8Array.from([value & 255, value >> 8, 0, 0, 0, 0, 0, 0]);
      for (let i = 0; i < 600; i++) {
        // Page 3 has no frame at first, and there is no page 9.
        const page = i === 200 ? 3 : i === 400 ? 9 : 2;
        trial.write(page * PAGE, word(i));
        const into = new Uint8Array(8);
        trial.read(2 * PAGE, into);
        reads.push([into, page === 2 ? i : i - 1]);
        if (i % 97 === 0) await sleep(trial.runtime.timers, 1);
        if (i % 50 === 0) trial.fence();
      }
      await trial.all();
      for (const [into, value] of reads) same(into, word(value), `a read behind write ${value}`);
      same(trial.sink.told.size, trial.started);
    },
  },
  {
    name: 'a fence ends after everything that was started before it',
    async run(trial, same) {
      for (let i = 0; i < 100; i++) trial.write(PAGE + 8 * i, bytes(8, i));
      trial.write(3 * PAGE, bytes(8, 1));
      const fence = trial.fence();
      const after = trial.write(PAGE, bytes(8, 77));
      await trial.sink.all(fence);
      same(trial.sink.order.indexOf(fence) >= 101, true);
      same(trial.sink.status(fence), Status.Ok);
      await trial.all();
      same(trial.sink.status(after), Status.Ok);
      same(trial.node.bytes(3).slice(0, 8), bytes(8, 1));
    },
  },
  {
    name: 'what is done at once never overtakes what waits',
    async run(trial, same) {
      const { link, window } = trial;
      const into = new Uint8Array(8);
      for (let i = 1; i <= 50; i++) {
        if (i % 3 === 0) trial.write(PAGE, bytes(8, i));
        else if (link.writeNow(window, PAGE, bytes(8, i), 0, 8) === NOT_NOW) {
          trial.write(PAGE, bytes(8, i));
        }
        if (link.readNow(window, PAGE, into, 0, 8) === NOT_NOW) trial.read(PAGE, into);
        if (i % 5 === 0) await trial.all();
        if (i % 5 === 0) same(into, bytes(8, i), `after write ${i}`);
      }
      const status = link.fetchAndAddNow(window, PAGE + 64, 5, 6);
      if (status === NOT_NOW) return;
      same(status, Status.Ok);
      same(link.compareAndSwapNow(window, PAGE + 64, 5, 6, 1, 2), Status.Ok);
      same([link.resultLow, link.resultHigh], [5, 6]);
    },
  },
  {
    name: 'a deadline is told in time, and what may still be executed keeps its place',
    async run(trial, same) {
      const { node } = trial;
      node.isStalled = true;
      const now = trial.runtime.clock.now();
      const late = trial.write(3 * PAGE, bytes(8, 1), trial.window, now + 60);
      await trial.all();
      same(trial.sink.told.get(late)?.outcome, 'unknown');
      same(trial.runtime.clock.now() - now < 10_000, true, 'the time it took');
      const after = trial.write(3 * PAGE, bytes(8, 2));
      node.goOn();
      await trial.all();
      same(trial.sink.status(after), Status.Ok);
      same(node.bytes(3).slice(0, 8), bytes(8, 2));
    },
  },
  {
    name: 'reservations are made, used and ended',
    async run(trial, same) {
      const { link, sink, window, deadline } = trial;
      link.reserve(window, 3 * PAGE, PAGE, sink, 1, deadline, 3);
      link.write(window, 3 * PAGE, bytes(8, 4), 0, 8, sink, 2, deadline, 3);
      link.unreserve(sink, 3, deadline, 3);
      await sink.all(3);
      same(
        [...sink.told.values()].map(({ status }) => status),
        [0, 0, 0],
      );
      same(trial.node.bytes(3).slice(0, 8), bytes(8, 4));
    },
  },
  {
    name: 'thousands at a time are each told once',
    async run(trial, same) {
      for (let i = 0; i < 3000; i++) trial.add(PAGE + 8 * (i % 10), 1);
      await trial.all();
      const view = new DataView(trial.node.bytes(1).slice(0, 80).buffer);
      for (let i = 0; i < 10; i++) same(view.getUint32(8 * i, true), 300, `word ${i}`);
    },
  },
  {
    name: 'closing ends what waits, and what comes after it',
    async run(trial, same) {
      for (let i = 0; i < 20; i++) trial.write(PAGE, bytes(8, i));
      trial.link.close();
      const after = trial.write(PAGE, bytes(8, 1));
      same(trial.link.writeNow(trial.window, PAGE, bytes(8, 1), 0, 8), NOT_NOW);
      await trial.all();
      same(trial.sink.status(after), Status.Closed);
    },
  },
];

/** Runs one case against a link that was made for it. */
export async function runLinkCase(
  { run }: LinkCase,
  under: LinkUnderTest,
  same: (actual: unknown, expected: unknown, what?: string) => void,
): Promise<void> {
  const { node, link } = under;
  for (let page = 1; page <= 4; page++) node.page(page, BOTH, page < 3);
  const window = await link.openWindow(SPACE, 10_000);
  if (typeof window !== 'object') throw new Error(`no window: ${window}`);
  await run(new Trial(under, window), same);
}
