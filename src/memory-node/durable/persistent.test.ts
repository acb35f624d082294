/** A whole persistent node in the simulated world: made, killed, without power, copied, damaged. */

import { setImmediate } from 'node:timers';
import { afterEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { createEndpoint, type Endpoint } from '../../fabric/endpoint.js';
import type { CompletionSink, Link, Window } from '../../fabric/link.js';
import { FaultKind, type SimulatedProcess, SimulatedWorld } from '../../runtime/simulated/world.js';
import { MessageType } from '../../wire/messages.js';
import type { PersistentConfig } from '../config.js';
import { memoryNodeMain } from '../main.js';
import { EXIT_STORAGE_FAILED, MEMORY_NODE_ROLE } from '../process.js';
import { SLOW_PATH_THREAD } from '../slow/records.js';
import { slowPathThread } from '../slow/worker.js';
import { supervisorMain, type SupervisorReady } from '../supervisor.js';
import { durableFaults } from './planted.js';

const PAGE = 65536;
const FRAMES = 8;
const CALL_MS = 5_000;
const SPACE = 1;
const CREATE: Partial<PersistentConfig> = { path: '/memory', create: true, logBytes: 65536 };
const OPEN = { ...CREATE, create: false };

class Rig {
  readonly world: SimulatedWorld;
  readonly endpoint: Endpoint;
  supervisor: SimulatedProcess | undefined;
  #link: Link | undefined;

  constructor(seed: number) {
    this.world = new SimulatedWorld({
      seed,
      immediate: setImmediate,
      roles: { supervisor: supervisorMain, [MEMORY_NODE_ROLE]: memoryNodeMain },
      threads: { [SLOW_PATH_THREAD]: slowPathThread },
    });
    this.endpoint = createEndpoint(this.world.program(this.world.machine('c'), 'client').runtime);
  }

  get machine() {
    return this.world.machine('a');
  }

  /** Starts the node and waits until it serves, or has ended. */
  async start(persistent: Partial<PersistentConfig>, id = 'n1'): Promise<string> {
    if (!this.machine.up) this.world.restart(this.machine);
    const listen = `tcp://${this.machine.host}:7100`;
    const config = { id, listen, memoryBytes: FRAMES * PAGE, pageBytes: PAGE, persistent };
    const supervisor = this.world.start(this.machine, 'supervisor', config);
    this.supervisor = supervisor;
    const isOver = (): boolean => supervisor.readyMessage !== undefined || !supervisor.alive;
    expect(await this.world.run({ until: isOver, forMs: 60_000 })).toBe('condition');
    return supervisor.alive ? '' : (supervisor.exit?.reason ?? '?');
  }

  get ready(): SupervisorReady {
    return this.supervisor?.readyMessage as SupervisorReady;
  }

  get node(): SimulatedProcess | undefined {
    const { supervisor } = this;
    return this.world.processes.find((one) => one.alive && one.parent === supervisor);
  }

  link(): Link {
    this.#link ??= this.endpoint.link(this.ready.address, this.ready.memoryId);
    return this.#link;
  }

  wait<T>(promise: Promise<T>): Promise<T> {
    return this.world.drive(promise);
  }

  async grant(region = 1): Promise<Status> {
    const { memoryId } = this.ready;
    const grant = { space: SPACE, region, epoch: 1, pageBytes: PAGE, memoryId };
    return (await this.wait(this.link().call(MessageType.GrantRegion, grant, CALL_MS))).status;
  }

  async alloc(pages: number): Promise<number> {
    const request = { space: SPACE, region: 1, bytes: pages * PAGE, wish: 0, flags: 0, nonce: 5 };
    const reply = await this.wait(this.link().call(MessageType.Alloc, request, CALL_MS));
    if (reply.status !== Status.Ok) throw new Error(reply.reason);
    const { address } = reply;
    const confirm = { space: SPACE, nonce: 5, address };
    const kept = await this.wait(this.link().call(MessageType.ConfirmAlloc, confirm, CALL_MS));
    expect(kept.status).toBe(Status.Ok);
    return address;
  }

  async window(): Promise<Window> {
    const window = await this.wait(this.link().openWindow(SPACE, CALL_MS));
    if (typeof window === 'number') throw new Error(`no window: ${window}`);
    return window;
  }

  async write(window: Window, at: number, value: number): Promise<Status> {
    const bytes = new Uint8Array(8).fill(value);
    return this.#operation((sink, deadline) =>
      this.link().write(window, at, bytes, 0, 8, sink, 0, deadline),
    );
  }

  async read(window: Window, at: number): Promise<number> {
    const into = new Uint8Array(8);
    const status = await this.#operation((sink, deadline) =>
      this.link().read(window, at, into, 0, 8, sink, 0, deadline),
    );
    return status === Status.Ok ? (into[0] as number) : -status;
  }

  #operation(start: (sink: CompletionSink, deadline: number) => void): Promise<Status> {
    const ended = new Promise<Status>((resolve) => {
      const sink = { completed: (_token: number, status: Status) => resolve(status) };
      start(sink, this.world.nowMs + CALL_MS);
    });
    return this.wait(ended);
  }

  flush(at: number, bytes: number, opening: number) {
    const request = { space: SPACE, opening, address: at, bytes };
    return this.wait(this.link().call(MessageType.Flush, request, CALL_MS));
  }

  /** Power is gone, and comes back. */
  crash(): void {
    this.world.crash(this.machine);
  }
}

afterEach(() => {
  for (const key of Object.keys(durableFaults)) durableFaults[key as 'openingIgnored'] = false;
});

/** A node with one allocation of four pages, of which the first word holds 7 and is flushed. */
async function begun(seed: number): Promise<{ rig: Rig; at: number; opening: number }> {
  const rig = new Rig(seed);
  expect(await rig.start(CREATE)).toBe('');
  expect(await rig.grant()).toBe(Status.Ok);
  const at = await rig.alloc(4);
  const window = await rig.window();
  expect(await rig.write(window, at, 7)).toBe(Status.Ok);
  const opening = rig.link().opening ?? 0;
  expect(opening).toBeGreaterThan(0);
  expect(await rig.flush(at, 8, opening)).toMatchObject({ status: Status.Ok, opening });
  return { rig, at, opening };
}

test('memory on a disk takes no copies of slabs', async () => {
  const rig = new Rig(1);
  expect(await rig.start(CREATE)).toBe('');
  expect(await rig.grant()).toBe(Status.Ok);
  const slab = { space: SPACE, region: 1, bytes: 5 * PAGE, device: 1, slab: 0, copy: 1 };
  const request = { ...slab, lease: 1, leaseEpoch: 1 };
  const reply = await rig.wait(rig.link().call(MessageType.TakeSlab, request, CALL_MS));
  expect(reply.status).toBe(Status.Unsupported);
});

test('what was flushed survives the power, and what was not is named', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { rig, at, opening } = await begun(seed);
    const { memoryId, incarnation } = rig.ready;
    const window = await rig.window();
    expect(await rig.write(window, at + PAGE, 9)).toBe(Status.Ok);
    rig.crash();
    expect(await rig.start(OPEN)).toBe('');
    expect(rig.ready.memoryId).toBe(memoryId);
    expect(rig.ready.incarnation).toBeGreaterThan(incarnation);
    const again = await rig.window();
    expect(await rig.read(again, at)).toBe(7);
    expect([0, 9]).toContain(await rig.read(again, at + PAGE));
    expect(rig.link().opening).not.toBe(opening);
    expect((await rig.flush(at + PAGE, 8, opening)).status).toBe(Status.DataLost);
    expect((await rig.flush(at + PAGE, 8, 0)).status).toBe(Status.Ok);
    expect((await rig.flush(at + 4 * PAGE, 8, 0)).status).toBe(Status.NotAllocated);
  }
});

test('processes come and go, and nothing is lost', async () => {
  const { rig, at, opening } = await begun(20);
  const window = await rig.window();
  expect(await rig.write(window, at + PAGE, 9)).toBe(Status.Ok);
  rig.world.kill(rig.node as SimulatedProcess);
  expect(await rig.read(await rig.window(), at + PAGE)).toBe(9);
  expect((await rig.flush(at + PAGE, 8, opening)).status).toBe(Status.Ok);
  rig.world.kill(rig.supervisor as SimulatedProcess);
  expect(await rig.start(OPEN)).toBe('');
  expect(await rig.read(await rig.window(), at + PAGE)).toBe(9);
  rig.world.terminate(rig.supervisor as SimulatedProcess);
  const { supervisor } = rig;
  await rig.world.run({ until: () => supervisor?.alive === false, forMs: 60_000 });
  expect(await rig.start(OPEN)).toBe('');
  expect(await rig.read(await rig.window(), at)).toBe(7);
});

test('it is made once, opened by one, and only of the node that it is of', async () => {
  const { rig } = await begun(30);
  const first = rig.supervisor;
  expect(await rig.start(CREATE)).toContain('is there already');
  expect(await rig.start(OPEN)).toContain('is being served');
  expect(await rig.start({ ...OPEN, path: '/none' })).toContain('--create');
  rig.world.kill(first as SimulatedProcess);
  expect(await rig.start(OPEN, 'other')).toContain('is the memory of n1');
});

test('a full disk refuses the file, and leaves nothing', async () => {
  const rig = new Rig(40);
  rig.world.faults.setRate(FaultKind.DiskFull, 1_000_000);
  expect(await rig.start(CREATE)).toContain('free some, lend less');
  rig.world.faults.setRate(FaultKind.DiskFull, 0);
  expect(await rig.start(CREATE)).toBe('');
});

test('a file whose name could not be made durable is not left', async () => {
  const rig = new Rig(41);
  // The next flush is of the folder.
  rig.world.onFlush(() => {
    rig.world.after(0, () => rig.world.faults.setRate(FaultKind.DiskFlushError, 1_000_000));
  });
  expect(await rig.start(CREATE)).toContain('/memory could not be made');
  rig.world.onFlush(() => {});
  rig.world.faults.setRate(FaultKind.DiskFlushError, 0);
  expect(await rig.start(OPEN)).toContain('there is no /memory');
  expect(await rig.start(CREATE)).toBe('');
});

test('a flush that fails ends the node, and nobody is told that it is done', async () => {
  const { rig, at } = await begun(50);
  const window = await rig.window();
  expect(await rig.write(window, at + PAGE, 9)).toBe(Status.Ok);
  rig.world.faults.setRate(FaultKind.DiskFlushError, 1_000_000);
  const { supervisor } = rig;
  const answer = await rig.flush(at + PAGE, 8, 0);
  expect(answer.status).not.toBe(Status.Ok);
  await rig.world.run({ until: () => supervisor?.alive === false, forMs: 60_000 });
  expect(supervisor?.exit?.code).toBe(EXIT_STORAGE_FAILED);
  rig.world.faults.setRate(FaultKind.DiskFlushError, 0);
  expect(await rig.start(OPEN)).toBe('');
  expect(await rig.read(await rig.window(), at)).toBe(7);
});

test('a file that was damaged is refused, by what is damaged', async () => {
  const { rig } = await begun(60);
  rig.world.kill(rig.supervisor as SimulatedProcess);
  const { runtime } = rig.world.program(rig.machine, 'vandal');
  const file = await rig.wait(runtime.durables.open('/memory'));
  // Both images: one of them counts.
  for (let at = FRAMES * PAGE + 4096; at < file.bytes - 65536 - 8192; at += 65536) {
    file.map(at - (at % 4096), 4096).bytes[5] = 77;
  }
  file.release();
  expect(await rig.start(OPEN)).toContain('damaged');
});
