import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EntryFlag } from '../../disk/page-table.js';
import { hasPassed } from '../../disk/slots.js';
import type { Runtime } from '../../runtime/runtime.js';
import { MessageType } from '../../wire/messages.js';
import type { Window } from '../link.js';
import { OperationRing } from '../operation-ring.js';
import { fabricFaults } from '../planted.js';
import { PAGE, SharedNode } from '../testing/shared-node.js';
import { SteppedMemory } from '../testing/stepped-memory.js';
import { Attachment } from './attachment.js';
import { OneSided } from './one-sided.js';
import { Elsewhere, SURE, UNSURE } from './step.js';

const ME = { client: 7, identity: 'me', memoryId: 4711 };
const { Read, Write, CompareAndSwap, FetchAndAdd } = MessageType;

class Bench {
  readonly memory = new SteppedMemory();
  readonly node: SharedNode;
  readonly window: Window;
  readonly steps: OneSided;
  severalEnded = 0;

  constructor() {
    const runtime = { memory: this.memory } as unknown as Runtime;
    this.node = new SharedNode(runtime);
    this.node.page(1);
    this.window = this.node.window();
    const opened = Attachment.open(runtime, this.node.attach(ME.client, ME.identity), ME);
    if (typeof opened === 'string') throw new Error(opened);
    this.steps = new OneSided(opened, this.memory, () => void this.severalEnded++);
  }

  /** One read or write at once; the reason why it is to go elsewhere. */
  go(type: number, address: number, buffer: Uint8Array, window = this.window): Elsewhere {
    this.steps.one(type, window, address, buffer.length, buffer, 0);
    this.memory.runNow(this.steps);
    return this.steps.elsewhere;
  }

  atomic(type: number, address: number, first: bigint, second = 0n, window = this.window): bigint {
    const half = (value: bigint, by: bigint): number => Number((value >> by) & 0xffffffffn);
    const halves = [
      half(first, 0n),
      half(first, 32n),
      half(second, 0n),
      half(second, 32n),
    ] as const;
    this.steps.oneAtomic(type, window, address, ...halves);
    this.memory.runNow(this.steps);
    if (this.steps.elsewhere !== Elsewhere.None) throw new Error(`${this.steps.elsewhere}`);
    return BigInt(this.steps.oldLow[0] ?? 0) | (BigInt(this.steps.oldHigh[0] ?? 0) << 32n);
  }
}

const bytes = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (seed + i * 7) & 0xff);

describe('what a step does', () => {
  test('reads and writes of every short length at every place show what they should', () => {
    const b = new Bench();
    const model = bytes(PAGE);
    b.node.bytes(1).set(model);
    for (let length = 1; length <= 72; length++) {
      for (const at of [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 60, PAGE - length]) {
        const from = bytes(length, at + length);
        expect(b.go(Write, PAGE + at, from)).toBe(Elsewhere.None);
        model.set(from, at);
        const into = new Uint8Array(length);
        expect(b.go(Read, PAGE + at, into)).toBe(Elsewhere.None);
        expect(into).toEqual(from);
      }
    }
    for (const length of [256, 257, 264, 4096, PAGE]) {
      const into = new Uint8Array(length);
      expect(b.go(Read, PAGE, into)).toBe(Elsewhere.None);
      expect(into).toEqual(model.subarray(0, length));
    }
    expect(b.node.bytes(1)).toEqual(model);
    expect(b.node.generationOf()).toBe(0);
  });

  test('atomics return the word that was there, and wrap', () => {
    const b = new Bench();
    const largest = 2n ** 64n - 1n;
    expect(b.atomic(FetchAndAdd, PAGE + 8, largest)).toBe(0n);
    expect(b.atomic(FetchAndAdd, PAGE + 8, 0x1_0000_0002n)).toBe(largest);
    expect(b.atomic(CompareAndSwap, PAGE + 8, 5n, 9n)).toBe(0x1_0000_0001n);
    expect(b.atomic(CompareAndSwap, PAGE + 8, 0x1_0000_0001n, largest)).toBe(0x1_0000_0001n);
    expect(b.atomic(CompareAndSwap, PAGE + 8, 0n, 0n)).toBe(largest);
  });

  test('a page without a frame reads as zeros, and is written by a message', () => {
    const b = new Bench();
    b.node.page(2, EntryFlag.READ | EntryFlag.WRITE, false);
    const into = new Uint8Array(24).fill(9);
    expect(b.go(Read, 2 * PAGE + 8, into)).toBe(Elsewhere.None);
    expect(into).toEqual(new Uint8Array(24));
    expect(b.steps.certainty[0]).toBe(SURE);
    expect(b.go(Write, 2 * PAGE, into)).toBe(Elsewhere.NoFrame);
    expect(() => b.atomic(FetchAndAdd, 2 * PAGE, 1n)).toThrow(`${Elsewhere.NoFrame}`);
  });

  test('what it may not do, or does not find, goes elsewhere and changes nothing', () => {
    const b = new Bench();
    const { node, window } = b;
    const eight = bytes(8);
    const before = node.bytes(1).slice();
    const page2 = node.page(2, EntryFlag.READ);
    const cases: [Elsewhere, number, number, Window?, Uint8Array?][] = [
      [Elsewhere.NoPage, Write, 9 * PAGE],
      [Elsewhere.NoPage, Read, 2 ** 52],
      [Elsewhere.Window, Write, PAGE, { ...window, epoch: window.epoch + 1 }],
      [Elsewhere.Window, Write, PAGE, { ...window, id: 60 }],
      [Elsewhere.Window, Write, PAGE, { ...window, id: -1 }],
      [Elsewhere.Window, Write, PAGE, { ...window, id: 1e6 }],
      [Elsewhere.Window, Write, -8],
      [Elsewhere.Window, Write, Number.NaN],
      [Elsewhere.Window, Write, 2 ** 53],
      [Elsewhere.Window, Write, PAGE, node.window(6, PAGE + 1)],
      [Elsewhere.Window, Write, PAGE, node.window(6, 0, PAGE + 7)],
      [Elsewhere.Rights, Write, PAGE, node.window(EntryFlag.READ)],
      [Elsewhere.Rights, Read, PAGE, node.window(EntryFlag.WRITE)],
      [Elsewhere.Rights, Write, 2 * PAGE],
      [Elsewhere.Rights, FetchAndAdd, 2 * PAGE],
      [Elsewhere.Form, Write, PAGE - 4],
      [Elsewhere.Form, Write, PAGE, window, new Uint8Array(0)],
      [Elsewhere.Form, FetchAndAdd, PAGE + 4],
    ];
    for (const [why, type, address, through = window, buffer = eight] of cases) {
      const act = (): unknown =>
        type === FetchAndAdd
          ? b.atomic(type, address, 1n, 0n, through)
          : expect(b.go(type, address, buffer, through)).toBe(why);
      if (type === FetchAndAdd) expect(act).toThrow(`${why}`);
      else act();
      expect(node.generationOf()).toBe(0);
      expect(b.steps.done).toBe(0);
    }
    node.table.pages.setFlags(page2, EntryFlag.VALID | EntryFlag.READ | EntryFlag.PAUSED);
    expect(b.go(Read, 2 * PAGE, eight)).toBe(Elsewhere.Paused);
    node.table.pages.setFrame(page2, 1e6 as never);
    expect(b.go(Read, 2 * PAGE, eight)).toBe(Elsewhere.Moved);
    node.table.alive = 0;
    expect(b.go(Read, PAGE, eight)).toBe(Elsewhere.NotAlive);
    expect(node.bytes(1)).toEqual(before);
  });

  test('a batch is done in order up to the first that is not', () => {
    const b = new Bench();
    const ring = new OperationRing();
    const into = new Uint8Array(8);
    const push = (type: number, address: number, buffer?: Uint8Array, add = 0): void => {
      const place = ring.push();
      ring.type[place] = type;
      ring.window[place] = b.window;
      ring.address[place] = address;
      ring.bytes[place] = 8;
      ring.buffer[place] = buffer;
      ring.start[place] = 0;
      ring.operands.set([add, 0, 0, 0], place * 4);
    };
    push(Write, PAGE, bytes(8));
    push(Read, PAGE, into);
    push(FetchAndAdd, PAGE + 8, undefined, 5);
    push(FetchAndAdd, PAGE + 8, undefined, 1);
    push(Write, 9 * PAGE, bytes(8));
    push(Write, PAGE + 16, bytes(8));
    b.steps.several(ring, 0, 6);
    b.memory.runNow(b.steps);
    expect([b.steps.done, b.steps.elsewhere, b.severalEnded]).toEqual([4, Elsewhere.NoPage, 1]);
    expect(into).toEqual(bytes(8));
    expect(b.steps.oldLow[3]).toBe(5);
    expect(b.node.bytes(1).subarray(16, 24)).toEqual(new Uint8Array(8));
    expect([...b.steps.certainty.subarray(0, 4)]).toEqual([SURE, SURE, SURE, SURE]);
  });
});

/** What a node may do in the middle of a step, and what must hold when the step has ended. */
type Meddling = (b: Bench) => () => void;

/** Tries it before every access of a write; returns how the write ended, by access. */
function tryEverywhere(meddle: Meddling, length = 24): string[] {
  const ends: string[] = [];
  for (let access = 0; ; access++) {
    const b = new Bench();
    b.memory.holdsBack = true;
    // Not of whole words: so that it is copied at once, and may be held back.
    const from = bytes(length + 1, 100);
    let judge = (): void => undefined;
    b.memory.before = (at) => {
      if (at === access) judge = meddle(b);
    };
    b.go(Write, PAGE + 64, from);
    judge();
    const { done, certainty } = b.steps;
    ends.push(done === 0 ? 'elsewhere' : certainty[0] === SURE ? 'sure' : 'unsure');
    expect(b.node.generationOf()).toBe(0);
    if (access > b.memory.accesses) return ends;
  }
}

const written = (b: Bench): boolean => b.node.bytes(1)[64] === 100;

/** The page is cut off from a thread that is taken for stuck, as copy on revoke does it. */
const cutOff: Meddling = (b) => {
  b.node.cutOff(1);
  return () => {
    const isSure = b.steps.done === 1 && b.steps.certainty[0] === SURE;
    if (isSure) expect(written(b), 'an acknowledged write is there').toBe(true);
  };
};

/** The page is freed, and its frame given to another as soon as no slot publishes it. */
const reuse: Meddling = (b) => {
  const { node } = b;
  const entry = node.entry(1);
  const frame = node.table.pages.frameOf(entry);
  Atomics.store(node.table.pages.words, entry + 2, 0);
  node.table.pages.remove(entry);
  const isHeld = node.generationOf() !== 0 && node.publishedFrame() === frame;
  if (isHeld) return () => undefined;
  const other = node.table.pages.insert(6, 77, EntryFlag.READ | EntryFlag.WRITE);
  node.table.pages.setFrame(other, frame as never);
  const bytesOf = node.frames.bytes.subarray(frame * PAGE, (frame + 1) * PAGE).fill(3);
  return () => expect(bytesOf[64], 'the new owner has its own bytes').toBe(3);
};

/** Access is taken away; once that is told, nothing may change any more. */
function takeAway(change: (b: Bench) => void): Meddling {
  return (b) => {
    change(b);
    const { table } = b.node;
    const required = table.raiseGeneration();
    if (!hasPassed(b.node.generationOf(), required, table.generation)) return () => undefined;
    const before = written(b);
    return () => expect(written(b), 'nothing changes after access was taken').toBe(before);
  };
}

const meddlings: Record<string, Meddling> = {
  cutOff,
  reuse,
  protect: takeAway((b) =>
    b.node.table.pages.setFlags(b.node.entry(1), EntryFlag.VALID | EntryFlag.READ),
  ),
  closeWindow: takeAway((b) => b.node.table.windows.close(b.window.id)),
};

describe('what the node does in the middle', () => {
  for (const [name, meddle] of Object.entries(meddlings)) {
    test(`${name}, before any access`, () => {
      const ends = tryEverywhere(meddle);
      expect(ends.at(-1)).toBe('sure');
      expect(ends).toContain('elsewhere');
    });
  }

  test('a restart is never missed', () => {
    const ends = tryEverywhere((b) => {
      b.node.restart();
      return () => undefined;
    });
    expect(ends[0]).toBe('elsewhere');
    expect(ends).toContain('unsure');
    // Only behind the last look at `alive` it is too late.
    expect(ends.indexOf('sure')).toBeGreaterThan(ends.lastIndexOf('unsure'));
  });

  test('a window that is closed and opened for something else is not taken for itself', () => {
    tryEverywhere((b) => {
      const { windows } = b.node.table;
      windows.close(b.window.id);
      windows.open(b.window.id, 5, { spaceWord: 0, rights: 6, base: 0, end: 2 ** 40 });
      const before = written(b);
      return () => {
        if (b.steps.done === 1 && !before) expect(b.steps.certainty[0]).toBe(UNSURE);
      };
    });
  });

  test('a page that comes back with its frame is no way around a closed window', () => {
    for (let first = 0; first < 20; first++) {
      for (let second = first; second < 20; second++) {
        const b = new Bench();
        const { node } = b;
        const { pages, windows } = node.table;
        const frame = pages.frameOf(node.entry(1));
        let rests = false;
        let isBack = false;
        b.memory.before = (access) => {
          if (access === first) {
            pages.remove(node.entry(1));
            rests = node.generationOf() !== 0 && node.publishedFrame() === frame;
          }
          if (access !== second) return;
          // No page has the frame that the slot publishes, so there is nothing to wait for.
          windows.close(b.window.id);
          if (rests) return;
          pages.setFrame(node.page(1, undefined, false), frame as never);
          node.bytes(1).fill(3);
          isBack = true;
        };
        b.go(Write, PAGE + 64, bytes(8, 100));
        if (isBack) expect([first, second, node.bytes(1)[64]]).toEqual([first, second, 3]);
      }
    }
  });

  test('an entry that another page takes over does not read as zeros', () => {
    for (let first = 0; first < 20; first++) {
      for (let second = first; second < 20; second++) {
        const b = new Bench();
        const { pages } = b.node.table;
        const entry = b.node.entry(1);
        b.node.bytes(1).fill(9);
        b.memory.before = (access) => {
          if (access === first) {
            // The first half of what `remove` does.
            pages.setFlags(entry, pages.flagsOf(entry) | EntryFlag.PAUSED);
            Atomics.store(pages.words, entry + 2, 0);
          }
          if (access !== second) return;
          pages.words.set([77, pages.words[entry + 1] ?? 0, 0], entry);
          Atomics.store(pages.words, entry + 3, EntryFlag.VALID | EntryFlag.READ);
        };
        const into = new Uint8Array(8).fill(1);
        b.go(Read, PAGE, into);
        const isSure = b.steps.done === 1 && b.steps.certainty[0] === SURE;
        if (isSure) expect([...into], `${first}, ${second}`).toEqual(new Array(8).fill(9));
      }
    }
  });

  test('a generation that moves all the time sends the operation elsewhere', () => {
    const b = new Bench();
    b.memory.before = () => void b.node.table.raiseGeneration();
    expect(b.go(Write, PAGE, bytes(8))).toBe(Elsewhere.Moved);
    expect(b.node.generationOf()).toBe(0);
  });

  test('the mark is never behind a generation that was loaded after it', () => {
    const b = new Bench();
    b.memory.before = (access) => {
      // Between the load and the mark: 2^31 raises would make an old mark look new.
      if (access === 2) b.node.table.raiseGeneration();
      if (access === 6) expect(b.node.generationOf()).toBe(b.node.table.generation);
    };
    expect(b.go(Write, PAGE, bytes(8))).toBe(Elsewhere.None);
  });
});

describe('planted bugs are met', () => {
  type Fault = keyof typeof fabricFaults;
  beforeEach(() => expect(Object.values(fabricFaults)).not.toContain(true));
  afterEach(() => {
    for (const name of Object.keys(fabricFaults)) fabricFaults[name as Fault] = false;
  });
  const expected: [Fault, Meddling][] = [
    ['epochCheckedBeforeOnly', cutOff],
    ['verifiedBeforeIdle', cutOff],
    ['slotNotIdle', reuse],
    ['checkedBeforePublished', reuse],
  ];
  for (const [fault, meddle] of expected) {
    test(fault, () => {
      fabricFaults[fault] = true;
      expect(() => tryEverywhere(meddle)).toThrow();
    });
  }
});
