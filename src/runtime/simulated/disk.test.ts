import { expect, test } from 'vitest';
import type { File } from '../disk.js';
import { FaultKind, type FaultRates, SimulatedWorld } from './world.js';

const WORD = 8;
const WORDS = 64;

function makeWorld(seed: number, faults: FaultRates = {}) {
  const world = new SimulatedWorld({ seed, immediate: setImmediate, faults });
  const machine = world.machine('a');
  const { disk } = world.program(machine, 'writer').runtime;
  return { world, machine, disk };
}

/** Each word of the file says which write it is of: 0 where none arrived. */
async function wordsOf(file: File): Promise<number[]> {
  const bytes = new Uint8Array(await file.size());
  await file.read(0, bytes);
  const words: number[] = [];
  for (let at = 0; at < bytes.length; at += WORD) {
    // A word is whole: 8 bytes of one write.
    const word = bytes.subarray(at, at + WORD);
    expect(new Set(word).size).toBe(1);
    words.push(word[0] ?? 0);
  }
  return words;
}

interface Left {
  readonly words: number[];
  readonly world: SimulatedWorld;
}

/** What is left after a flushed write of 1, a write of 2 that was not flushed, and a crash. */
async function crashAfterWrites(seed: number): Promise<Left> {
  const { world, machine, disk } = makeWorld(seed);
  const before = async (): Promise<void> => {
    const file = await disk.open('/log', 'create');
    await file.write(0, new Uint8Array(WORDS * WORD).fill(1));
    await file.flush();
    await disk.flushDirectory('/');
    await file.write(0, new Uint8Array(WORDS * WORD).fill(2));
  };
  await world.drive(before());
  world.crash(machine);
  world.restart(machine);
  const again = world.program(machine, 'reader').runtime.disk;
  const words = await world.drive(again.open('/log', 'read').then(wordsOf));
  return { words, world };
}

test('unflushed bytes are kept, lost or torn at 8 bytes; flushed ones are kept', async () => {
  const fates = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const { words, world } = await crashAfterWrites(seed);
    expect(words.length).toBe(WORDS);
    expect(words.every((word) => word === 1 || word === 2)).toBe(true);
    const fate = words.every((word) => word === 1) ? 'lost' : words.includes(1) ? 'torn' : 'kept';
    fates.add(fate);
    const { injected } = world.faults;
    if (fate === 'lost') expect(injected['unflushed-loss'] + injected['torn-write']).toBe(1);
    if (fate === 'torn') expect(world.faultMattered(FaultKind.TornWrite)).toBe(1);
    expect(world.faultMattered(FaultKind.TornWrite)).toBe(injected['torn-write']);
  }
  expect([...fates].sort()).toEqual(['kept', 'lost', 'torn']);
});

test('writes that were not flushed survive independently of each other', async () => {
  const combinations = new Set<string>();
  for (let seed = 0; seed < 80; seed++) {
    const { world, machine, disk } = makeWorld(seed);
    const before = async (): Promise<void> => {
      const file = await disk.open('/log', 'create');
      await file.write(0, new Uint8Array(2 * WORD));
      await file.flush();
      await disk.flushDirectory('/');
      await file.write(0, new Uint8Array(WORD).fill(1));
      await file.write(WORD, new Uint8Array(WORD).fill(2));
    };
    await world.drive(before());
    world.crash(machine);
    world.restart(machine);
    const again = world.program(machine, 'reader').runtime.disk;
    combinations.add(String(await world.drive(again.open('/log', 'read').then(wordsOf))));
  }
  expect([...combinations].sort()).toEqual(['0,0', '0,2', '1,0', '1,2']);
});

test('the end of a process alone loses nothing, and finishes what was begun', async () => {
  const { world, machine, disk } = makeWorld(3);
  const file = await world.drive(disk.open('/log', 'create'));
  void file.write(0, new Uint8Array(WORD).fill(7));
  for (const process of world.processes) world.kill(process);
  await world.run();
  const again = world.program(machine, 'reader').runtime.disk;
  expect(await world.drive(again.open('/log', 'read').then(wordsOf))).toEqual([7]);
});

test('names survive once their folder was flushed, and may vanish before', async () => {
  const found = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const { world, machine, disk } = makeWorld(seed);
    const before = async (): Promise<void> => {
      await disk.makeFolder('/data');
      await disk.flushDirectory('/');
      await (await disk.open('/data/old', 'create')).close();
      await disk.flushDirectory('/data');
      await (await disk.open('/data/new', 'create')).close();
      await disk.rename('/data/old', '/data/older');
    };
    await world.drive(before());
    world.crash(machine);
    world.restart(machine);
    const again = world.program(machine, 'reader').runtime.disk;
    found.add(String(await world.drive(again.list('/data'))));
  }
  expect([...found].sort()).toEqual(['new,old', 'new,older', 'old', 'older']);
});

test('errors come at their rates, and each rejects with its kind', async () => {
  const rates = {
    [FaultKind.DiskReadError]: 200_000,
    [FaultKind.DiskWriteError]: 200_000,
    [FaultKind.DiskFlushError]: 200_000,
    [FaultKind.DiskFull]: 200_000,
  };
  const { world, disk } = makeWorld(4, rates);
  const kinds = new Set<string>();
  const body = async (): Promise<void> => {
    const file = await disk.open('/log', 'create');
    const bytes = new Uint8Array(WORD);
    const note = (error: { kind: string }): void => void kinds.add(error.kind);
    for (let i = 0; i < 60; i++) {
      await file.write(0, bytes).catch(note);
      await file.read(0, bytes).catch(note);
      await file.flush().catch(note);
    }
  };
  await world.drive(body());
  expect([...kinds].sort()).toEqual(['full', 'io']);
  for (const kind of Object.keys(rates) as FaultKind[]) {
    expect(world.faults.injected[kind]).toBeGreaterThan(0);
    expect(world.faultMattered(kind)).toBe(world.faults.injected[kind]);
  }
});

test('a flush that failed leaves bytes that no later flush stores', async () => {
  let lost = 0;
  for (let seed = 0; seed < 20; seed++) {
    const { world, machine, disk } = makeWorld(seed);
    const file = await world.drive(disk.open('/log', 'create'));
    await world.drive(disk.flushDirectory('/'));
    await world.drive(file.write(0, new Uint8Array(WORD).fill(1)));
    world.faults.setRate(FaultKind.DiskFlushError, 1_000_000);
    await expect(world.drive(file.flush())).rejects.toThrow('cannot flush');
    world.faults.setRate(FaultKind.DiskFlushError, 0);
    await world.drive(file.flush());
    world.crash(machine);
    world.restart(machine);
    const again = world.program(machine, 'reader').runtime.disk;
    const words = await world.drive(again.open('/log', 'read').then(wordsOf));
    if (words.length === 0) lost += 1;
  }
  expect(lost).toBe(20);
});

test('a disk of limited capacity is full at that, and can be read still', async () => {
  const { world, machine, disk } = makeWorld(5);
  world.diskCapacity(machine, 100);
  const file = await world.drive(disk.open('/log', 'create'));
  await world.drive(file.write(0, new Uint8Array(96)));
  await expect(world.drive(file.write(96, new Uint8Array(WORD)))).rejects.toThrow('no space');
  await world.drive(file.write(8, new Uint8Array(WORD).fill(1)));
  expect(await world.drive(file.read(8, new Uint8Array(4)))).toBe(4);
});
