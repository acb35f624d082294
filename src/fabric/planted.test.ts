import { afterEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { fabricFaults } from './planted.js';
import { FakeWorld, type Wire } from './testing/fake-world.js';
import { RawClient, target } from './testing/raw-client.js';
import { NODE, Rig } from './testing/rig.js';
import { MessageType } from '../wire/messages.js';

/** Each planted bug does harm that a checker can see, and does none once it is taken away. */

type FaultName = keyof typeof fabricFaults;

afterEach(() => {
  for (const name of Object.keys(fabricFaults) as FaultName[]) fabricFaults[name] = false;
});

/** Runs a scenario without and with the bug; `isRight` must notice. */
async function expectHarm(name: FaultName, isRight: () => Promise<boolean>): Promise<void> {
  expect(await isRight(), `${name} is not planted`).toBe(true);
  fabricFaults[name] = true;
  expect(await isRight(), `${name} is planted`).toBe(false);
}

async function started(wire: Wire) {
  const rig = new Rig(new FakeWorld(), 4096);
  const window = await rig.openWindow();
  rig.world.wire = wire;
  return { ...rig, rig, window, world: rig.world, link: rig.link, sink: rig.sink };
}

/** Loses the replies of the first connection, then the connection. */
const repliesLost: Wire = {
  isSilent: (connection, direction) => connection === 0 && direction === 'down',
};

test('a checksum that is not verified lets wrong bytes in', async () => {
  await expectHarm('checksumNotVerified', async () => {
    let isHit = false;
    const { rig, window, link, sink } = await started({
      touch(_connection, direction, _passed, bytes) {
        if (direction !== 'up' || isHit || bytes.length !== 56) return;
        isHit = true;
        bytes[48] = 99;
      },
    });
    link.write(window, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0, 8, sink, 1, rig.deadline);
    await rig.told(1);
    return rig.memory.bytes[0] === 1;
  });
});

test('a record that is ignored applies twice', async () => {
  await expectHarm('recordIgnored', async () => {
    const { rig, window, link, sink } = await started(repliesLost);
    link.fetchAndAdd(window, 0, 1, 0, sink, 1, rig.deadline);
    await rig.told(1);
    return rig.memory.view.getUint32(0, true) === 1;
  });
});

test('replies that are matched wrongly give wrong bytes', async () => {
  await expectHarm('replyMatchedWrong', async () => {
    const { rig, window, link, sink } = await started(repliesLost);
    rig.memory.bytes.set([1, 2], 0);
    const into = new Uint8Array(2);
    link.read(window, 0, into, 0, 1, sink, 1, rig.deadline);
    link.read(window, 1, into, 1, 1, sink, 2, rig.deadline);
    await rig.told(2);
    return into[0] === 1 && into[1] === 2;
  });
});

test('an old connection that is not fenced writes late', async () => {
  await expectHarm('oldConnectionNotFenced', async () => {
    const rig = new Rig(new FakeWorld(), 4096);
    const old = await new RawClient(rig.world).connect(NODE);
    const { instance } = await old.greet();
    const write = target(0, 8, 3, 8);
    rig.memory.isFull = true;
    old.add(MessageType.Write, 2, write.fill(9, 16), 7);
    old.writer.flush();
    await rig.world.run(() => rig.memory.waiting.size > 0, 100);
    const raw = await new RawClient(rig.world).connect(NODE);
    await raw.greet({ connection: 2, previous: 1, acknowledged: 1, instance });
    rig.memory.refill();
    await rig.world.run(() => false, 100);
    return rig.memory.bytes[0] === 0;
  });
});

test('a write that is acknowledged before it is applied is not seen by the next read', async () => {
  await expectHarm('acknowledgedBeforeApplied', async () => {
    const { rig, window, link, sink } = await started({});
    const into = new Uint8Array(1);
    link.write(window, 0, Uint8Array.of(5), 0, 1, sink, 1, rig.deadline);
    link.read(window, 0, into, 0, 1, sink, 2, rig.deadline);
    await rig.told(2);
    expect(sink.status(1)).toBe(Status.Ok);
    return into[0] === 5;
  });
});
