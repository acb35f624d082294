/**
 * One slab, whose copies are at nodes that are slow, paused, killed and lost; writers that are
 * killed, or stand still while others go on; a controller whose row alone says which copies count,
 * and whose answers are lost. Looked at is what a program sees: for each block the values that it
 * may have. A write that was acknowledged leaves one; one whose end is unknown adds one; a read
 * shows one of them, and from then on it is that one.
 */

import { expect, test } from 'vitest';
import { crc32c } from '../base/crc32c.js';
import type { Prng } from '../base/prng.js';
import { Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import type { Paced } from './copy.js';
import { BLOCK_BYTES, layoutOf, PIECE_BLOCKS } from './layout.js';
import { replicationFaults } from './planted.js';
import { ReplicaSet } from './replica-set.js';
import { seedThatShows } from './testing/planted-seed.js';
import { Broken, LendingNode, Path, type PathOwner, World } from './testing/slab-world.js';

const SLAB_BYTES = 2 * 263_000;
const LAYOUT = layoutOf(SLAB_BYTES);
const BLOCKS_USED = 24;
/** Those that are used, in both areas, some of them side by side. */
const BLOCKS = Array.from({ length: BLOCKS_USED }, (_, i) => (i < 12 ? i : 52 + i));
const OPERATIONS = 220;
const DROP_AFTER_MS = 150;

interface Row {
  generation: number;
  copies: { id: number; node: number }[];
}

/** A host with the lease, and what it does when copies fail. */
class Writer implements PathOwner {
  readonly rig: Rig;
  readonly world: World;
  readonly epoch: number;
  isAlive = true;
  pausedUntilMs = 0;
  set: ReplicaSet | undefined;
  #row: Row;
  /** Sets change one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #isDropping = false;
  isLearning = false;

  constructor(rig: Rig, epoch: number, row: Row) {
    this.rig = rig;
    this.world = rig.world;
    this.epoch = epoch;
    this.#row = row;
  }

  whenAwake(run: () => void): void {
    const { world } = this.rig;
    if (!this.isAlive) return;
    if (world.nowMs < this.pausedUntilMs) world.at(this.pausedUntilMs, () => this.whenAwake(run));
    else run();
  }

  async begin(isNew: boolean): Promise<void> {
    const { world, nodes } = this.rig;
    const lost = this.#row.copies.filter(({ node }) => nodes[node]?.isLost === true);
    for (const { id } of lost) {
      if (this.#row.copies.length > 1) await this.#change((one) => one.id !== id);
    }
    const copies = this.#row.copies.map(
      ({ id, node }) => new Path(id, nodes[node] as LendingNode, this),
    );
    const timers = {
      after: (ms: number, run: () => void) => world.after(ms, () => this.whenAwake(run)),
      soon: (run: () => void) => world.soon(() => this.whenAwake(run)),
    };
    this.set = new ReplicaSet({
      ...{ clock: world, timers, checksum: { crc32c }, layout: LAYOUT, copies, isNew },
      keeper: {
        failing: (id, status, sinceMs) => this.#failing(id, status, sinceMs),
        confirm: () => Promise.resolve(this.isAlive && this.epoch === this.rig.rowEpoch),
        damaged: (_id, block, isRepaired) => {
          if (!isRepaired) throw new Broken(`block ${block} is damaged everywhere`);
          this.rig.repaired += 1;
        },
      },
    });
    if (!isNew) await this.set.upkeep.begin();
  }

  end(): void {
    this.isAlive = false;
    this.set?.stop();
  }

  #failing(id: number, status: Status, since: number): void {
    if (status === Status.Stale) {
      this.set?.stop();
      return;
    }
    const { world } = this.rig;
    if (world.nowMs - since < DROP_AFTER_MS || this.#isDropping || this.rig.isHarmed) return;
    this.#isDropping = true;
    void this.#drop(id).finally(() => (this.#isDropping = false));
  }

  async #drop(id: number): Promise<void> {
    if ((await this.set?.upkeep.canSpare(id)) !== true) return;
    if (await this.#change((one) => one.id !== id)) this.set?.drop(id);
    else this.set?.stop();
  }

  #change(
    keeps: (copy: Row['copies'][number]) => boolean,
    added?: Row['copies'][number],
  ): Promise<boolean> {
    const changed = this.#turn.then(() => this.#changeNow(keeps, added));
    this.#turn = changed;
    return changed;
  }

  /** Asks until it knows. False: the row is another writer's by now. */
  async #changeNow(
    keeps: (copy: Row['copies'][number]) => boolean,
    added?: Row['copies'][number],
  ): Promise<boolean> {
    const { rig } = this;
    const copies = [...this.#row.copies.filter(keeps), ...(added === undefined ? [] : [added])];
    const wish = { generation: this.#row.generation + 1, copies };
    for (;;) {
      await rig.world.sleep(rig.prng.fraction() * 8);
      const answer = rig.changeRow(this.epoch, wish);
      await rig.world.sleep(rig.prng.fraction() * 8);
      if (!this.isAlive) return new Promise(() => undefined);
      if (rig.prng.chance(150_000)) continue;
      if (answer) this.#row = wish;
      return answer;
    }
  }

  /** Another copy, at a node that has none. */
  async learn(): Promise<void> {
    const { nodes, prng } = this.rig;
    const used = new Set(this.#row.copies.map(({ node }) => node));
    const free = nodes.flatMap((node, i) => (node.isLost || used.has(i) ? [] : [i]));
    const place = free.length === 0 ? undefined : prng.pick(free);
    if (place === undefined || this.set?.isOver !== false || this.isLearning) return;
    if (this.#row.copies.length >= 3) return;
    this.isLearning = true;
    const id = this.rig.newCopy(place);
    const copy = new Path(id, nodes[place] as LendingNode, this);
    const paced: Paced = async (_bytes, work) => {
      await this.rig.world.sleep(prng.fraction() * 900);
      return work();
    };
    const hasAll = await this.set.upkeep.learn(copy, paced);
    await this.rig.world.sleep(prng.fraction() * 900);
    if (hasAll && this.set.ask(id)) {
      const isDone = await this.#change(() => true, { id, node: place });
      if (isDone) this.set.joined();
      else this.set.stop();
    }
    this.isLearning = false;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class Rig {
  readonly world: World;
  readonly prng: Prng;
  readonly nodes = Array.from({ length: 4 }, () => new LendingNode());
  row: Row = { generation: 0, copies: [] };
  rowEpoch = 0;
  writer!: Writer;
  /** By block: what it may hold; the values are numbers, 0 the zeros. */
  readonly may = new Map<number, Set<number>>(BLOCKS.map((block) => [block, new Set([0])]));
  readonly busy = new Set<number>();
  value = 0;
  acknowledged = 0;
  trimmed = 0;
  unknown = 0;
  read = 0;
  repaired = 0;
  /** A copy is damaged: the others are needed for that. */
  isHarmed = false;
  #copies = 0;

  constructor(seed: number) {
    this.world = new World(seed, turn);
    this.prng = this.world.prng;
  }

  newCopy(place: number): number {
    this.#copies += 1;
    (this.nodes[place] as LendingNode).copies.set(this.#copies, new Uint8Array(SLAB_BYTES));
    return this.#copies;
  }

  /** As the controller does it: by the holder of the last epoch, from the generation before. */
  changeRow(epoch: number, wish: Row): boolean {
    if (epoch !== this.rowEpoch) return false;
    const isSame = JSON.stringify(this.row) === JSON.stringify(wish);
    if (!isSame && this.row.generation !== wish.generation - 1) return false;
    this.row = wish;
    return true;
  }

  async nextWriter(): Promise<void> {
    const isNew = this.rowEpoch === 0;
    this.rowEpoch += 1;
    const epoch = this.rowEpoch;
    for (const node of this.nodes) {
      while (!node.isLost && this.world.nowMs < node.pausedUntilMs) await this.world.sleep(5);
      node.epoch = epoch;
    }
    this.writer = new Writer(this, epoch, this.row);
    // What the one before has not told is not told any more.
    this.busy.clear();
    await this.writer.begin(isNew);
  }

  isWell(node: LendingNode): boolean {
    return !node.isLost && this.world.nowMs >= node.pausedUntilMs;
  }
}

const bytesOf = (value: number, block: number): Uint8Array => {
  const bytes = new Uint8Array(BLOCK_BYTES);
  if (value > 0) new Float64Array(bytes.buffer).fill(value * 1000 + block);
  return bytes;
};

function valueOf(bytes: Uint8Array, start: number, block: number): number {
  const words = new Float64Array(bytes.buffer, start, BLOCK_BYTES / 8);
  const word = words[0] as number;
  const isWhole = words.every((one) => one === word);
  const value = word === 0 ? 0 : (word - block) / 1000;
  if (!isWhole || !Number.isInteger(value)) throw new Broken(`block ${block} shows no value`);
  return value;
}

/** One operation of a program; blocks are never used twice at a time. */
function operation(rig: Rig): void {
  const { prng, world } = rig;
  const set = rig.writer.set;
  if (set === undefined) return;
  const first = prng.pick(BLOCKS);
  const most = prng.between(1, 3);
  const blocks: number[] = [];
  for (let block = first; block < first + most; block++) {
    const isNext = block === first || block % PIECE_BLOCKS !== 0;
    if (!rig.may.has(block) || rig.busy.has(block) || !isNext) break;
    blocks.push(block);
  }
  if (blocks.length === 0) return;
  for (const block of blocks) rig.busy.add(block);
  const deadline = world.nowMs + prng.pick([100, 1_500, 6_000]);
  const { writer } = rig;
  const free = (): void => blocks.forEach((block) => rig.busy.delete(block));
  const buffer = new Uint8Array(blocks.length * BLOCK_BYTES);
  const isNow = prng.chance(500_000) && world.nowMs >= writer.pausedUntilMs;
  if (prng.chance(500_000)) {
    rig.value += 1;
    const isTrim = rig.value % 6 === 5;
    const value = isTrim ? 0 : rig.value;
    blocks.forEach((block, i) => buffer.set(bytesOf(value, block), i * BLOCK_BYTES));
    // A writer that is killed tells nobody.
    const before = blocks.map((block) => rig.may.get(block) as Set<number>);
    blocks.forEach((block, i) => rig.may.set(block, new Set([...(before[i] ?? []), value])));
    const completed = (_token: number, status: Status): void => {
      if (status === Status.Ok) {
        rig.acknowledged += 1;
        rig.trimmed += isTrim ? 1 : 0;
        for (const block of blocks) rig.may.set(block, new Set([value]));
      } else if (outcomeOf(status) === 'notApplied') {
        blocks.forEach((block, i) => rig.may.set(block, before[i] as Set<number>));
      } else rig.unknown += 1;
      free();
    };
    if (isTrim) {
      set.trim(first, blocks.length, guarded(writer, completed), 0, deadline);
      return;
    }
    const now = isNow ? set.writeNow(first, blocks.length, buffer, 0) : NOT_NOW;
    if (now !== NOT_NOW) completed(0, now as Status);
    else set.write(first, blocks.length, buffer, 0, guarded(writer, completed), 0, deadline);
  } else {
    const completed = (_token: number, status: Status): void => {
      if (status === Status.Corrupt) throw new Broken(`block ${first} is said to be corrupt`);
      if (status === Status.Ok) {
        rig.read += 1;
        blocks.forEach((block, i) => {
          const value = valueOf(buffer, i * BLOCK_BYTES, block);
          const may = rig.may.get(block) as Set<number>;
          const known = [...may].join(', ');
          if (!may.has(value)) throw new Broken(`block ${block} shows ${value}, not ${known}`);
          rig.may.set(block, new Set([value]));
        });
      }
      free();
    };
    const now = isNow ? set.readNow(first, blocks.length, buffer, 0) : NOT_NOW;
    if (now !== NOT_NOW) completed(0, now as Status);
    else set.read(first, blocks.length, buffer, 0, guarded(writer, completed), 0, deadline);
  }
}

function guarded(
  writer: Writer,
  completed: (token: number, status: Status) => void,
): CompletionSink {
  return {
    completed: (token, status) => {
      if (writer.isAlive && writer.rig.writer === writer) completed(token, status);
    },
  };
}

function fault(rig: Rig): void {
  const { prng, world } = rig;
  const node = prng.pick(rig.nodes);
  const kind = prng.below(100);
  if (kind < 25) {
    const untilMs = world.nowMs + prng.pick([20, 200, 800, 2_500]);
    node.pausedUntilMs = Math.max(node.pausedUntilMs, untilMs);
  } else if (kind < 45) node.life += 1;
  else if (kind < 52) lose(rig, node);
  else if (kind < 70) void rig.writer.learn();
  else if (kind < 85) rig.writer.pausedUntilMs = world.nowMs + prng.pick([50, 500, 3_000]);
  else succeed(rig);
}

/** While another copy of the set is whole, and not more machines than can be spared. */
function lose(rig: Rig, node: LendingNode): void {
  const index = rig.nodes.indexOf(node);
  const left = rig.row.copies.filter(({ node: one }) => rig.nodes[one]?.isLost === false);
  const isLast = left.length < 2 && left.some(({ node: one }) => one === index);
  if (isLast || rig.nodes.filter(({ isLost }) => isLost).length >= 2) return;
  node.isLost = true;
}

/**
 * One byte of a settled block in an area that nobody writes to, at one of two copies; then all of
 * it is looked at, or the block is read. Nothing else may happen before: the other copy may go.
 */
async function damage(rig: Rig): Promise<void> {
  const { row, nodes, prng, writer } = rig;
  const { set } = writer;
  const isCalm = row.copies.every(({ node }) => rig.isWell(nodes[node] as LendingNode));
  if (row.copies.length < 2 || !isCalm || set?.isOver !== false || rig.busy.size > 0) return;
  const block = prng.pick(BLOCKS);
  const area = Math.floor(block / 64);
  const memories = row.copies.map(({ id, node }) => nodes[node]?.copies.get(id) as Uint8Array);
  if (memories.some((memory) => memory[LAYOUT.intentAt + area * 8] !== 0)) return;
  const memory = prng.pick(memories);
  const at = block * BLOCK_BYTES + prng.below(BLOCK_BYTES);
  memory[at] = (memory[at] as number) ^ 1;
  rig.isHarmed = true;
  if (prng.chance(500_000)) await set.upkeep.scrub(area);
  else await readAtLast(rig, block);
  await set.upkeep.scrub(area);
  rig.isHarmed = false;
}

/** The writer is killed, or another one comes while it stands still. */
function succeed(rig: Rig): void {
  if (rig.prng.chance(500_000)) rig.writer.end();
  const old = rig.writer;
  void rig.nextWriter().then(() => {
    if (rig.writer !== old) old.isAlive = old.isAlive && !old.set?.isOver;
  });
}

async function run(seed: number): Promise<Rig> {
  const rig = new Rig(seed);
  const { world, prng } = rig;
  const copies = prng.between(1, 3);
  rig.row = {
    generation: 1,
    copies: Array.from({ length: copies }, (_, node) => ({ id: rig.newCopy(node), node })),
  };
  let isOver = false;
  const work = async (): Promise<void> => {
    await rig.nextWriter();
    for (let i = 0; i < OPERATIONS; i++) {
      operation(rig);
      // A new copy is made only now and then; what goes wrong meanwhile is worth more.
      if (prng.chance(rig.writer.isLearning ? 200_000 : 60_000)) fault(rig);
      if (prng.chance(15_000)) {
        // Long enough for areas to be closed.
        await world.sleep(2_500);
        await damage(rig);
      }
      await world.sleep(prng.pick([0.1, 1, 5, 20, 300]));
    }
    // Calm: all of it is read once more.
    await world.sleep(8_000);
    if (rig.writer.set === undefined || rig.writer.set.isOver) await rig.nextWriter();
    for (const block of BLOCKS) await readAtLast(rig, block);
    for (const block of BLOCKS) judgeCopies(rig, block);
    isOver = true;
  };
  const failures: unknown[] = [];
  const note = (error: unknown): void => void failures.push(error);
  process.on('unhandledRejection', note);
  void work().catch(note);
  try {
    const isDone = await world.run(() => isOver || failures.length > 0, 400_000);
    if (failures.length > 0) throw failures[0];
    if (!isDone) throw new Broken('it came to no end');
  } finally {
    process.off('unhandledRejection', note);
    rig.writer.end();
  }
  return rig;
}

async function readAtLast(rig: Rig, block: number): Promise<void> {
  for (;;) {
    const buffer = new Uint8Array(BLOCK_BYTES);
    const status = await new Promise<Status>((resolve) => {
      const sink = { completed: (_token: number, end: Status) => resolve(end) };
      rig.writer.set?.read(block, 1, buffer, 0, sink, 0, rig.world.nowMs + 2_000);
    });
    if (status === Status.Stale) await rig.nextWriter();
    if (status === Status.Corrupt) throw new Broken(`block ${block} is said to be corrupt`);
    if (status !== Status.Ok) continue;
    const value = valueOf(buffer, 0, block);
    const may = rig.may.get(block) as Set<number>;
    const known = [...may].join(', ');
    if (!may.has(value)) throw new Broken(`block ${block} shows ${value}, not ${known}`);
    return;
  }
}

/** When nothing is under way all copies are equal. */
function judgeCopies({ row, nodes }: Rig, block: number): void {
  const at = block * BLOCK_BYTES;
  const copies = row.copies
    .map(({ node }) => nodes[node])
    .flatMap((node, i) => {
      const memory = node?.isLost === true ? undefined : node?.copies.get(row.copies[i]?.id ?? 0);
      return memory === undefined ? [] : [memory.subarray(at, at + BLOCK_BYTES)];
    });
  const [first, ...others] = copies;
  if (first !== undefined && others.some((one) => !Buffer.from(one).equals(first))) {
    throw new Broken(`block ${block} is not the same at all copies`);
  }
}

const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
/** Where the search for dear ones begins, so that it does not take minutes. */
const FIRST_SEEDS: Partial<Record<keyof typeof replicationFaults, number>> = {
  learnerNotSettled: 700,
};
const SEEDS_PER_BUG = 120;
const SEEDS = Number(process.env['MEMRACK_FUZZ'] ?? 40);

test('what was acknowledged is there, and nothing goes back', { timeout: 600_000 }, async () => {
  const sums = { acknowledged: 0, trimmed: 0, unknown: 0, read: 0, repaired: 0 };
  const ofSets = { generations: 0, writers: 0 };
  for (let seed = SEED; seed < SEED + SEEDS; seed++) {
    const rig = await run(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
    });
    sums.acknowledged += rig.acknowledged;
    sums.trimmed += rig.trimmed;
    sums.unknown += rig.unknown;
    sums.read += rig.read;
    sums.repaired += rig.repaired;
    ofSets.generations += rig.row.generation;
    ofSets.writers += rig.rowEpoch;
  }
  process.stdout.write(`${SEEDS} seeds: ${JSON.stringify({ ...sums, ...ofSets })}\n`);
  expect(sums.acknowledged).toBeGreaterThan(10 * SEEDS);
});

test.each(Object.keys(replicationFaults) as (keyof typeof replicationFaults)[])(
  '%s is found',
  { timeout: 600_000 },
  async (bug) => {
    replicationFaults[bug] = true;
    try {
      const found = await seedThatShows(run, FIRST_SEEDS[bug] ?? 1, SEEDS_PER_BUG);
      process.stdout.write(`${bug}: seed ${found}\n`);
      expect(found).toBeGreaterThan(0);
    } finally {
      replicationFaults[bug] = false;
    }
  },
);
