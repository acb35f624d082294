import { expect, test } from 'vitest';
import { sleep } from '../clock.js';
import { handler } from '../conformance/check.js';
import type { MemoryFile } from '../memory.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime.js';
import type { ThreadMain } from '../thread-main.js';
import { runEverything } from './testing/everything.js';
import {
  FAULT_KINDS,
  FaultKind,
  type FaultRates,
  SimulatedCrash,
  SimulatedWorld,
  type SimulatedWorldOptions,
} from './world.js';

test('every kind of fault is injected, and each matters somewhere', async () => {
  const injected = new Map<FaultKind, number>();
  const mattered = new Map<FaultKind, number>();
  for (let seed = 0; seed < 12; seed++) {
    const world = await runEverything(seed, setImmediate);
    for (const kind of FAULT_KINDS) {
      injected.set(kind, (injected.get(kind) ?? 0) + world.faults.injected[kind]);
      mattered.set(kind, (mattered.get(kind) ?? 0) + world.faultMattered(kind));
      expect(world.faultMattered(kind)).toBeLessThanOrEqual(world.faults.injected[kind]);
    }
  }
  expect(FAULT_KINDS.filter((kind) => injected.get(kind) === 0)).toEqual([]);
  expect(FAULT_KINDS.filter((kind) => mattered.get(kind) === 0)).toEqual([]);
});

function makeWorld(faults: FaultRates = {}, options: Partial<SimulatedWorldOptions> = {}) {
  const world = new SimulatedWorld({
    seed: 1,
    immediate: setImmediate,
    shake: false,
    faults,
    ...options,
  });
  const [a, b] = [world.machine('a'), world.machine('b')];
  return { world, a, b, near: world.program(a, 'near'), far: world.program(b, 'far') };
}

/** A stream from a to b, with what each side was told. */
async function connect(parts: ReturnType<typeof makeWorld>) {
  const { world, b, near, far } = parts;
  const told = { near: '', far: '', received: 0, calls: 0 };
  const address = `tcp://${b.host}:7000`;
  const farHandler = handler({
    received(_stream, _input, start, end) {
      told.received += end - start;
      told.calls += 1;
      return end - start;
    },
    closed: (_stream, reason) => {
      told.far = reason;
    },
  });
  const nearHandler = handler({
    closed: (_stream, reason) => {
      told.near = reason;
    },
  });
  await world.drive(far.runtime.network.listen(address, () => farHandler));
  const stream = await world.drive(near.runtime.network.connect(address, nearHandler, 1_000));
  const send = (bytes: number): void => {
    if (stream.reserve(bytes) < 0) return;
    stream.commit(bytes);
    stream.flush();
  };
  return { stream, told, send, address };
}

test('a one-way partition holds bytes, and they arrive once it is healed', async () => {
  let arrived = 0;
  for (let seed = 0; seed < 20; seed++) {
    const parts = makeWorld({}, { seed });
    const { world, a, b } = parts;
    const { told, send } = await connect(parts);
    const cut = world.partition([a], [b], { oneWay: true });
    send(800);
    await world.run({ forMs: 100 });
    expect(told.received).toBe(0);
    world.heal(cut);
    await world.run({ forMs: 1_000 });
    // Or the connection did not survive.
    if (told.received === 800) arrived += 1;
    else expect([told.near, told.far]).toEqual(['connection reset', 'connection reset']);
  }
  expect(arrived).toBeGreaterThan(5);
  expect(arrived).toBeLessThan(20);
});

test('over a partition nobody connects, and a stream that waits too long times out', async () => {
  const parts = makeWorld();
  const { world, a, b, near } = parts;
  const { told, send, address } = await connect(parts);
  world.partition([a], [b]);
  const attempt = near.runtime.network.connect(address, handler({}), 300);
  await expect(world.drive(attempt)).rejects.toMatchObject({ kind: 'timeout' });
  send(8);
  await world.run({ forMs: 3 * world.knobs.keepaliveMs });
  expect([told.near, told.far]).toEqual(['timed out', 'timed out']);
  expect(world.faultMattered(FaultKind.Partition)).toBe(1);
});

test.each([
  ['streams', FaultKind.StreamsCut, [0, 1]],
  ['datagrams', FaultKind.DatagramsCut, [96, 0]],
] as const)('a wire may pass all but %s', async (only, kind, [bytes, datagrams]) => {
  const parts = makeWorld();
  const { world, a, b, near, far } = parts;
  const { told, send } = await connect(parts);
  let heard = 0;
  const hearer = {
    received: (_: unknown, batch: { count: number }) => void (heard += batch.count),
  };
  const at = `udp://${b.host}:7001`;
  await world.drive(far.runtime.network.bind(at, hearer));
  const socket = await world.drive(near.runtime.network.bind(`udp://${a.host}:7002`, hearer));
  const cut = world.partition([a], [b], { only });
  expect(world.faults.injected[kind]).toBe(1);
  send(96);
  socket.reserve(8);
  socket.commit(8, socket.peerOf(at), 0);
  socket.flush();
  await world.run({ forMs: 100 });
  expect([told.received, heard]).toEqual([bytes, datagrams]);
  world.heal(cut);
  await world.run({ forMs: 1_000 });
  // What was held arrives, or the stream has ended; a datagram is lost.
  expect([told.received > 0 || told.near !== '', heard]).toEqual([true, datagrams]);
});

test('a killed process closes its streams, and its own code never runs again', async () => {
  const parts = makeWorld();
  const { world, far } = parts;
  const { told, address } = await connect(parts);
  let ran = false;
  far.runtime.timers.after(1, () => {
    ran = true;
  });
  world.kill(far);
  await world.run();
  expect(told).toMatchObject({ near: 'closed by peer: killed', far: '' });
  expect(ran).toBe(false);
  expect(world.faultMattered(FaultKind.Kill)).toBe(1);
  const attempt = parts.near.runtime.network.connect(address, handler({}), 300);
  await expect(world.drive(attempt)).rejects.toMatchObject({ kind: 'refused' });
});

test('a machine that crashed is silent, until a keepalive or an answer by reset', async () => {
  const parts = makeWorld();
  const { world, b } = parts;
  const { told, send } = await connect(parts);
  world.crash(b);
  await world.run({ forMs: 1 });
  expect(told.near).toBe('');
  world.restart(b);
  send(8);
  await world.run({ forMs: 1 });
  expect(told.near).toBe('connection reset by peer');
  expect(world.faultMattered(FaultKind.MachineCrash)).toBe(1);
});

test('a paused process gets later what came meanwhile, its timers too', async () => {
  const parts = makeWorld();
  const { world, far } = parts;
  const { told, send } = await connect(parts);
  let fired = 0;
  far.runtime.timers.after(10, () => fired++);
  far.runtime.timers.after(5, () => fired++).cancel();
  world.pause(far);
  send(80);
  send(80);
  await world.run({ forMs: 50 });
  expect([told.received, fired]).toEqual([0, 0]);
  world.resume(far);
  await world.run();
  expect([told.received, fired]).toEqual([160, 1]);
});

test('a reset loses what was under way; half open, one side learns of it late', async () => {
  const both = makeWorld({ [FaultKind.StreamReset]: 1_000_000 });
  const reset = await connect(both);
  reset.send(8_000);
  await both.world.run();
  expect([reset.told.near, reset.told.far]).toEqual(['connection reset', 'connection reset']);
  expect(reset.told.received).toBeLessThan(8_000);
  const toldAtOnce = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const parts = makeWorld({ [FaultKind.HalfOpen]: 1_000_000 }, { seed });
    const half = await connect(parts);
    half.send(800);
    await parts.world.run({ forMs: 5 });
    toldAtOnce.add(`${half.told.near}/${half.told.far}`);
    await parts.world.run();
    expect(half.told.near).not.toBe('');
    expect(half.told.far).not.toBe('');
  }
  expect([...toldAtOnce].sort()).toEqual(['/connection reset', 'connection reset/']);
});

test('splitting shows single bytes too', async () => {
  const parts = makeWorld({ [FaultKind.StreamSplit]: 1_000_000 });
  const { told, send } = await connect(parts);
  for (let i = 0; i < 10; i++) send(4_000);
  await parts.world.run();
  expect(told.received).toBe(40_000);
  expect(told.calls).toBeGreaterThan(50);
});

test('memory lives as long as a living process holds it', async () => {
  let seen = -1;
  let file: MemoryFile | undefined;
  const node: RoleMain<never> = async (runtime: Runtime, config: { handle: number }) => {
    const { bytes } = runtime.memory.adopt(config.handle).map(0, 4096);
    seen = bytes[0] ?? -1;
    bytes[0] = seen + 1;
    return { address: '', stop: () => Promise.resolve() };
  };
  const supervisor = async (runtime: Runtime): Promise<RunningRole> => {
    file = runtime.memory.create('memrack-test', 4096);
    const { handle } = file;
    for (let i = 0; i < 3; i++) {
      const child = runtime.processes.spawn({ role: 'node', config: { handle }, memory: [handle] });
      await new Promise<void>((resolve) => runtime.timers.after(100, resolve));
      child.end('kill');
      await child.exited;
    }
    return { address: '', stop: () => Promise.resolve() };
  };
  const parts = makeWorld({}, { roles: { node, supervisor } });
  const { world, a } = parts;
  const process = world.start(a, 'supervisor', {});
  await world.run({ until: () => process.running !== undefined });
  expect(seen).toBe(2);
  world.kill(process);
  expect(() => file?.map(0, 4096)).not.toThrow();
  // Whoever takes the memory next sees zeros.
  const next = parts.near.runtime.memory.create('memrack-next', 4096);
  expect(next.map(0, 4096).bytes[0]).toBe(0);
});

/** How often a thread sees a copy of its process half done. */
async function halvesSeen(splitCopiesPerMillion: number): Promise<number> {
  let halves = 0;
  const peek: ThreadMain = async (runtime, start) => {
    const { words } = runtime.memory.adopt(start.memory[0] ?? 0).map(0, 4096);
    let looks = 2_000;
    const look = (): void => {
      if (words[0] !== words[1_023]) halves += 1;
      if (looks-- > 0) runtime.timers.after(0, look);
    };
    look();
    while (looks > 0) await sleep(runtime.timers, 1);
  };
  const write = async (runtime: Runtime): Promise<RunningRole> => {
    const { memory, threads } = runtime;
    const file = memory.create('memrack-test', 4096);
    const { bytes } = file.map(0, 4096);
    threads.spawn({ entry: 'peek', arguments: {}, shared: [], memory: [file.handle] });
    for (let i = 0; i < 1_000; i++) {
      memory.copy(bytes, 0, new Uint8Array(4096).fill(i), 0, 4096);
      await threads.pausePoint();
    }
    return { address: '', stop: async () => {} };
  };
  const options = { roles: { write }, threads: { peek }, knobs: { splitCopiesPerMillion } };
  const { world, a } = makeWorld({}, options);
  world.start(a, 'write', {});
  await world.run();
  return halves;
}

test('where copies are split, another thread sees their halves', async () => {
  expect(await halvesSeen(0)).toBe(0);
  expect(await halvesSeen(500_000)).toBeGreaterThan(10);
});

test('children are killed with their parent', async () => {
  const idle: RoleMain<never> = () => Promise.resolve({ address: '', stop: async () => {} });
  const parent = async (runtime: Runtime): Promise<RunningRole> => {
    runtime.processes.spawn({ role: 'idle', config: {} });
    return { address: '', stop: async () => {} };
  };
  const { world, a } = makeWorld({}, { roles: { idle, parent } });
  const process = world.start(a, 'parent', {});
  await world.run();
  expect(world.processes.map(({ role }) => role)).toEqual(['near', 'far', 'parent', 'idle']);
  world.kill(process);
  await world.run();
  expect(world.processes.map(({ role }) => role)).toEqual(['near', 'far']);
});

test('an interrupted commit is stored wholly or not at all', async () => {
  const schema = { t: { columns: { id: 'integer' }, key: ['id'] } } as const;
  const found = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const { world, a, near } = makeWorld({}, { seed });
    const database = await world.drive(near.runtime.databases.open('/data', 'x', schema));
    void database.commit([
      { put: 't', row: { id: 1 } },
      { put: 't', row: { id: 2 } },
    ]);
    world.kill(near);
    const { databases } = world.program(a, 'again').runtime;
    const again = await world.drive(databases.open('/data', 'x', schema));
    found.add(JSON.stringify(again.select('t').map(({ id }) => id)));
    expect(world.faultMattered(FaultKind.CommitInterrupted)).toBe(1);
  }
  expect([...found].sort()).toEqual(['[1,2]', '[]']);
});

test('a bug of a simulated process ends the run with the seed and the time', async () => {
  const { world, near } = makeWorld();
  near.runtime.timers.after(5, () => {
    throw new Error('as planned');
  });
  await expect(world.run()).rejects.toThrow(SimulatedCrash);
  await expect(world.run()).resolves.toBe('idle');
  near.runtime.log.write('error', 'something', { why: 1 });
  expect(world.report()).toContain('error: something {"why":1}');
});

test('a loop that waits for time within one turn is told so', async () => {
  const { world, near } = makeWorld();
  near.runtime.timers.after(5, () => {
    const start = near.runtime.clock.now();
    while (near.runtime.clock.now() === start) {
      // Waits in vain.
    }
  });
  await expect(world.run()).rejects.toThrow('waits for time');
});

test('calm ends everything that was wrong', async () => {
  const parts = makeWorld({ [FaultKind.StreamReset]: 1_000_000 });
  const { world, a, b, far } = parts;
  world.calm();
  const { told, send } = await connect(parts);
  world.partition([a], [b]);
  world.pause(far);
  world.slow(a, 100);
  send(800);
  await world.run({ forMs: 20 });
  world.calm();
  await world.run({ forMs: 1_000 });
  expect(told.received === 800 || told.far === 'connection reset').toBe(true);
});

test('calm ends a slow reader of a connection that is still open', async () => {
  const parts = makeWorld({ [FaultKind.SlowPeer]: 1_000_000 });
  const { world } = parts;
  const { told, send } = await connect(parts);
  send(100_000);
  await world.run({ forMs: 20 });
  expect(told.received).toBeLessThan(50_000);
  world.calm();
  await world.run({ forMs: 100 });
  expect(told.received).toBe(100_000);
});
