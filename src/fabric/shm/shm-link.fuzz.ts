/**
 * One client's operations on a few words, at once, in steps and as messages, on bad days. They are
 * replayed in the order in which they were started: what each was told must be possible.
 * `MEMRACK_FUZZ` sets the number of days, `MEMRACK_SEED` the first one's seed.
 */

import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import { EntryFlag } from '../../disk/page-table.js';
import { type CompletionSink, NOT_NOW, type Window } from '../link.js';
import { fabricFaults } from '../planted.js';
import { PAGE, SPACE } from '../testing/shared-node.js';
import { ShmRig } from '../testing/shm-rig.js';

const DAYS = Number(process.env['MEMRACK_FUZZ'] ?? 20_000) / 400;
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const OPERATIONS = 300;
const PAGES = 4;
const WORDS = 4 * PAGES;
const BOTH = EntryFlag.READ | EntryFlag.WRITE;

type Kind = 'read' | 'write' | 'add' | 'swap';

interface Operation {
  readonly kind: Kind;
  readonly word: number;
  readonly words: number;
  /** What is written or added; of a swap the desired word. */
  readonly value: bigint;
  readonly expected: bigint;
  readonly buffer: Uint8Array;
  status: Status | undefined;
  old: bigint;
}

const addressOf = (word: number): number =>
  PAGE * (1 + Math.floor(word / 4)) + PAGE / 2 + (word % 4) * 8;
const low = (value: bigint): number => Number(value & 0xffffffffn);
const high = (value: bigint): number => Number(value >> 32n);
const wide = (value: bigint): bigint => BigInt.asUintN(64, value);

class Day {
  readonly rig = new ShmRig('a process', { frames: 200 });
  readonly operations: Operation[] = [];
  readonly #prng: Prng;
  #window!: Window;
  #isRestartDue = false;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
  }

  async run(): Promise<void> {
    const { rig } = this;
    for (let page = 1; page <= PAGES; page++) rig.node.page(page, BOTH, page < 3);
    const window = await rig.result(rig.link.openWindow(SPACE, 5000));
    if (typeof window !== 'object') throw new Error(`no window: ${window}`);
    this.#window = window;
    await rig.attach();
    rig.memory.before = () => this.#meddle();
    while (this.operations.length < OPERATIONS) {
      for (let i = this.#prng.below(12); i > 0; i--) this.#start();
      await this.#letPass();
    }
    await this.#calm();
  }

  /** In the middle of a step. */
  #meddle(): void {
    const { node, memory } = this.rig;
    const chance = this.#prng.below(4000);
    if (chance > 3) return;
    if (chance === 3) {
      node.restart();
      this.#isRestartDue = true;
      return;
    }
    memory.holdsBack = chance === 0;
    const page = 1 + this.#prng.below(2);
    if (node.free.length > 20) node.cutOff(page);
  }

  async #letPass(): Promise<void> {
    const { rig } = this;
    const { node, memory, world } = rig;
    const chance = this.#prng.below(40);
    if (chance < 2) memory.isSlow = !memory.isSlow;
    if (chance === 3) node.isStalled = true;
    if (chance === 4 || chance === 5) node.goOn();
    if (chance === 6) world.cutAll();
    if (chance === 7 && this.#prng.below(4) === 0) this.#isRestartDue = true;
    if (this.#isRestartDue && !memory.isWaiting) {
      this.#isRestartDue = false;
      node.isStalled = false;
      await rig.restart();
    }
    await world.run(() => false, this.#prng.below(8) === 0 ? this.#prng.below(80) : 0.05);
    if (this.#prng.below(2) === 0) memory.finish();
  }

  async #calm(): Promise<void> {
    const { rig } = this;
    rig.memory.before = () => undefined;
    rig.memory.isSlow = false;
    rig.memory.finish();
    rig.node.goOn();
    if (this.#isRestartDue) await rig.restart();
    await rig.world.run(() => this.operations.every((each) => each.status !== undefined));
  }

  #draw(wanted?: Kind): Operation {
    const prng = this.#prng;
    const kinds = ['read', 'write', 'write', 'add', 'swap'] as const;
    const kind = wanted ?? kinds[prng.below(5)] ?? 'read';
    const word = prng.below(WORDS);
    const most = 4 - (word % 4);
    const words = kind === 'read' || kind === 'write' ? 1 + prng.below(most) : 1;
    const value = BigInt(prng.u32()) << BigInt(prng.below(33));
    const buffer = new Uint8Array(8 * words);
    const view = new DataView(buffer.buffer);
    for (let i = 0; i < words; i++) view.setBigUint64(8 * i, wide(value + BigInt(i)), true);
    // Rather one that is there.
    const writes = this.operations.filter((each) => each.word === word && each.kind === 'write');
    const expected = writes.at(-1)?.value ?? 0n;
    return { kind, word, words, value, expected, buffer, status: undefined, old: 0n };
  }

  #start(): void {
    if (this.#prng.below(8) === 0) {
      this.#startTogether(this.#prng.below(2) === 0 ? 'read' : 'write');
      return;
    }
    const operation = this.#draw();
    this.operations.push(operation);
    if (this.#prng.below(2) === 0 && this.#startNow(operation)) return;
    this.#queue(operation);
  }

  #startTogether(kind: 'read' | 'write'): void {
    const { together } = this.rig.link;
    const window = this.#window;
    const all = Array.from({ length: 1 + this.#prng.below(6) }, () => this.#draw(kind));
    for (const { word, buffer } of all) {
      const at = addressOf(word);
      if (kind === 'read') together.addRead(window, at, buffer, 0, buffer.length);
      else together.addWrite(window, at, buffer, 0, buffer.length);
    }
    const done = together.run();
    for (const [i, operation] of all.entries()) {
      const status = i < done ? together.statusOf(i) : NOT_NOW;
      this.operations.push(operation);
      if (status === NOT_NOW) this.#queue(operation);
      else operation.status = status as Status;
    }
  }

  #queue(operation: Operation): void {
    const { rig } = this;
    const { link } = rig;
    const { kind, buffer, value, expected } = operation;
    const address = addressOf(operation.word);
    const deadline = rig.world.nowMs + (this.#prng.below(3) === 0 ? 25 : 5_000);
    const sink: CompletionSink = {
      completed(_token, status, _outcome, oldLow, oldHigh) {
        if (operation.status !== undefined) throw new Error('told twice');
        operation.status = status;
        operation.old = BigInt(oldLow) | (BigInt(oldHigh) << 32n);
      },
    };
    const window = this.#window;
    if (kind === 'read') link.read(window, address, buffer, 0, buffer.length, sink, 0, deadline);
    else if (kind === 'write') {
      link.write(window, address, buffer, 0, buffer.length, sink, 0, deadline);
    } else if (kind === 'add') {
      link.fetchAndAdd(window, address, low(value), high(value), sink, 0, deadline);
    } else {
      const [el, eh] = [low(expected), high(expected)];
      link.compareAndSwap(window, address, el, eh, low(value), high(value), sink, 0, deadline);
    }
  }

  #startNow(operation: Operation): boolean {
    const { link } = this.rig;
    const { kind, buffer, value, expected } = operation;
    const window = this.#window;
    const at = addressOf(operation.word);
    let status: number;
    if (kind === 'read') status = link.readNow(window, at, buffer, 0, buffer.length);
    else if (kind === 'write') status = link.writeNow(window, at, buffer, 0, buffer.length);
    else if (kind === 'add') status = link.fetchAndAddNow(window, at, low(value), high(value));
    else {
      const [el, eh] = [low(expected), high(expected)];
      status = link.compareAndSwapNow(window, at, el, eh, low(value), high(value));
    }
    if (status === NOT_NOW) return false;
    operation.status = status as Status;
    operation.old = BigInt(link.resultLow) | (BigInt(link.resultHigh) << 32n);
    return true;
  }
}

/** What a word can hold, operation by operation. */
function replay(day: Day): void {
  const possible = Array.from({ length: WORDS }, () => new Set([0n]));
  for (const [index, operation] of day.operations.entries()) {
    const { kind, status, words } = operation;
    expect(status, `${index}: ${kind} was told`).toBeDefined();
    const view = new DataView(operation.buffer.buffer);
    for (let i = 0; i < words; i++) {
      const at = operation.word + i;
      const before = possible[at] ?? new Set();
      const seen = kind === 'read' ? view.getBigUint64(8 * i, true) : operation.old;
      if (status === Status.Ok && kind !== 'write' && !before.has(seen)) {
        const all = [...before].join(', ');
        throw new Error(`operation ${index}, ${kind} of word ${at}: ${seen}, possible: ${all}`);
      }
      possible[at] = after(operation, before, seen, view.getBigUint64(8 * i, true));
    }
  }
  for (let word = 0; word < WORDS; word++) {
    const entry = day.rig.node.entry(1 + Math.floor(word / 4));
    if (day.rig.node.table.pages.frameOf(entry) < 0) continue;
    const page = day.rig.node.bytes(1 + Math.floor(word / 4));
    const view = new DataView(page.buffer, page.byteOffset);
    const found = view.getBigUint64(addressOf(word) % PAGE, true);
    expect([...(possible[word] ?? [])], `word ${word} in the end`).toContain(found);
  }
}

function after(op: Operation, before: Set<bigint>, seen: bigint, written: bigint): Set<bigint> {
  const { kind, status } = op;
  const isUnknown = status === Status.OutcomeUnknown;
  if (status !== Status.Ok && !isUnknown) return before;
  if (kind === 'read') return isUnknown ? before : new Set([seen]);
  const base = isUnknown ? before : new Set([seen]);
  const results = kind === 'write' ? [written] : [...base].map((old) => changed(op, old));
  return isUnknown ? new Set([...before, ...results]) : new Set(results);
}

function changed(op: Operation, old: bigint): bigint {
  if (op.kind === 'add') return wide(old + op.value);
  return old === op.expected ? wide(op.value) : old;
}

async function tryDay(seed: number): Promise<Day> {
  const day = new Day(seed);
  await day.run();
  try {
    replay(day);
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return day;
}

test('whatever happens, operations count once and in the order of their start', async () => {
  const sums = { alone: 0, batched: 0, messages: 0, unknown: 0, attachments: 0 };
  for (let seed = SEED; seed < SEED + DAYS; seed++) {
    const { rig, operations } = await tryDay(seed);
    const { counters } = rig.link;
    sums.alone += counters.operationsAlone;
    sums.batched += counters.operationsInBatches;
    sums.messages += rig.node.executed.length;
    sums.attachments += counters.attachments;
    sums.unknown += operations.filter((each) => each.status === Status.OutcomeUnknown).length;
  }
  for (const [name, sum] of Object.entries(sums)) expect(sum, name).toBeGreaterThan(50);
});

for (const fault of ['shmBesideTcp', 'epochCheckedBeforeOnly'] as const) {
  test(`a planted bug is found: ${fault}`, async () => {
    fabricFaults[fault] = true;
    try {
      const search = async (): Promise<void> => {
        for (let seed = 1; seed <= 200; seed++) await tryDay(seed);
      };
      await expect(search()).rejects.toThrow(/seed \d+/);
    } finally {
      fabricFaults[fault] = false;
    }
  });
}
