// What a link does when its path takes more than it knows, or less than it did.
import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { PartFlag } from '../../wire/datagram.js';
import { MessageType } from '../../wire/messages.js';
import { PATH_BYTES } from './path-size.js';
import type { Attempt } from './testing/scripted-node.js';
import { UdpRig } from './testing/udp-rig.js';

const LONGEST = PATH_BYTES.at(-1) as number;

/** Small reads, so that there is something to hear and pings are sent. */
async function chatter(rig: UdpRig, ms: number): Promise<void> {
  const end = rig.world.nowMs + ms;
  while (rig.world.nowMs < end) {
    const { token } = rig.read(1 << 20, 8);
    await rig.until(() => rig.status(token) === Status.Ok);
    await rig.pass(1);
  }
}

/** A link that knows that its path takes everything. */
async function grown(): Promise<UdpRig> {
  const rig = await UdpRig.open();
  rig.node.upBytes = rig.node.downBytes = Infinity;
  await chatter(rig, 200);
  // The size above the sure one was tried in vain before, and is tried again after a minute.
  await rig.pass(60_000);
  await chatter(rig, 50);
  expect(rig.udp.pathBytes).toBe(LONGEST);
  rig.node.attempts.length = 0;
  return rig;
}

const long = (rig: UdpRig): Attempt[] => rig.node.attempts.filter((one) => one.address < 1 << 20);
const bytesOf = (attempts: readonly Attempt[]) => attempts.map(({ bytes }) => bytes);

test('parts become as long as the path is known to take', async () => {
  const rig = await grown();
  const token = rig.write(0, 65_536);
  await rig.until(() => rig.status(token) === Status.Ok);
  expect(bytesOf(long(rig))).toEqual([32_768, 32_768]);
  expect(rig.udp.counters).toMatchObject({
    pathBytes: LONGEST,
    pathsGrown: PATH_BYTES.length - 1,
    pathsShrunk: 0,
  });
  expect(rig.udp.counters.pathPingsAnswered).toBe(PATH_BYTES.length - 1);
});

test('a link that is idle sends no pings', async () => {
  const rig = await grown();
  const { pathPings } = rig.udp.counters;
  await rig.pass(600_000);
  expect(rig.udp.counters.pathPings).toBe(pathPings);
});

for (const way of ['upBytes', 'downBytes'] as const) {
  test(`a path that takes less one way (${way}) has that size both ways`, async () => {
    const rig = await UdpRig.open();
    rig.node.upBytes = rig.node.downBytes = Infinity;
    rig.node[way] = 4_100;
    await chatter(rig, 200);
    await rig.pass(60_000);
    await chatter(rig, 200);
    expect(rig.udp.pathBytes).toBe(4_040);
  });
}

test('no datagram is longer than the node says that it takes', async () => {
  const rig = await UdpRig.open((node) => {
    node.upBytes = node.downBytes = Infinity;
    node.takesBytes = 4_100;
  });
  await chatter(rig, 200);
  const token = rig.write(0, 65_536);
  await rig.until(() => rig.status(token) === Status.Ok);
  await chatter(rig, 200);
  expect(rig.udp.pathBytes).toBe(4_040);
  expect(rig.node.longestBytes).toBeGreaterThan(4_000);
  expect(rig.node.longestBytes).toBeLessThanOrEqual(4_100);
});

test('a node that takes less than before is sent less at once', async () => {
  const rig = await grown();
  rig.node.takesBytes = 9_000;
  await rig.pass(20_000);
  await chatter(rig, 50);
  expect(rig.udp.pathBytes).toBe(8_848);
  rig.node.longestBytes = 0;
  const token = rig.write(0, 65_536);
  await rig.until(() => rig.status(token) === Status.Ok);
  await chatter(rig, 5_000);
  expect(rig.node.longestBytes).toBeLessThanOrEqual(9_000);
  rig.node.takesBytes = 65_504;
  await rig.pass(20_000);
  await chatter(rig, 50);
  expect(rig.udp.pathBytes).toBe(LONGEST);
});

test('reads are cut anew when answers as long do not come any more', async () => {
  const rig = await grown();
  rig.node.downBytes = 1_472;
  const { token, into } = rig.read(0, 20_000);
  rig.node.script = ({ address, bytes }) => {
    return { data: Uint8Array.from({ length: bytes }, (_, i) => (address + i) * 3) };
  };
  await rig.until(() => rig.status(token) === Status.Ok);
  expect(into).toEqual(Uint8Array.from({ length: 20_000 }, (_, i) => i * 3));
  expect(rig.udp.counters.pathsShrunk).toBe(1);
  expect(rig.udp.counters.withdrawals).toBe(0);
  const { partsAnswered } = rig.udp.counters;
  await chatter(rig, 100);
  expect(rig.udp.pathBytes).toBe(1_408);
  expect(rig.udp.counters.partsAnswered).toBeGreaterThan(partsAnswered);
});

test('a change that became too long is withdrawn, and cut anew when it never was', async () => {
  const rig = await grown();
  rig.node.upBytes = 1_472;
  rig.node.script = ({ isWithdrawal }) =>
    isWithdrawal ? { flags: PartFlag.NEVER, status: Status.Timeout } : {};
  const sent = rig.udp.counters.partsSent;
  const token = rig.write(0, 10_000);
  await rig.until(() => rig.status(token) === Status.Ok);
  const attempts = long(rig);
  const [withdrawal, ...others] = attempts;
  expect(withdrawal?.isWithdrawal).toBe(true);
  expect(others.every((one) => !one.isWithdrawal && one.id !== withdrawal?.id)).toBe(true);
  expect(bytesOf(others).reduce((sum, bytes) => sum + bytes, 0)).toBe(10_000);
  expect(Math.max(...bytesOf(others))).toBeLessThan(1_408);
  expect(rig.udp.counters.partsSent - sent).toBeGreaterThan(attempts.length);
});

test('a change that became too long, and had been executed, is not made again', async () => {
  const rig = await grown();
  rig.node.script = () => undefined;
  const token = rig.write(0, 10_000);
  await rig.until(() => long(rig).length === 1);
  rig.node.upBytes = 1_472;
  rig.node.script = ({ type, isWithdrawal }) =>
    isWithdrawal || type === MessageType.Read ? {} : undefined;
  await rig.until(() => rig.status(token) === Status.Ok);
  const [first, ...others] = long(rig);
  expect(others.length).toBeGreaterThan(0);
  for (const one of others) {
    expect([one.isWithdrawal, one.id, one.deadline]).toEqual([true, first?.id, first?.deadline]);
  }
});

test('a change that was never sent is cut anew at once', async () => {
  const rig = await grown();
  rig.node.upBytes = 1_472;
  rig.node.script = ({ type }) => (type === MessageType.Read ? {} : undefined);
  // The first one fills the window, the second one waits behind it.
  const tokens = [rig.write(0, 65_536), rig.write(131_072, 65_536)];
  await rig.until(() => rig.udp.counters.pathsShrunk === 1);
  rig.node.script = ({ isWithdrawal }) =>
    isWithdrawal ? { flags: PartFlag.NEVER, status: Status.Timeout } : {};
  await rig.until(() => tokens.every((token) => rig.status(token) === Status.Ok));
  const done = long(rig).filter(({ isWithdrawal }) => !isWithdrawal);
  const byId = new Map(done.map((one) => [one.id, one.bytes]));
  expect([...byId.values()].reduce((sum, bytes) => sum + bytes, 0)).toBe(131_072);
});

test('answers that are lost now and then do not shrink the path', async () => {
  const rig = await grown();
  let count = 0;
  rig.node.script = () => (++count % 3 === 0 ? undefined : {});
  for (let i = 0; i < 30; i++) {
    const token = rig.write(65_536 * i, 65_536);
    await rig.until(() => rig.status(token) === Status.Ok);
  }
  expect(rig.udp.counters.overtaken + rig.udp.counters.timedOut).toBeGreaterThan(10);
  expect(rig.udp.counters).toMatchObject({ pathsShrunk: 0, pathBytes: LONGEST });
});

test('a cookie that is not good any more is no sign of a short path', async () => {
  const rig = await grown();
  rig.node.pingAnswerBytesMax = 0;
  const { hellos } = rig.node;
  rig.node.script = ({ bytes }) => (bytes > 1000 ? undefined : {});
  rig.write(0, 32_768, 400);
  await rig.until(() => rig.node.hellos > hellos);
  expect(rig.udp.counters.cookiesRefused).toBeGreaterThan(0);
  expect(rig.udp.pathBytes).toBe(LONGEST);
});
