import { expect, test } from 'vitest';
import type { DurableFile } from '../durable.js';
import { FaultKind, SimulatedWorld } from './world.js';

const PAGE = 4096;
const PAGES = 4;
const BYTES = PAGES * PAGE;

function makeWorld(seed: number) {
  const world = new SimulatedWorld({ seed, immediate: setImmediate });
  const machine = world.machine('a');
  return { world, machine, ...started(world) };
}

function started(world: SimulatedWorld) {
  const process = world.program(world.machine('a'), 'program');
  return { process, runtime: process.runtime };
}

const whole = [{ offset: 0, bytes: BYTES }];

/** Fills every word with one number. */
function fill(file: DurableFile, value: number): void {
  file.map(0, BYTES).wide.fill(BigInt(value));
}

function wordsOf(file: DurableFile): number[] {
  return Array.from(file.map(0, BYTES).wide, Number);
}

async function openAgain(world: SimulatedWorld): Promise<DurableFile> {
  const { runtime } = started(world);
  return world.drive(runtime.durables.open('/file'));
}

/** Made, durable by name, filled with 1 and flushed. */
async function filled(world: SimulatedWorld, runtime: ReturnType<typeof started>['runtime']) {
  const make = async (): Promise<DurableFile> => {
    const file = await runtime.durables.create('/file', BYTES);
    await runtime.disk.flushDirectory('/');
    fill(file, 1);
    await file.flush(whole);
    return file;
  };
  return world.drive(make());
}

test('of what was not flushed whole words come to the disk, or none', async () => {
  const fates = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const { world, machine, runtime } = makeWorld(seed);
    const file = await filled(world, runtime);
    fill(file, 2);
    await world.drive(file.flush([{ offset: 0, bytes: PAGE }]));
    fill(file, 3);
    world.crash(machine);
    world.restart(machine);
    const words = wordsOf(await openAgain(world));
    const first = words.slice(0, PAGE / 8);
    expect(first.every((word) => word === 2 || word === 3)).toBe(true);
    expect(words.every((word) => word === 1 || word === 2 || word === 3)).toBe(true);
    const rest = new Set(words.slice(PAGE / 8));
    fates.add([...rest].sort().join());
    const { mattered } = world.faults;
    if (rest.size === 1 && rest.has(1)) expect(mattered['unflushed-loss']).toBe(1);
  }
  // All lost, all kept, mixtures, also with what was there in between.
  expect(fates.size).toBeGreaterThan(3);
});

test('who is killed leaves what was stored in memory', async () => {
  const { world, process, runtime } = makeWorld(1);
  const file = await filled(world, runtime);
  fill(file, 2);
  expect(file.lock(0, 'exclusive')).toBe(true);
  world.kill(process);
  const again = await openAgain(world);
  expect(again.lock(0, 'exclusive')).toBe(true);
  expect(new Set(wordsOf(again))).toEqual(new Set([2]));
});

test('who is killed while it opens a file holds nothing of it', async () => {
  const { world, process, runtime } = makeWorld(4);
  (await filled(world, runtime)).release();
  void runtime.durables.open('/file');
  world.kill(process);
  await world.run({ forMs: 100 });
  const again = await openAgain(world);
  expect(await world.drive(again.settle())).toBe('settled');
});

test('after a failed flush the next one writes nothing, and settling shows the disk', async () => {
  const kinds = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const { world, machine, runtime } = makeWorld(seed);
    const file = await filled(world, runtime);
    fill(file, 2);
    world.faults.setRate(FaultKind.DiskFlushError, 1_000_000);
    await expect(world.drive(file.flush(whole))).rejects.toThrow('cannot flush');
    world.faults.setRate(FaultKind.DiskFlushError, 0);
    await expect(world.drive(file.flush(whole))).rejects.toThrow('cannot flush');
    const other = await openAgain(world);
    other.map(0, BYTES);
    await world.drive(other.flush(whole));
    const crashes = seed % 2 === 0;
    if (crashes) {
      world.crash(machine);
      world.restart(machine);
      const words = wordsOf(await openAgain(world));
      kinds.add(`crash: ${words.includes(1) ? 'lost' : 'whole'}`);
      continue;
    }
    file.release();
    other.release();
    const again = await openAgain(world);
    const settled = await world.drive(again.settle());
    const hasLost = wordsOf(again).includes(1);
    expect(settled).toBe(hasLost ? 'lossy' : 'settled');
    kinds.add(settled);
  }
  expect(kinds).toContain('crash: lost');
  expect(kinds).toContain('lossy');
});
