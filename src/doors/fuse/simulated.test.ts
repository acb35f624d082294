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

/** One who serves the kept mount, over the device of whoever served it before. */
async function keptRig(seed: number) {
  const world = new SimulatedWorld({ seed, immediate: setImmediate });
  const machine = world.machine('a');
  const connection = world.keepMount(machine, FOLDER);
  const content = new Uint8Array(BYTES);
  const serve = async (agreed?: { readonly mayResend: boolean }) => {
    const process = world.program(machine, 'server');
    const { runtime } = process;
    const device = new MemoryBackend(runtime.timers, {
      ...{ name: 'disk', bytes: BYTES, blockMin: 512, content },
    });
    device.isNow = () => false;
    const door = new FuseDoor({ runtime, source: new MemoryFiles([device]) });
    const served = await world.drive(door.serve({ connection, agreed }, 1_000));
    return { process, device, served };
  };
  const program = new Program(world.mountAt(machine, FOLDER) as SimulatedMount);
  return { world, machine, serve, program };
}

test('one that is killed leaves its requests to the next one, each answered once', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, machine, serve, program } = await keptRig(seed);
    const first = await serve();
    await world.drive(open(program));
    const agreed = first.served.agreed();
    expect(agreed).toEqual({ mayResend: true });
    await world.drive(program.write(FILE, 0, new Uint8Array(4_096).fill(1)));
    // Half of them are not told before the end.
    first.device.lateMs = (_, offset) => (offset % 8_192 === 0 ? 1 : 1_000);
    const answers = Array.from({ length: 32 }, (_, i) => {
      return program.write(FILE, (i + 1) * 4_096, new Uint8Array(4_096).fill(i + 2));
    });
    const read = program.read(FILE, 0, 4_096);
    await world.run({ forMs: 50 });
    world.kill(first.process);
    await serve(agreed);
    for (const { errno } of await world.drive(Promise.all(answers))) expect(errno).toBe(0);
    expect((await world.drive(read)).body[4_095]).toBe(1);
    for (let i = 0; i < 33; i++) {
      const { body } = await world.drive(program.read(FILE, i * 4_096, 4_096));
      expect([seed, i, body[0], body[4_095]]).toEqual([seed, i, i + 1, i + 1]);
    }
    expect(program.strays).toBe(0);
    expect((world.mountAt(machine, FOLDER) as SimulatedMount).resent).toBeGreaterThan(0);
  }
});
