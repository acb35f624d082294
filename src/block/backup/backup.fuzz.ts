/**
 * A backup file on a disk whose machine stops at any moment, is full at times, and fails. Blocks
 * are written as a set writes them: the area is opened, written to, closed. Whenever the file is
 * read again it is held against what was told:
 *
 *   an area that is clean, or absent, has of each block what was told to be written last
 *   whatever was told after the last flush, or before: an area is not older than that flush
 */

import { expect, test } from 'vitest';
import { crc32c } from '../../base/crc32c.js';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import {
  AREA_BLOCKS,
  BLOCK_BYTES,
  CHECKSUMS_BYTES,
  INTENT_BYTES,
} from '../../replication/layout.js';
import { seedThatShows } from '../../replication/testing/planted-seed.js';
import { Broken } from '../../replication/testing/slab-world.js';
import type { Machine } from '../../runtime/simulated/task.js';
import { FaultKind, SimulatedWorld } from '../../runtime/simulated/world.js';
import { BackupFile } from './backup-file.js';
import { makeBackup } from './backup-path.js';
import type { BackupSlab } from './backup-slab.js';
import { Kept } from './layout.js';
import { backupFaults } from './planted.js';

const DEVICE = 7;
const PATH = '/backup';
/** Two areas each. */
const SLAB_BYTES = 2 * 263_000 + 4096;
const SLABS = 2;
const AREAS = 2;
const LIVES = 4;
const STEPS = 40;
/** Of an area: those that are used, at its ends and within. */
const BLOCKS = [0, 1, 2, 15, 16, 40, 62, 63];
const SET = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
const FOREVER = 1e9;

const bytesOf = (value: number): Uint8Array => {
  const bytes = new Uint8Array(BLOCK_BYTES);
  new Float64Array(bytes.buffer).fill(value);
  return bytes;
};

/** -1: half of one value and half of another one. */
function valueOf(bytes: Uint8Array): number {
  const words = new Float64Array(bytes.slice().buffer);
  return words.every((word) => word === words[0]) ? (words[0] as number) : -1;
}

const ZEROS = crc32c(new Uint8Array(BLOCK_BYTES), 0, BLOCK_BYTES);
const checksumOf = (bytes: Uint8Array): number => (crc32c(bytes, 0, BLOCK_BYTES) ^ ZEROS) >>> 0;

/** What may be in a block. */
interface Block {
  /** Was told to be written last. */
  value: number;
  /** What it had at the last flush, and was asked to have since. */
  since: Set<number>;
  isBusy: boolean;
}

interface Area {
  readonly blocks: Map<number, Block>;
  isOpen: boolean;
  isBusy: boolean;
}

class Rig {
  readonly world: SimulatedWorld;
  readonly prng: Prng;
  readonly machine: Machine;
  readonly areas: Area[] = [];
  /** By slab: the lowest and the highest generation that its map may have. */
  readonly marks: [number, number][] = [];
  life = 0;
  value = 0;
  written = 0;
  clean = 0;
  dirty = 0;
  failures = 0;
  file: BackupFile | undefined;
  /** What a read showed that it may not. */
  wrong = '';

  constructor(seed: number) {
    this.world = new SimulatedWorld({ seed, immediate: setImmediate });
    this.prng = new Prng(seed);
    this.machine = this.world.machine('host');
    for (let i = 0; i < SLABS * AREAS; i++) {
      const fresh = (): Block => ({ value: 0, since: new Set([0]), isBusy: false });
      const blocks = new Map(BLOCKS.map((block) => [block, fresh()]));
      this.areas.push({ blocks, isOpen: false, isBusy: false });
    }
  }

  slabOf(area: number): BackupSlab {
    return (this.file as BackupFile).slab(Math.floor(area / AREAS));
  }

  async open(): Promise<void> {
    const { runtime } = this.world.program(this.machine, `host-${this.life}`);
    const { disk, clock, timers, checksum } = runtime;
    const of = { device: DEVICE, slabBytes: SLAB_BYTES };
    if (this.file === undefined) await this.world.drive(makeBackup(runtime, PATH, of));
    const file = await this.world.drive(
      BackupFile.open({
        ...{ disk, clock, timers, checksum, path: PATH, device: DEVICE },
        slabBytes: SLAB_BYTES,
        bufferBytes: this.prng.pick([24, 64, 1024]) * BLOCK_BYTES,
        failed: () => (this.failures += 1),
      }),
    );
    if (typeof file === 'string') throw new Broken(`the file is not opened: ${file}`);
    this.file = file;
  }

  ask(area: number, at: number, from: Uint8Array, told: (status: Status) => void): void {
    const { life } = this;
    const sink = {
      completed: (_token: number, status: Status) => {
        if (this.life === life) told(status);
      },
    };
    this.slabOf(area).write(at, from, 0, from.length, sink, 0, FOREVER);
  }

  read(area: number, at: number, bytes: number): Promise<Uint8Array> {
    const into = new Uint8Array(bytes);
    const reading = new Promise<Uint8Array>((resolve, reject) => {
      const completed = (_token: number, status: Status): void => {
        if (status === Status.Ok) resolve(into);
        else reject(new Error(`reading ended as ${status}`));
      };
      this.slabOf(area).read(at, into, 0, bytes, { completed }, 0);
    });
    return this.world.drive(reading);
  }
}

const layoutIn = (rig: Rig) => (rig.file as BackupFile).layout;
const placeIn = (area: number): number => area % AREAS;

function step(rig: Rig): void {
  const { prng } = rig;
  const index = prng.below(rig.areas.length);
  const area = rig.areas[index] as Area;
  if (area.isBusy) return;
  if (!area.isOpen) return openArea(rig, index, area);
  const kind = prng.below(10);
  if (kind < 6) writeBlocks(rig, index, area);
  else if (kind < 8) closeArea(rig, index, area);
  else if (kind < 9) flush(rig);
  else void readOne(rig, index, area);
}

function openArea(rig: Rig, index: number, area: Area): void {
  area.isBusy = true;
  const { intentAt } = layoutIn(rig);
  rig.ask(index, intentAt + placeIn(index) * INTENT_BYTES, SET, (status) => {
    area.isBusy = false;
    area.isOpen = status === Status.Ok;
  });
}

/** One, or two that follow each other. */
function writeBlocks(rig: Rig, index: number, area: Area): void {
  const { prng } = rig;
  const first = prng.pick(BLOCKS);
  const both = [first, first + 1].filter((block) => area.blocks.has(block));
  const blocks = both.slice(0, prng.between(1, both.length));
  const models = blocks.map((block) => area.blocks.get(block) as Block);
  if (models.some(({ isBusy }) => isBusy)) return;
  rig.value += 1;
  const { value } = rig;
  const from = new Uint8Array(blocks.length * BLOCK_BYTES);
  blocks.forEach((_, i) => from.set(bytesOf(value), i * BLOCK_BYTES));
  for (const model of models) {
    model.isBusy = true;
    model.since.add(value);
  }
  const put = (status: Status): void => {
    for (const model of models) {
      model.isBusy = false;
      // A set asks again until it is done, or the file is out of it.
      if (status === Status.Ok) model.value = value;
    }
    if (status === Status.Ok) rig.written += 1;
  };
  const at = (placeIn(index) * AREA_BLOCKS + first) * BLOCK_BYTES;
  const slab = rig.slabOf(index);
  const now = prng.chance(500_000) ? slab.writeNow(at, from, 0, from.length) : -1;
  if (now === Status.Ok) put(Status.Ok);
  else rig.ask(index, at, from, put);
}

function closeArea(rig: Rig, index: number, area: Area): void {
  if ([...area.blocks.values()].some(({ isBusy }) => isBusy)) return;
  const checksums = new Uint32Array(AREA_BLOCKS);
  for (const [block, { value }] of area.blocks) checksums[block] = checksumOf(bytesOf(value));
  area.isBusy = true;
  const { checksumsAt } = layoutIn(rig);
  const at = checksumsAt + placeIn(index) * CHECKSUMS_BYTES;
  rig.ask(index, at, new Uint8Array(checksums.buffer), () => {
    area.isBusy = false;
    area.isOpen = false;
  });
}

function flush(rig: Rig): void {
  const { life } = rig;
  const models = rig.areas.flatMap(({ blocks }) => [...blocks.values()]);
  const values = models.map(({ value }) => value);
  void rig.file?.flush().then((status) => {
    if (status !== Status.Ok || rig.life !== life) return;
    models.forEach((model, i) => {
      const newer = [...model.since].filter((value) => value >= (values[i] as number));
      model.since = new Set([values[i] as number, ...newer]);
    });
  });
}

/** Who reads a block is alone with it, and sees what was told last. */
async function readOne(rig: Rig, index: number, area: Area): Promise<void> {
  const block = rig.prng.pick(BLOCKS);
  const model = area.blocks.get(block) as Block;
  if (model.isBusy) return;
  model.isBusy = true;
  const { life } = rig;
  const into = new Uint8Array(BLOCK_BYTES);
  const at = (placeIn(index) * AREA_BLOCKS + block) * BLOCK_BYTES;
  const completed = (_token: number, status: Status): void => {
    if (rig.life !== life) return;
    model.isBusy = false;
    if (status === Status.Ok && valueOf(into) !== model.value) {
      rig.wrong = `block ${block} of area ${index} shows ${valueOf(into)}, not ${model.value}`;
    }
  };
  rig.slabOf(index).read(at, into, 0, BLOCK_BYTES, { completed }, 0);
}

/** What a host finds that begins. */
async function judge(rig: Rig): Promise<void> {
  for (let index = 0; index < rig.areas.length; index++) {
    const slab = rig.slabOf(index);
    await rig.world.drive(slab.load());
    const state = slab.state(placeIn(index));
    const isBehind = state === Kept.DIRTY;
    if (isBehind) rig.dirty += 1;
    else if (state === Kept.CLEAN) rig.clean += 1;
    const { checksumsAt } = layoutIn(rig);
    const at = checksumsAt + placeIn(index) * CHECKSUMS_BYTES;
    const checksums = new Uint32Array((await rig.read(index, at, CHECKSUMS_BYTES)).buffer);
    for (const [block, model] of (rig.areas[index] as Area).blocks) {
      const place = (placeIn(index) * AREA_BLOCKS + block) * BLOCK_BYTES;
      const bytes = await rig.read(index, place, BLOCK_BYTES);
      const value = valueOf(bytes);
      const where = `area ${index}, block ${block}, life ${rig.life}: ${value}`;
      if (!isBehind && value !== model.value) {
        throw new Broken(`${where} in an area that is right, not ${model.value}`);
      }
      if (state === Kept.CLEAN && checksums[block] !== checksumOf(bytes)) {
        throw new Broken(`${where} has another checksum`);
      }
      if (isBehind && value >= 0 && !model.since.has(value)) {
        throw new Broken(`${where} is none of ${[...model.since].join(', ')}`);
      }
      if (isBehind && value < 0 && model.since.size === 1) throw new Broken(`${where} is torn`);
    }
  }
}

/** The generation that the map of a slab was told last, or was asked to keep. */
async function markAll(rig: Rig): Promise<void> {
  for (let slab = 0; slab < SLABS; slab++) {
    const { generation } = rig.slabOf(slab * AREAS);
    const [least = 0, most = 0] = rig.marks[slab] ?? [];
    if (generation < least || generation > most) {
      throw new Broken(`slab ${slab} is of generation ${generation}, not ${least} to ${most}`);
    }
    rig.marks[slab] = [generation, most + 1];
    const marking = rig.slabOf(slab * AREAS).mark(most + 1);
    if (rig.prng.chance(300_000)) continue;
    const status = await rig.world.drive(marking);
    if (status === Status.Ok) rig.marks[slab] = [most + 1, most + 1];
  }
}

/** As a set does that begins: what may be behind is written again. */
async function makeEqual(rig: Rig): Promise<void> {
  for (let index = 0; index < rig.areas.length; index++) {
    const area = rig.areas[index] as Area;
    const isBehind = rig.slabOf(index).state(placeIn(index)) === Kept.DIRTY;
    area.isOpen = isBehind;
    area.isBusy = false;
    for (const [block, model] of area.blocks) {
      model.isBusy = false;
      if (!isBehind) continue;
      const at = (placeIn(index) * AREA_BLOCKS + block) * BLOCK_BYTES;
      model.since.add(model.value);
      const from = bytesOf(model.value);
      const done = new Promise((resolve) => rig.ask(index, at, from, resolve));
      await rig.world.drive(done);
    }
  }
}

function trouble(rig: Rig): void {
  const { world, machine, prng } = rig;
  const kind = prng.below(12);
  if (kind === 0) {
    world.fillDisk(machine);
    world.after(prng.between(1, 3_000), () => world.freeDisk(machine));
  }
  if (kind === 1) world.faults.setRate(FaultKind.DiskWriteError, 20_000);
  if (kind === 2) world.faults.setRate(FaultKind.DiskFlushError, 50_000);
}

async function run(seed: number): Promise<Rig> {
  const rig = new Rig(seed);
  const { world, prng } = rig;
  for (; rig.life < LIVES; rig.life++) {
    await rig.open();
    await judge(rig);
    await markAll(rig);
    await makeEqual(rig);
    trouble(rig);
    for (let i = 0; i < STEPS && rig.wrong === ''; i++) {
      step(rig);
      if (prng.chance(600_000)) await world.run({ forMs: prng.pick([0.05, 0.3, 2, 20]) });
    }
    if (rig.wrong !== '') throw new Broken(rig.wrong);
    world.faults.setRate(FaultKind.DiskWriteError, 0);
    world.faults.setRate(FaultKind.DiskFlushError, 0);
    world.freeDisk(rig.machine);
    if (prng.chance(200_000)) await world.drive((rig.file as BackupFile).end());
    world.crash(rig.machine);
    world.restart(rig.machine);
  }
  await rig.open();
  await judge(rig);
  return rig;
}

const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);
const SEEDS = Number(process.env['MEMRACK_FUZZ'] ?? 60);
const SEEDS_PER_BUG = 200;
const FIRST_SEEDS: Partial<Record<keyof typeof backupFaults, number>> = {};

test('what a backup says to have it has', { timeout: 900_000 }, async () => {
  const sums = { written: 0, clean: 0, dirty: 0, failures: 0 };
  for (let seed = SEED; seed < SEED + SEEDS; seed++) {
    const rig = await run(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
    });
    sums.written += rig.written;
    sums.clean += rig.clean;
    sums.dirty += rig.dirty;
    sums.failures += rig.failures;
  }
  process.stdout.write(`${SEEDS} seeds: ${JSON.stringify(sums)}\n`);
  expect(sums.written).toBeGreaterThan(10 * SEEDS);
  expect(sums.clean).toBeGreaterThan(SEEDS);
});

test.each(Object.keys(backupFaults) as (keyof typeof backupFaults)[])(
  '%s is found',
  { timeout: 900_000 },
  async (bug) => {
    backupFaults[bug] = true;
    try {
      const found = await seedThatShows(run, FIRST_SEEDS[bug] ?? 1, SEEDS_PER_BUG);
      process.stdout.write(`${bug}: seed ${found}\n`);
      expect(found).toBeGreaterThan(0);
    } finally {
      backupFaults[bug] = false;
    }
  },
);
