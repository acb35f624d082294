import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { MemoryError } from '../../runtime/memory.js';
import { NOT_NOW } from '../link.js';
import { NODE } from '../testing/rig.js';
import { PAGE } from '../testing/shared-node.js';
import { ShmRig } from '../testing/shm-rig.js';

const RING = 'ring:///node';

async function nodeWithRing(): Promise<ShmRig> {
  const rig = new ShmRig();
  rig.node.ring = RING;
  rig.node.page(1);
  void rig.server.listen(RING);
  await rig.attach();
  return rig;
}

const isAt = (rig: ShmRig, way: string) => rig.world.run(() => rig.tcp.transport.way === way, 500);

test('who attaches moves to the ring, and stays attached', async () => {
  const rig = await nodeWithRing();
  const { link, window, tcp, client } = rig;
  expect(tcp.transport.way).toBe(NODE);
  expect(link.writeNow(window, PAGE, Uint8Array.of(7), 0, 1)).toBe(Status.Ok);
  await rig.world.run(() => tcp.transport.way === '', 500);
  // Nobody knows what is under way until the hello is answered.
  expect(link.writeNow(window, PAGE, Uint8Array.of(9), 0, 1)).toBe(NOT_NOW);
  expect(await isAt(rig, RING)).toBe(true);
  const into = new Uint8Array(1);
  expect(link.readNow(window, PAGE, into, 0, 1)).toBe(Status.Ok);
  expect(into[0]).toBe(7);
  expect(link.counters).toMatchObject({ attachments: 1, attachmentsLost: 0 });
  expect(client.counters).toMatchObject({ connectionsMoved: 1, connectionsLost: 0 });
  expect(rig.server.sessions).toBe(1);
});

test('when the node comes back it is attached to and moved to again', async () => {
  const rig = await nodeWithRing();
  const { link, sink } = rig;
  expect(await isAt(rig, RING)).toBe(true);
  await rig.restart();
  void rig.server.listen(RING);
  link.fence(sink, 1, rig.deadline);
  await rig.told(1);
  expect(await isAt(rig, RING)).toBe(true);
  expect(await rig.world.run(() => link.isAttached)).toBe(true);
  expect(link.counters).toMatchObject({ attachments: 2, attachmentsLost: 1 });
  expect(rig.client.counters).toMatchObject({ connectionsMoved: 2, movesFailed: 0 });
});

test('who cannot open the memory, or gets no slot, does not try the ring', async () => {
  for (const isRefused of [true, false]) {
    const rig = new ShmRig();
    rig.node.ring = RING;
    if (isRefused) rig.node.refusal = Status.Unsupported;
    rig.memory.open = () => {
      throw new MemoryError('EACCES');
    };
    void rig.server.listen(RING);
    expect(await rig.result(rig.link.attach(5000))).toBeDefined();
    await rig.world.run(() => false, 100);
    expect(rig.tcp.transport.way).toBe(NODE);
    expect(rig.world.connections).toBe(1);
  }
});

test('a ring that breaks at the hello or behind it is tried less and less often', async () => {
  // Nothing, half a hello, the hello and a message or two.
  for (const passing of [0, 60, 150]) {
    const rig = new ShmRig();
    const { world, node, link, sink } = rig;
    node.ring = RING;
    void rig.server.listen(RING);
    world.wire = {
      cut: (number, way, passed, bytes) =>
        way === 'up' && world.addresses[number] === RING
          ? Math.min(bytes, passing - passed)
          : bytes,
    };
    await rig.attach();
    const end = world.nowMs + 60_000;
    for (let token = 1; world.nowMs < end; token++) {
      link.unreserve(sink, token, rig.deadline);
      await rig.told(token);
      expect(sink.status(token)).toBe(Status.Ok);
      await world.run(() => false, 20);
    }
    const tried = world.addresses.filter((address) => address === RING);
    expect(tried.length).toBeGreaterThan(3);
    expect(tried.length).toBeLessThan(20);
  }
});

test('who is closed at any moment of the move gives its slot back', async () => {
  for (let after = 0; after < 16; after++) {
    const rig = await nodeWithRing();
    await rig.world.run(() => false, after * 0.005);
    rig.link.close();
    await rig.world.run(() => rig.server.sessions === 0, 1_000);
    expect([after, rig.node.table.owners.taken()]).toEqual([after, []]);
    expect(rig.server.sessions).toBe(0);
  }
});
