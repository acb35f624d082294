// What a link over datagrams sends, and what it tells, when the node answers as the test says.
import { describe, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { DatagramRefusal, PartFlag } from '../../wire/datagram.js';
import { MessageType, Right } from '../../wire/messages.js';
import { DONE } from '../serve.js';
import { Sink, SPACE } from '../testing/rig.js';
import { LIFE_MS } from './node-word.js';
import { type Attempt, only } from './testing/scripted-node.js';
import { UdpRig } from './testing/udp-rig.js';

const addresses = (attempts: readonly Attempt[]): number[] => attempts.map((one) => one.address);

describe('an attempt', () => {
  test('that is lost is made again: the same part, with the same deadline', async () => {
    const rig = await UdpRig.open();
    rig.node.script = (attempt) => (attempt.attempt < 2 ? undefined : {});
    const token = rig.write(64, 16);
    await rig.until(() => rig.status(token) === Status.Ok);
    const [first, second, third, ...more] = rig.node.attempts;
    expect(more).toEqual([]);
    expect([first?.attempt, second?.attempt, third?.attempt]).toEqual([0, 1, 2]);
    for (const one of [second, third]) {
      expect([one?.id, one?.deadline, one?.address]).toEqual([first?.id, first?.deadline, 64]);
      expect(one?.body).toEqual(first?.body);
      expect(one?.number).not.toBe(first?.number);
    }
    expect(only([...new Set(first?.body)])).toBe(token);
  });

  test('that was damaged is made again at once, when the node says so', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const token = rig.write(64, 16);
    await rig.until(() => rig.node.attempts.length === 1);
    const before = rig.world.nowMs;
    rig.node.script = () => ({});
    rig.node.refuse(only(rig.node.attempts).number, DatagramRefusal.CHECKSUM);
    await rig.until(() => rig.status(token) === Status.Ok);
    expect(rig.world.nowMs - before).toBeLessThan(1);
  });

  test('is taken for lost when three later ones were answered', async () => {
    const rig = await UdpRig.open();
    rig.node.script = (attempt) =>
      attempt.address === 0 && attempt.attempt === 0 ? undefined : {};
    const token = rig.write(0, 16);
    await rig.pass(0.2);
    const before = rig.world.nowMs;
    for (let i = 1; i <= 3; i++) {
      const other = rig.write(i * 64, 16);
      await rig.until(() => rig.status(other) === Status.Ok);
    }
    await rig.until(() => rig.status(token) === Status.Ok);
    expect(rig.world.nowMs - before).toBeLessThan(2);
    expect(rig.udp.counters).toMatchObject({ overtaken: 1, timedOut: 0 });
  });

  test('that cannot be executed now is made again a moment later', async () => {
    const rig = await UdpRig.open();
    let count = 0;
    rig.node.script = () => (++count < 4 ? { flags: PartFlag.AGAIN, status: Status.Busy } : {});
    const token = rig.write(0, 16);
    await rig.until(() => rig.status(token) === Status.Ok);
    expect(new Set(rig.node.attempts.map(({ id }) => id)).size).toBe(1);
    expect(rig.udp.counters.again).toBe(3);
  });

  test('is answered once, whatever comes twice or late', async () => {
    const rig = await UdpRig.open();
    const token = rig.add(0, 5);
    await rig.until(() => rig.status(token) === Status.Ok);
    const attempt = only(rig.node.attempts);
    rig.node.script = () => undefined;
    const other = rig.add(0, 6);
    await rig.until(() => rig.node.attempts.length === 2);
    rig.node.answer(attempt, { data: Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0) });
    rig.node.answer({ ...attempt, number: 12_345 }, {});
    await rig.pass(1);
    expect(rig.status(other)).toBeUndefined();
    const answer = { data: Uint8Array.of(7, 0, 0, 0, 1, 0, 0, 0) };
    rig.node.answer(rig.node.attempts[1] as Attempt, answer);
    rig.node.answer(rig.node.attempts[1] as Attempt, answer);
    await rig.pass(1);
    expect(rig.sink.told.get(other)).toMatchObject({ status: Status.Ok, low: 7, high: 1 });
  });
});

describe('a change whose fate is not known', () => {
  test('is begun anew when the node says that it never was executed', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => ({ flags: PartFlag.NEVER, status: Status.Timeout });
    const token = rig.write(0, 16);
    await rig.until(() => rig.node.attempts.length > 0);
    await rig.pass(10);
    rig.node.script = () => ({});
    await rig.until(() => rig.status(token) === Status.Ok);
    const ids = rig.node.attempts.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const last = rig.node.attempts.at(-1);
    expect([last?.attempt, last?.address]).toEqual([0, 0]);
    expect(last?.deadline).toBeGreaterThan(rig.node.attempts[0]?.deadline as number);
  });

  test('is not given up because the node knows nothing of it', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => ({ flags: PartFlag.LATE, status: Status.OutcomeUnknown });
    const token = rig.write(0, 16, 2000);
    await rig.pass(1900);
    expect(rig.status(token)).toBeUndefined();
    await rig.pass(200);
    expect(rig.status(token)).toBe(Status.OutcomeUnknown);
  });

  test('bars conflicting ones until the node has said that its deadline is over', async () => {
    const rig = await UdpRig.open();
    rig.node.script = ({ address }) => (address < 64 ? undefined : {});
    const token = rig.write(0, 16, 100);
    await rig.until(() => rig.status(token) !== undefined);
    expect(rig.status(token)).toBe(Status.OutcomeUnknown);
    const { deadline } = rig.node.attempts[0] as Attempt;
    const [behind, beside] = [rig.read(8, 8), rig.write(64, 8)];
    // The node's clock stands still, however much time passes here.
    const stop = rig.world.nowMs;
    const { clockAheadMs } = rig.node;
    const timer = setClock(rig, () => stop + clockAheadMs - rig.world.nowMs);
    await rig.until(() => rig.status(beside) === Status.Ok);
    const count = rig.node.attempts.length;
    await rig.pass(5 * LIFE_MS);
    expect(addresses(rig.node.since(count))).toEqual([]);
    expect(rig.status(behind.token)).toBeUndefined();
    timer.stop();
    rig.node.clockAheadMs = deadline - Math.floor(rig.world.nowMs);
    rig.node.script = () => ({});
    await rig.until(() => rig.status(behind.token) === Status.Ok);
  });

  test('is known after all where an answer comes before the time is over', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const token = rig.write(0, 16);
    await rig.pass(3000);
    expect(rig.status(token)).toBeUndefined();
    rig.node.answer(rig.node.attempts[0] as Attempt, { status: Status.NoSpace });
    await rig.pass(1);
    expect(rig.status(token)).toBe(Status.NoSpace);
  });

  test('is unknown when the node has another incarnation, and is not sent anew', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const token = rig.write(0, 16);
    const read = rig.read(128, 8);
    await rig.until(() => rig.node.attempts.length === 2);
    const [old] = rig.node.attempts as [Attempt];
    rig.node.incarnation = 78;
    rig.node.script = () => ({});
    rig.node.refuse(old.number, DatagramRefusal.INCARNATION);
    await rig.until(() => rig.status(read.token) === Status.Ok);
    expect(rig.status(token)).toBe(Status.OutcomeUnknown);
    expect(addresses(rig.node.since(2))).toEqual([128]);
    expect(rig.node.attempts.at(-1)?.incarnation).toBe(78);
    // Neither counts as under way any more, also the read that was begun anew.
    expect(rig.udp.state).toMatchObject({ underWayBytes: 0, expectedReplyBytes: 0 });
    // What the process before has said is no longer of interest.
    const next = rig.write(0, 16);
    rig.node.script = () => undefined;
    await rig.until(() => rig.node.attempts.length === 4);
    const hellos = rig.node.hellos;
    rig.node.answer({ ...(rig.node.attempts[3] as Attempt), number: old.number }, {}, 77);
    rig.node.incarnation = 77;
    rig.node.refuse(old.number, DatagramRefusal.INCARNATION);
    rig.node.incarnation = 78;
    await rig.pass(2);
    expect([rig.status(next), rig.node.hellos]).toEqual([undefined, hellos]);
  });
});

/** Keeps the node's clock where the function says, every tenth of a millisecond. */
function setClock(rig: UdpRig, ahead: () => number): { stop(): void } {
  let isOver = false;
  const set = (): void => {
    if (isOver) return;
    rig.node.clockAheadMs = ahead();
    rig.world.after(0.1, set);
  };
  set();
  return { stop: () => (isOver = true) };
}

test('after a long time without a word the node is asked for its clock first', async () => {
  const rig = await UdpRig.open();
  await rig.pass(3_600_000);
  rig.node.clockAheadMs -= 2000;
  const { hellos } = rig.node;
  const token = rig.write(0, 16);
  const before = rig.world.nowMs;
  await rig.until(() => rig.status(token) === Status.Ok);
  expect(rig.world.nowMs - before).toBeLessThan(2);
  expect(rig.node.hellos).toBe(hellos + 1);
  const { deadline } = only(rig.node.attempts);
  expect(deadline - rig.node.clock).toBeLessThanOrEqual(LIFE_MS);
});

describe('order', () => {
  test('conflicting operations are never under way together, others pass them', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const tokens = [
      rig.write(0, 16),
      rig.write(32, 16), // The same line of 64 bytes.
      rig.read(40, 64).token, // Both lines: behind the second.
      rig.write(64, 8), // Behind the third.
      rig.read(128, 8).token,
    ];
    await rig.until(() => rig.node.attempts.length === 2);
    await rig.pass(0.5);
    expect(addresses(rig.node.attempts)).toEqual([0, 128]);
    for (const next of [32, 40, 64]) {
      rig.node.answer(rig.node.attempts.filter(({ type }) => type > 0).at(-1) as Attempt, {});
      const earlier = rig.node.attempts.find(({ address }) => address === before(next)) as Attempt;
      rig.node.answer(earlier, {});
      await rig.until(() => rig.node.attempts.some(({ address }) => address === next));
    }
    rig.node.script = () => ({});
    await rig.until(() => tokens.every((token) => rig.status(token) === Status.Ok));
  });

  test('a fence is told when all before it have ended, and holds up those behind it', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const sink = new Sink();
    rig.write(0, 16);
    rig.udp.fence(sink, 1, rig.deadline);
    const behind = rig.read(4096, 8).token;
    await rig.pass(1);
    expect([sink.told.size, addresses(rig.node.attempts)]).toEqual([0, [0]]);
    rig.node.script = () => ({});
    rig.node.answer(only(rig.node.attempts), {});
    await rig.until(() => rig.status(behind) === Status.Ok);
    expect(sink.status(1)).toBe(Status.Ok);
  });

  test('calls wait for datagrams before them, and hold up those behind', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    rig.write(0, 16);
    const call = rig.udp.call(MessageType.Protect, PROTECT, 10_000);
    const behind = rig.read(4096, 8).token;
    await rig.pass(1);
    expect(addresses(rig.node.attempts)).toEqual([0]);
    rig.node.script = () => ({});
    rig.node.answer(only(rig.node.attempts), {});
    expect((await rig.result(call)).status).toBe(Status.Unsupported);
    await rig.until(() => rig.status(behind) === Status.Ok);
  });
});

test('a call that waits for what is in doubt is told when its time is over', async () => {
  const rig = await UdpRig.open();
  rig.node.isDead = true;
  const token = rig.write(0, 16, 300);
  const call = rig.udp.call(MessageType.Protect, PROTECT, 1000);
  const before = rig.world.nowMs;
  expect(await rig.result(call)).toMatchObject({ status: Status.Unavailable });
  expect(rig.world.nowMs - before).toBeLessThan(1100);
  expect(rig.status(token)).toBe(Status.OutcomeUnknown);
});

test('datagrams go on without the stream, unless it left something in doubt', async () => {
  const rig = await UdpRig.open();
  await rig.server.close();
  await rig.pass(100);
  const read = rig.read(0, 8);
  await rig.until(() => rig.status(read.token) === Status.Ok);
  rig.server = rig.serve();
  await rig.result(rig.udp.openWindow(SPACE, 10_000));
  rig.world.wire = { isSilent: (_connection, direction) => direction === 'down' };
  rig.memory.isFull = true;
  const sink = new Sink();
  const from = new Uint8Array(8);
  rig.udp.write(rig.window, 0, from, 0, 8, sink, 1, rig.world.nowMs + 500, 3);
  await rig.until(() => rig.memory.waiting.size > 0);
  await rig.until(() => sink.status(1) === Status.OutcomeUnknown);
  rig.world.cutAll();
  const behind = rig.read(0, 8);
  await rig.pass(1000);
  expect(rig.status(behind.token)).toBeUndefined();
  rig.world.wire = {};
  await rig.until(() => rig.status(behind.token) === Status.Ok);
});

const PROTECT = { space: 5, address: 0, bytes: 8, rights: Right.READ };

function before(address: number): number {
  return address === 32 ? 0 : address === 40 ? 32 : 40;
}

describe('parts', () => {
  test('are cut where no aligned word is, come in any order, and are put together', async () => {
    const rig = await UdpRig.open();
    // So that the window is as large as all of them.
    const first = rig.read(0, 3500);
    await rig.until(() => rig.status(first.token) === Status.Ok);
    rig.node.attempts.length = 0;
    rig.node.script = () => undefined;
    const at = 4096 + 24;
    const { token, into } = rig.read(at, 3500);
    const parts = () => [...new Map(rig.node.attempts.map((one) => [one.id, one])).values()];
    await rig.until(() => parts().reduce((sum, { bytes }) => sum + bytes, 0) === 3500);
    const attempts = parts();
    expect(attempts.length).toBe(4);
    for (const { address } of attempts.slice(1)) expect(address % 64).toBe(0);
    for (const attempt of attempts.reverse()) {
      const data = Uint8Array.from({ length: attempt.bytes }, (_, i) => (attempt.address + i) * 7);
      rig.node.answer(attempt, { data });
    }
    await rig.until(() => rig.status(token) === Status.Ok);
    expect(into).toEqual(Uint8Array.from({ length: 3500 }, (_, i) => (at + i) * 7));
  });

  test('of a write that are not all done leave the outcome unknown', async () => {
    const rig = await UdpRig.open();
    rig.node.script = ({ address }) => (address === 0 ? {} : { status: Status.NoSpace });
    const token = rig.write(0, 3000);
    await rig.until(() => rig.status(token) !== undefined);
    expect(rig.status(token)).toBe(Status.OutcomeUnknown);
    rig.node.script = () => ({ status: Status.NoSpace });
    const other = rig.write(0, 3000);
    await rig.until(() => rig.status(other) !== undefined);
    expect(rig.sink.told.get(other)).toMatchObject({
      status: Status.NoSpace,
      outcome: 'notApplied',
    });
  });

  test('that are lost of a long write are sent again alone', async () => {
    const rig = await UdpRig.open();
    rig.node.script = ({ address, attempt }) =>
      address > 0 && address < 2000 && attempt === 0 ? undefined : {};
    const token = rig.write(0, 5000);
    await rig.until(() => rig.status(token) === Status.Ok);
    const again = rig.node.attempts.filter(({ attempt }) => attempt > 0);
    expect(again.length).toBeGreaterThan(0);
    for (const { address } of again) expect(address > 0 && address < 2000).toBe(true);
  });
});

describe('a node that does not answer', () => {
  test('lets nothing hang, and what was never sent was not applied', async () => {
    const rig = new UdpRig();
    rig.window = await rig.openWindow();
    rig.node.isDead = true;
    const token = rig.write(0, 16, 300);
    await rig.pass(400);
    expect(rig.sink.told.get(token)).toMatchObject({
      status: Status.Unavailable,
      outcome: 'notApplied',
    });
    rig.node.isDead = false;
    const next = rig.write(0, 16);
    await rig.until(() => rig.status(next) === Status.Ok);
  });

  test('is asked whether it is there, and then gets what it has missed', async () => {
    const rig = await UdpRig.open();
    rig.node.isDead = true;
    const [token, read] = [rig.write(0, 16), rig.read(64, 8, 700)];
    await rig.pass(2500);
    expect([rig.status(token), rig.status(read.token)]).toEqual([undefined, Status.Timeout]);
    expect(rig.udp.counters.silences).toBe(1);
    const { partsSent } = rig.udp.counters;
    await rig.pass(2000);
    expect(rig.udp.counters.partsSent).toBe(partsSent);
    rig.node.isDead = false;
    await rig.until(() => rig.status(token) === Status.Ok);
  });

  test('of a closed link leaves unknown what was sent, and closes the rest', async () => {
    const rig = await UdpRig.open();
    rig.node.script = () => undefined;
    const [sent, read, waiting] = [rig.write(0, 16), rig.read(64, 8), rig.write(0, 8)];
    await rig.until(() => rig.node.attempts.length === 2);
    rig.udp.close();
    const late = rig.write(0, 8);
    await rig.pass(10);
    const { told } = rig.sink;
    expect(told.get(sent)).toMatchObject({ status: Status.OutcomeUnknown, outcome: 'unknown' });
    for (const token of [read.token, waiting, late]) {
      expect(told.get(token)?.status, `operation ${token}`).toBe(Status.Closed);
    }
  });
});

test('a link tells how it stands: windows, delays, and what is under way', async () => {
  const rig = await UdpRig.open();
  const { udp } = rig;
  for (let i = 0; i < 3; i++) {
    const { token } = rig.read(0, 3500);
    await rig.until(() => rig.status(token) === Status.Ok);
  }
  const calm = udp.state;
  expect(calm).toMatchObject({
    underWayBytes: 0,
    expectedReplyBytes: 0,
    isBelowOneDatagram: false,
  });
  expect(calm.incarnation).toBeGreaterThan(0);
  expect(calm.bestDelayMs).toBeGreaterThan(0);
  expect(calm.windowBytes).toBeGreaterThan(calm.datagramBytes);
  rig.node.script = () => undefined;
  const { token } = rig.read(0, 3500, 400);
  await rig.pass(2);
  expect(udp.state.underWayBytes).toBeGreaterThan(512);
  expect(udp.state.expectedReplyBytes).toBeGreaterThan(512);
  expect(udp.state.expectedReplyBytesMax).toBeGreaterThan(udp.state.expectedReplyBytes);
  await rig.until(() => rig.status(token) !== undefined);
  expect(udp.state).toMatchObject({ underWayBytes: 0, expectedReplyBytes: 0 });
  expect(udp.state.windowBytes).toBeLessThan(calm.windowBytes);
  expect(udp.counters.timedOut).toBeGreaterThan(0);
});

describe('the name of a node', () => {
  const V6 = 'udp://[2001:db8::1]:1';
  const V4 = 'udp://192.0.2.1:1';

  test('is looked up, and an address of IPv4 is taken where there is one', async () => {
    for (const [addresses, from, to] of [
      [[V6, V4], 'udp://0.0.0.0:0', V4],
      [[V6], 'udp://[::]:0', V6],
    ] as const) {
      const rig = new UdpRig();
      rig.node.lookUp = () => Promise.resolve(addresses);
      expect(await rig.result(rig.udp.begun())).toBe(undefined);
      expect([rig.node.boundTo, rig.node.sentTo]).toEqual([from, to]);
    }
  });

  test('that is not known is told, and looked up again', async () => {
    const rig = new UdpRig();
    const { lookUp } = rig.node;
    rig.node.lookUp = () => Promise.reject(new Error('no such name'));
    expect(await rig.result(rig.udp.begun())).toMatch('no such name');
    rig.node.lookUp = lookUp;
    expect(await rig.result(rig.udp.begun())).toBe(undefined);
  });
});

test('what waited behind an operation that came back is not sent, until a fence', async () => {
  const rig = await UdpRig.open();
  const back: number[] = [];
  Object.assign(rig.sink, { moved: (token: number) => back.push(token) });
  rig.node.script = () => undefined;
  // The last goes as a message: it takes what was promised to its reservation.
  const [first, behind, last] = [rig.write(0, 8), rig.write(0, 8), rig.write(0, 8, 10_000, 1)];
  await rig.until(() => rig.node.attempts.length === 1);
  const attempt = only(rig.node.attempts);
  // The region has gone, and by the time the answer arrives it may be there again.
  rig.node.script = () => ({});
  rig.node.answer(attempt, { status: Status.Moved });
  await rig.until(() => rig.status(last) !== undefined);
  const all = [first, behind, last];
  expect(back).toEqual(all);
  expect(all.map((one) => rig.status(one))).toEqual(all.map(() => Status.Moved));
  expect(rig.node.attempts.length).toBe(1);
  rig.udp.fence(rig.sink, 1_000, rig.world.nowMs + 1_000);
  const later = rig.write(0, 8);
  await rig.until(() => rig.status(later) !== undefined);
  expect(rig.status(later)).toBe(Status.Ok);
});

test('what waits for datagrams stands behind what came back over the stream', async () => {
  const rig = await UdpRig.open();
  const { memory } = rig;
  const back: number[] = [];
  Object.assign(rig.sink, { moved: (token: number) => back.push(token) });
  const execute = memory.execute.bind(memory);
  // The region has gone, and is here again at once.
  memory.execute = (session) => {
    memory.execute = execute;
    session.finish(Status.Moved, 0);
    return DONE;
  };
  const [message, behind] = [rig.write(0, 8, 10_000, 1), rig.write(0, 8)];
  await rig.until(() => rig.status(behind) !== undefined);
  expect(back).toEqual([message, behind]);
  expect([message, behind].map((one) => rig.status(one))).toEqual([Status.Moved, Status.Moved]);
  expect(rig.node.attempts.length).toBe(0);
  rig.udp.fence(rig.sink, 1_000, rig.world.nowMs + 1_000);
  const later = rig.write(0, 8);
  await rig.until(() => rig.status(later) !== undefined);
  expect(rig.status(later)).toBe(Status.Ok);
});
