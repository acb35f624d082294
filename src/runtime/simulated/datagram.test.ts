import { expect, test } from 'vitest';
import {
  DATAGRAM_BATCH_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  PEER_BYTES,
} from '../network.js';
import {
  FaultKind,
  type SimulatedProcess,
  SimulatedWorld,
  type SimulatedWorldOptions,
} from './world.js';

/** Notes every batch: how many senders it has, and the first byte of each datagram. */
class Recorder implements DatagramHandler {
  readonly batches: { readonly senders: number; readonly names: number[] }[] = [];
  readonly ages: number[] = [];
  /** The last one, kept although that is forbidden. */
  last: DatagramBatch | undefined;

  received(_socket: DatagramSocket, batch: DatagramBatch): void {
    const senders = new Set<string>();
    const names: number[] = [];
    for (let i = 0; i < batch.count; i++) {
      senders.add(batch.peers.subarray(i * PEER_BYTES, (i + 1) * PEER_BYTES).join());
      names.push(batch.input.bytes[batch.starts[i] as number] as number);
    }
    this.ages.push(...batch.ages.subarray(0, batch.count));
    this.batches.push({ senders: senders.size, names });
    this.last = batch;
  }

  get names(): number[] {
    return this.batches.flatMap(({ names }) => names);
  }
}

async function makeRack(options: Partial<SimulatedWorldOptions> = {}): Promise<{
  world: SimulatedWorld;
  process: SimulatedProcess;
  recorder: Recorder;
  server: DatagramSocket;
  bind: (host: string) => Promise<DatagramSocket>;
}> {
  const world = new SimulatedWorld({ seed: 4, shake: false, immediate: setImmediate, ...options });
  const home = world.machine('home');
  const process = world.program(home, 'server');
  const recorder = new Recorder();
  const address = `udp://${home.host}:7070`;
  const server = await world.drive(process.runtime.network.bind(address, recorder));
  const bind = (name: string): Promise<DatagramSocket> => {
    const machine = name === 'home' ? home : world.machine(name);
    const { network } = world.program(machine, `client ${name}`).runtime;
    return world.drive(network.bind(`udp://${machine.host}:0`, { received: () => {} }));
  };
  return { world, process, recorder, server, bind };
}

function send(from: DatagramSocket, to: DatagramSocket, bytes: number, count = 1): void {
  const peer = from.peerOf(to.address);
  for (let i = 0; i < count; i++) {
    const at = from.reserve(bytes);
    from.output.bytes[at] = i;
    from.commit(bytes, peer, 0);
  }
  from.flush();
}

test('what waited during a pause comes in full batches of several senders', async () => {
  const { world, process, recorder, server, bind } = await makeRack();
  const clients = [await bind('a'), await bind('b'), await bind('c')];
  world.pause(process);
  for (const client of clients) send(client, server, 64, 40);
  const { timers } = world.program(world.machine('d'), 'sleeper').runtime;
  await world.drive(new Promise<void>((wake) => void timers.after(50, wake)));
  expect(recorder.batches).toEqual([]);
  world.resume(process);
  await world.run({ forMs: 50 });
  expect(recorder.names.length).toBe(120);
  expect(recorder.batches.length).toBeLessThan(12);
  expect(recorder.batches.some(({ names }) => names.length === DATAGRAM_BATCH_MAX)).toBe(true);
  expect(recorder.batches.some(({ senders }) => senders > 1)).toBe(true);
  for (const age of recorder.ages) expect(age > 45 && age < 60, `${age} ms`).toBe(true);
  send(clients[0] as DatagramSocket, server, 64);
  await world.run({ forMs: 50 });
  expect(recorder.ages.at(-1)).toBeLessThan(1);
});

test('a paused process keeps a buffer full, and the rest is counted as dropped', async () => {
  const { world, process, recorder, server, bind } = await makeRack({
    knobs: { datagramBufferBytes: 16_000 },
  });
  expect(server.receiveBytes).toBe(16_000);
  const client = await bind('a');
  world.pause(process);
  send(client, server, 1_000, 40);
  await world.run({ forMs: 50 });
  world.resume(process);
  await world.run({ forMs: 50 });
  expect(recorder.names.length).toBe(16);
  expect(server.dropped).toBe(24);
  send(client, server, 60_000, 1);
  await world.run({ forMs: 50 });
  expect(recorder.names.length).toBe(17);
});

test('without a pause too senders share batches, and batches are of many lengths', async () => {
  const { world, recorder, server, bind } = await makeRack();
  const clients = [await bind('a'), await bind('b'), await bind('c')];
  for (let round = 0; round < 100; round++) {
    for (const client of clients) send(client, server, 64, 10);
    await world.run({ forMs: 1 });
  }
  expect(recorder.names.length).toBe(3_000);
  expect(recorder.batches.some(({ senders }) => senders > 1)).toBe(true);
  expect(new Set(recorder.batches.map(({ names }) => names.length)).size).toBeGreaterThan(8);
});

test('what a path does not take is lost between machines, and told to nobody', async () => {
  const { world, recorder, server, bind } = await makeRack({ knobs: { pathBytes: 1_472 } });
  const [near, far] = [await bind('home'), await bind('far')];
  for (const client of [near, far]) for (const bytes of [1_472, 1_473]) send(client, server, bytes);
  await world.run({ forMs: 50 });
  expect(recorder.names.length).toBe(3);
  expect(near.unsent + far.unsent + server.dropped).toBe(0);
});

test('each way between two machines has a length of its own, which may shrink', async () => {
  const { world, recorder, server, bind } = await makeRack({ knobs: { pathBytes: 8_972 } });
  const far = await bind('far');
  const [home, other] = [world.machine('home'), world.machine('far')];
  const heard = async (bytes: number): Promise<number> => {
    const before = recorder.names.length;
    send(far, server, bytes);
    await world.run({ forMs: 5 });
    return recorder.names.length - before;
  };
  world.setPath(other, home, 4_000);
  expect([await heard(4_000), await heard(4_001)]).toEqual([1, 0]);
  world.setPath(home, other, 1_232);
  expect(await heard(4_000)).toBe(1);
  const less = world.shrinkPath([other], [home], { bytes: 1_472 });
  const refusing = world.shrinkPath([other], [home], { bytes: 1_400, isTold: true });
  expect([await heard(1_400), far.unsent]).toEqual([1, 0]);
  expect([await heard(1_401), far.unsent]).toEqual([0, 1]);
  world.restorePath(refusing);
  expect([await heard(1_401), await heard(1_473), far.unsent]).toEqual([1, 0, 1]);
  expect(world.faults.injected[FaultKind.PathShrunk]).toBe(2);
  expect(world.faults.mattered[FaultKind.PathShrunk]).toBe(2);
  world.calm();
  expect([await heard(4_000), less.untilNs < Infinity]).toEqual([1, true]);
});

test('while a path becomes shorter what is too long comes late, and later not at all', async () => {
  const { world, recorder, server, bind } = await makeRack({ knobs: { pathBytes: 8_972 } });
  const far = await bind('far');
  const ends = [[world.machine('far')], [world.machine('home')]] as const;
  const less = world.shrinkPath(...ends, { bytes: 1_472, lateMs: 10 });
  send(far, server, 8_000, 20);
  send(far, server, 1_000);
  await world.run({ forMs: 10 });
  const soon = recorder.names.length;
  expect(soon).toBeGreaterThan(0);
  expect(soon).toBeLessThan(10);
  send(far, server, 8_000, 20);
  world.restorePath(less);
  await world.run({ forMs: 200 });
  expect(recorder.names.length).toBe(21);
});

test('the names of machines are looked up', async () => {
  const { world, process } = await makeRack();
  const { network } = process.runtime;
  const { host } = world.machine('home');
  expect(await world.drive(network.lookUp('udp://home:7'))).toEqual([`udp://${host}:7`]);
  await expect(world.drive(network.lookUp('udp://nobody:7'))).rejects.toThrow('not known');
});

test('a socket of the own machine alone reaches no other', async () => {
  const { world, recorder, server } = await makeRack();
  const { network } = world.program(world.machine('other'), 'client').runtime;
  const local = network.bind('udp://127.0.0.1:0', { received: () => {} });
  const client = await world.drive(local);
  send(client, server, 8);
  await world.run({ forMs: 50 });
  expect(recorder.names).toEqual([]);
  expect(client.unsent).toBe(1);
});

test('a machine whose tasks need time for a datagram serves no more than it can', async () => {
  const world = new SimulatedWorld({
    seed: 4,
    shake: false,
    immediate: setImmediate,
    knobs: { latencyNs: 1_000, jitterNs: 0, tailDoublingsMax: 0 },
  });
  const home = world.machine('home', { workNs: (datagram) => 1_000 * datagram.length });
  const recorder = new Recorder();
  const { network } = world.program(home, 'server').runtime;
  const server = await world.drive(network.bind(`udp://${home.host}:7070`, recorder));
  const other = world.program(world.machine('other'), 'client').runtime.network;
  const client = await world.drive(other.bind(`udp://${world.machine('other').host}:0`, recorder));
  const beforeMs = world.nowMs;
  send(client, server, 8, 50);
  await world.run({ until: () => recorder.names.length === 1 });
  expect(world.nowMs - beforeMs).toBeGreaterThanOrEqual(0.008);
  await world.run({ forMs: 50 });
  send(client, server, 8, 50);
  send(client, server, 8, 1);
  const againMs = world.nowMs;
  await world.run({ until: () => recorder.names.length === 101 });
  expect(world.nowMs - againMs).toBeGreaterThanOrEqual(50 * 0.008);
});

test('a batch is overwritten after the call', async () => {
  const { world, recorder, server, bind } = await makeRack();
  send(await bind('a'), server, 8);
  await world.run({ forMs: 50 });
  expect([...(recorder.last?.input.bytes.subarray(0, 8) ?? [])]).toEqual(Array(8).fill(0xdd));
  expect(recorder.last?.peers[0]).toBe(0xdd);
});
