// The door in a simulated machine: programs use its files, and its process is killed.

import { expect, test } from 'vitest';
import type { SimulatedMount } from '../../runtime/simulated/fuse.js';
import { SimulatedWorld } from '../../runtime/simulated/world.js';
import { MemoryBackend } from '../testing/memory-backend.js';
import { Opcode } from './abi.js';
import { FuseDoor } from './door.js';
import { FileClient, type FuseAnswer } from './testing/file-client.js';
import { MemoryFiles } from './testing/memory-files.js';

const FOLDER = '/mnt/memrack';
const BYTES = 4 * 65_536;
const ROOT = 1;
const FILE = 2;
const ENOTCONN = 107;

/** A program of the machine. */
class Program extends FileClient {
  readonly #mount: SimulatedMount;

  constructor(mount: SimulatedMount) {
    super();
    this.#mount = mount;
  }

  protected send(request: Uint8Array): void {
    this.#mount.ask(request, (answer) => {
      if (answer === undefined) return this.ended();
      const { buffer } = answer;
      const view = new DataView(buffer);
      this.answered({ bytes: answer, view, words: new Int32Array(0) }, answer.length);
    });
  }
}

async function rig(seed: number) {
  const world = new SimulatedWorld({ seed, immediate: setImmediate });
  const machine = world.machine('a');
  const host = world.program(machine, 'host');
  const { timers } = host.runtime;
  const device = new MemoryBackend(timers, { name: 'disk', bytes: BYTES, blockMin: 512 });
  device.lateMs = () => 1;
  device.isNow = () => false;
  const source = new MemoryFiles([device]);
  const door = new FuseDoor({ runtime: host.runtime, source });
  await world.drive(door.mount(FOLDER));
  const program = new Program(world.mountAt(machine, FOLDER) as SimulatedMount);
  return { world, machine, host, device, door, program, source };
}

async function open(program: Program): Promise<void> {
  await program.init();
  await program.ask(
    Opcode.LOOKUP,
    ROOT,
    Uint8Array.from([...'disk\0'], (c) => c.charCodeAt(0)),
  );
  await program.ask(Opcode.OPEN, FILE, new Uint8Array(8));
}

test('more requests than there are slots are all answered, in any order', async () => {
  const { world, program, device } = await rig(1);
  await world.drive(open(program));
  const writes = Array.from({ length: 300 }, (_, i) => {
    return program.write(FILE, i * 512, new Uint8Array(512).fill(1 + (i % 250)));
  });
  const answers = await world.drive(Promise.all(writes));
  expect(answers.every(({ errno }) => errno === 0)).toBe(true);
  expect(device.content[299 * 512]).toBe(50);
  const { body } = await world.drive(program.read(FILE, 512, 100_000));
  expect([body[0], body[512], body.length]).toEqual([2, 3, 100_000]);
  expect(program.strays).toBe(0);
});

test('with the process its mount ends, and what is under way there', async () => {
  const { world, machine, host, program } = await rig(2);
  await world.drive(open(program));
  const reading = Array.from({ length: 100 }, () => program.read(FILE, 0, 4096));
  await world.run({ forMs: 0.2 });
  world.kill(host);
  const answers: FuseAnswer[] = await world.drive(Promise.all(reading));
  expect(answers.filter(({ errno }) => errno === ENOTCONN).length).toBeGreaterThan(0);
  expect((await world.drive(program.read(FILE, 0, 512))).errno).toBe(ENOTCONN);
  expect(world.mountAt(machine, FOLDER)).toBeUndefined();
});

test('a door that is stopped lets go of its folder and its devices', async () => {
  const { world, machine, door, program, source } = await rig(3);
  await world.drive(open(program));
  expect(source.opened.get('disk')).toBe(1);
  await world.drive(door.stop());
  expect(world.mountAt(machine, FOLDER)).toBeUndefined();
  expect((await world.drive(program.ask(Opcode.GETATTR, ROOT))).errno).toBe(ENOTCONN);
  expect(source.opened.get('disk')).toBe(0);
});
