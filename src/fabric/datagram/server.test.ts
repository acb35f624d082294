import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import {
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_SURE,
  DatagramRefusal,
  PartFlag,
  REPLY_HEADER_BYTES,
  REQUEST_HEADER_BYTES,
} from '../../wire/datagram.js';
import { MessageType } from '../../wire/messages.js';
import { REQUEST_KINDS } from '../stations.js';
import { tickingStations } from '../testing/rig.js';
import {
  addPart,
  helloPart,
  readPart,
  type RigOptions,
  ServerRig,
  WINDOW,
  withdrawal,
  writePart,
} from './testing/server-rig.js';

const { AGAIN, NEVER, LATE } = PartFlag;
const greeted = (options: RigOptions = {}) => new ServerRig(options).greet();
const EIGHT = [1, 2, 3, 4, 5, 6, 7, 8];

test('a hello says which memory is there, and brings a cookie that is good', () => {
  const rig = new ServerRig({ startMs: 2 ** 32 + 123_456 });
  const request = rig.request(helloPart(3));
  const [reply] = rig.receive([request]);
  expect(reply).toMatchObject({ number: 1, link: rig.link, clock: 123_456, count: 1, peer: 5 });
  expect(reply?.incarnation).toBe(rig.server.incarnation);
  expect(reply?.parts[0]).toMatchObject({ type: MessageType.Hello, status: Status.Ok, id: 3 });
  expect(reply?.bytes).toBeLessThan(request.length);
  rig.greet();
  expect(rig.memoryId).toBe(99);
  expect(rig.one(readPart(1, 0, 8)).status).toBe(Status.Ok);
  expect(rig.counters.hellos).toBe(2);
});

test('a hello of another version, or of a wrong form, brings none', () => {
  const rig = new ServerRig();
  expect(rig.one(helloPart(1, 2, 9))).toMatchObject({ status: Status.Unsupported });
  expect(rig.ask({ ...helloPart(1), body: new Uint8Array(32) })).toEqual([]);
  expect(rig.counters.malformed.body).toBe(1);
  // One cookie is enough for a datagram.
  const [reply] = rig.ask(helloPart(1), helloPart(2), helloPart(3));
  expect(reply?.parts.map(({ id }) => id)).toEqual([1]);
});

test('parts of all types are executed in place, and answered in their order', () => {
  const rig = greeted();
  const swap = { ...addPart(3, 8, 5), type: MessageType.CompareAndSwap };
  const body = new Uint8Array([...(swap.body ?? []), 9, 0, 0, 0, 0, 0, 0, 0]);
  const [reply, ...others] = rig.ask(
    writePart(1, 0, [9, 9, 9]),
    { ...addPart(2, 8, 5), attempt: 4 },
    { ...swap, body },
    { ...readPart(0xffffffff, 0, 10), attempt: 255 },
  );
  expect(others).toEqual([]);
  expect(reply?.parts.map(({ status, flags }) => status | flags)).toEqual([0, 0, 0, 0]);
  expect(reply?.parts.map(({ id, attempt }) => [id, attempt])).toEqual([
    [1, 0],
    [2, 4],
    [3, 0],
    [0xffffffff, 255],
  ]);
  expect(reply?.parts.map(({ body: { length } }) => length)).toEqual([0, 8, 8, 16]);
  expect(reply?.parts[2]?.body[0]).toBe(5);
  expect(reply?.parts[3]?.told).toBe(10);
  expect([...(reply?.parts[3]?.body ?? [])].slice(0, 16)).toEqual([
    9, 9, 9, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
  ]);
  expect(rig.counters).toMatchObject({ partsExecuted: 4, recordRows: 3, partsRecorded: 0 });
});

// ---------------------------------------------------------------- what the node remembers

test('another incarnation: nothing is executed, and the answer names the one there is', () => {
  const rig = greeted();
  const right = rig.incarnation;
  for (const wrong of [0, right ^ 1]) {
    rig.incarnation = wrong;
    const [reply, ...others] = rig.ask(writePart(1, 0, EIGHT), addPart(2, 8, 1));
    expect(others).toEqual([]);
    expect(reply).toMatchObject({ count: 0, residence: DatagramRefusal.INCARNATION });
    expect(reply).toMatchObject({ incarnation: right, bytes: REPLY_HEADER_BYTES });
  }
  expect(rig.memory.executed).toEqual([]);
  expect(rig.counters.incarnationsRefused).toBe(2);
  // Two processes, one after the other, have different ones.
  expect(greeted({ seed: 2 }).incarnation).not.toBe(right);
});

test('in the record: answered from it, however often and in whatever company it comes', () => {
  const rig = greeted();
  const part = { ...addPart(7, 16, 3), deadline: 5400 };
  const first = rig.request(part);
  expect(rig.receive([first])[0]?.parts[0]).toMatchObject({ status: Status.Ok, attempt: 0 });
  // The network doubles it; the client sends it again, with others, and as another attempt.
  expect(rig.receive([first, first]).map(({ number }) => number)).toEqual([2, 2]);
  const [again] = rig.ask(addPart(8, 24, 1), { ...part, attempt: 1 });
  expect(again?.parts[1]).toMatchObject({ id: 7, attempt: 1, flags: 0, status: Status.Ok });
  expect(again?.parts[1]?.body).toEqual(new Uint8Array(8));
  expect(rig.memory.view.getUint32(16, true)).toBe(3);
  expect(rig.counters).toMatchObject({ partsRecorded: 3, partsExecuted: 2 });
  // Also long after its deadline.
  rig.nowMs = 20_000;
  expect(rig.one({ ...part, attempt: 9 })).toMatchObject({ status: Status.Ok, flags: 0 });
  expect(rig.memory.view.getUint32(16, true)).toBe(3);
});

test('in the record: refusals too, with the status that was told first', () => {
  const rig = greeted();
  const part = { ...writePart(1, 0, EIGHT), extra: WINDOW + 1, deadline: 5400 };
  expect(rig.one(part).status).toBe(Status.Stale);
  rig.memory.window = WINDOW + 1;
  expect(rig.one({ ...part, attempt: 1 }).status).toBe(Status.Stale);
  expect(rig.memory.bytes[0]).toBe(0);
});

test('an original behind its retry, and behind newer writes, does nothing', () => {
  const rig = greeted();
  const old = { ...writePart(1, 0, EIGHT), deadline: 5400 };
  const original = rig.request(old);
  rig.one({ ...old, attempt: 1 });
  rig.one(writePart(2, 0, [7, 7, 7, 7, 7, 7, 7, 7]));
  expect(rig.receive([original])[0]?.parts[0]).toMatchObject({ status: Status.Ok, flags: 0 });
  expect(rig.memory.bytes[0]).toBe(7);
});

test('a part is of one client, one link, and has one id', () => {
  const rig = greeted();
  const part = { ...addPart(1, 0, 1), deadline: 5400 };
  rig.one(part);
  rig.link++;
  rig.one(part);
  rig.one({ ...part, id: 2 });
  rig.client++;
  rig.greet().one({ ...part, id: 2 });
  expect(rig.memory.view.getUint32(0, true)).toBe(4);
});

test('what is withdrawn is told as done where it was, else never, and stays so', () => {
  const rig = greeted();
  const done = { ...addPart(1, 0, 1), deadline: 5400 };
  rig.one(done);
  expect(rig.one(withdrawal(done))).toMatchObject({ flags: 0, status: Status.Ok });
  const early = { ...addPart(2, 8, 1), deadline: 5400 };
  const never = { flags: NEVER, status: Status.Timeout };
  for (const part of [withdrawal(early), early, withdrawal(early)]) {
    expect(rig.one({ ...part, attempt: 1 })).toMatchObject(never);
  }
  rig.nowMs = 5400;
  expect(rig.one(early)).toMatchObject(never);
  expect(rig.one(withdrawal({ ...addPart(3, 16, 1), deadline: 5300 }))).toMatchObject(never);
  expect(rig.memory.view.getUint32(0, true)).toBe(1);
  expect(rig.memory.view.getUint32(8, true)).toBe(0);
  expect(rig.counters).toMatchObject({ withdrawn: 1, recordRows: 2 });
});

test('nothing but a change can be withdrawn, and not while the record is full', () => {
  const rig = greeted({ rows: 2 });
  for (const type of [MessageType.Read, MessageType.Fence]) {
    expect(rig.ask({ type, id: 1, isWithdrawal: true })).toEqual([]);
  }
  expect(rig.counters.malformed.body).toBe(2);
  rig.ask(addPart(1, 0, 1), addPart(2, 0, 1));
  expect(rig.one(withdrawal(addPart(3, 0, 1)))).toMatchObject({ flags: AGAIN });
});

test('a deadline more than a second ahead: given back, and not remembered', () => {
  const rig = greeted();
  const part = { ...addPart(1, 0, 1), deadline: 6001 };
  expect(rig.one(part)).toMatchObject({ flags: AGAIN, status: Status.Invalid });
  for (const far of [2 ** 31 - 1, 3600_000]) {
    const deadline = rig.nowMs + far;
    expect(rig.one({ ...part, deadline })).toMatchObject({ flags: AGAIN, status: Status.Invalid });
  }
  expect(rig.memory.executed).toEqual([]);
  expect(rig.counters).toMatchObject({ recordRows: 0, again: 3 });
  expect(rig.counters.malformed.deadline).toBe(3);
  rig.nowMs = 5001;
  expect(rig.one(part)).toMatchObject({ flags: 0, status: Status.Ok });
});

test('a deadline ahead, but no frame yet: given back, not parked; later it is done', () => {
  const rig = greeted();
  const part = { ...writePart(1, 0, EIGHT), deadline: 5400 };
  rig.memory.isFull = true;
  expect(rig.one(part)).toMatchObject({ flags: AGAIN, status: Status.Busy, attempt: 0 });
  expect(rig.memory.waiting.size).toBe(0);
  expect(rig.counters.recordRows).toBe(0);
  rig.memory.refill();
  expect(rig.one({ ...part, attempt: 1 })).toMatchObject({ flags: 0, attempt: 1 });
  expect([...rig.memory.bytes.subarray(0, 8)]).toEqual(EIGHT);
});

test('a full record: given back before anything is done; reads are executed', () => {
  const rig = greeted({ rows: 2 });
  rig.ask(addPart(1, 0, 1), addPart(2, 0, 1));
  const part = { ...addPart(3, 0, 1), deadline: 5900 };
  expect(rig.one(part)).toMatchObject({ flags: AGAIN, status: Status.Busy });
  expect(rig.memory.view.getUint32(0, true)).toBe(2);
  expect(rig.one(readPart(4, 0, 8)).status).toBe(Status.Ok);
  // Both deadlines have passed with their bucket.
  rig.nowMs = 5503;
  expect(rig.one(part)).toMatchObject({ flags: 0, status: Status.Ok });
  expect(rig.memory.view.getUint32(0, true)).toBe(3);
});

test('a deadline that has passed: never, as long as the record would know; then late', () => {
  const rig = greeted({ rows: 2 });
  const executed = { ...addPart(1, 0, 1), deadline: 5400 };
  rig.one(executed);
  const part = { ...addPart(2, 0, 1), deadline: 5300 };
  for (const now of [5300, 5301, 9000]) {
    rig.nowMs = now;
    expect(rig.one(part)).toMatchObject({ flags: NEVER, status: Status.Timeout });
  }
  // The bucket of 5400 is forgotten to make room.
  rig.ask(addPart(3, 0, 1), addPart(4, 0, 1));
  expect(rig.one(part)).toMatchObject({ flags: LATE, status: Status.OutcomeUnknown });
  expect(rig.one(executed)).toMatchObject({ flags: LATE });
  expect(rig.one({ ...part, deadline: 5408 })).toMatchObject({ flags: NEVER });
  expect(rig.memory.view.getUint32(0, true)).toBe(3);
  expect(rig.counters).toMatchObject({ never: 4, late: 2 });
});

test('reads: executed each time, never after their deadline', () => {
  const rig = greeted();
  const part = { ...readPart(1, 0, 8), deadline: 5400 };
  rig.one(part);
  rig.memory.bytes[0] = 4;
  expect(rig.one(part).body[0]).toBe(4);
  expect(rig.counters.recordRows).toBe(0);
  rig.nowMs = 5400;
  expect(rig.one(part)).toMatchObject({ flags: NEVER, told: 0 });
  expect(rig.memory.executed.length).toBe(2);
});

test('no part is judged by a clock before one that was said', () => {
  const rig = greeted();
  const execute = rig.memory.execute.bind(rig.memory);
  // Each takes 300 ms.
  rig.memory.execute = (...given) => {
    rig.nowMs += 300;
    return execute(...given);
  };
  const deadline = 5500;
  const add = (id: number) => ({ ...addPart(id, 0, 1), deadline });
  // The answers to the first need two datagrams: what the first of them says binds the rest.
  const first = rig.request(add(1), { ...readPart(2, 0, 4096), deadline }, add(3));
  const replies = rig.receive([first, rig.request(add(4), add(1))]);
  const flags = replies.map(({ parts }) => parts.map((part) => part.flags));
  expect(replies.map(({ clock }) => clock)).toEqual([5000, 5000, 5000, 5900]);
  expect(flags).toEqual([[0], [0], [0], [NEVER, 0]]);
  expect(replies.at(-1)).toMatchObject({ residence: 900_000 });
  expect(rig.memory.view.getUint32(0, true)).toBe(2);
});

test('where the clock wraps nothing is different', () => {
  const rig = greeted({ startMs: 2 ** 32 - 200 });
  const part = { ...addPart(1, 0, 1), deadline: 2 ** 32 + 300 };
  expect(rig.one(part).status).toBe(Status.Ok);
  expect(rig.one({ ...part, id: 2, deadline: 2 ** 32 + 801 })).toMatchObject({ flags: AGAIN });
  expect(rig.one({ ...part, id: 3, deadline: 2 ** 32 - 201 })).toMatchObject({ flags: NEVER });
  rig.nowMs = 2 ** 32 + 400.75;
  const [reply] = rig.ask({ ...part, attempt: 1 }, { ...part, id: 4 });
  expect(reply?.clock).toBe(400);
  expect(reply?.parts.map(({ flags }) => flags)).toEqual([0, NEVER]);
  expect(rig.memory.view.getUint32(0, true)).toBe(1);
});

// ---------------------------------------------------------------------- cookie, sizes, form

test('without a good cookie nothing is executed: none, an old one, one of another sender', () => {
  const rig = new ServerRig();
  rig.incarnation = rig.server.incarnation;
  const isRefused = () => {
    const [reply, ...others] = rig.ask(readPart(1, 0, 1000), addPart(2, 0, 1));
    expect(others).toEqual([]);
    expect(reply).toMatchObject({ count: 0, residence: DatagramRefusal.COOKIE });
  };
  isRefused();
  rig.greet().peer = 6;
  isRefused();
  rig.peer = 5;
  rig.client++;
  isRefused();
  rig.client--;
  rig.nowMs += 120_000;
  isRefused();
  expect(rig.memory.executed).toEqual([]);
  rig.greet().one(addPart(2, 0, 1));
  expect(rig.memory.view.getUint32(0, true)).toBe(1);
  expect(rig.counters.cookiesRefused).toBe(4);
});

test('nobody without a cookie gets more than was sent, whatever is in it', () => {
  const rig = new ServerRig();
  const pings = Array.from({ length: 300 }, (_, id) => ({ type: MessageType.Ping, id }));
  const requests = [
    rig.request(helloPart(1)),
    rig.request(...pings),
    rig.request(helloPart(1), ...pings, helloPart(2), addPart(3, 0, 1)),
    rig.request({ type: MessageType.Ping, id: 1, body: new Uint8Array(5000) }),
    rig.request({ type: MessageType.Ping, id: 1 }),
    rig.request({ type: 1, id: 1 }),
    rig.request({ type: 200, id: 1 }),
  ];
  for (const request of requests) {
    const bytes = rig.receive([request]).reduce((sum, reply) => sum + reply.bytes, 0);
    expect(bytes).toBeLessThan(request.length);
  }
});

test('a ping is answered by as much, with a cookie, and by nothing of what was in memory', () => {
  const rig = greeted();
  rig.incarnation = 0;
  for (const bytes of [0, 8, 1400, 60_000]) {
    const body = new Uint8Array(bytes).fill(7);
    const request = rig.request({ type: MessageType.Ping, id: 1, body, attempt: 3 });
    const [reply] = rig.receive([request]);
    expect(reply?.parts).toEqual([
      {
        type: MessageType.Ping,
        flags: 0,
        status: Status.Ok,
        id: 1,
        attempt: 3,
        told: bytes,
        body: new Uint8Array(bytes),
      },
    ]);
    expect(reply?.bytes).toBe(request.length - 16);
  }
});

test('replies fill datagrams as long as the request; only a large read gets a longer one', () => {
  const rig = greeted();
  const reads = Array.from({ length: 30 }, (_, id) => readPart(id, 0, 200));
  const request = rig.request(...reads);
  expect(request.length).toBeGreaterThan(DATAGRAM_BYTES_SURE);
  const replies = rig.receive([request]);
  expect(replies.flatMap(({ parts }) => parts.map(({ id }) => id))).toEqual(reads.map((r) => r.id));
  for (const { bytes, number, parts } of replies) {
    expect(bytes).toBeLessThanOrEqual(request.length);
    expect(number).toBe(2);
    for (const { body } of parts) expect(body.length).toBe(200);
  }
  expect(replies.length).toBe(6);
  const [small, large, last, ...none] = rig.ask(
    readPart(1, 0, 8),
    readPart(2, 0, 4096),
    readPart(3, 0, 8),
  );
  expect(none).toEqual([]);
  expect([small?.count, large?.count, last?.count]).toEqual([1, 1, 1]);
  expect(large?.bytes).toBe(REPLY_HEADER_BYTES + 16 + 4096);
});

test('parts of a wrong form are dropped, and those beside them are not', () => {
  const rig = greeted();
  const most = DATAGRAM_BYTES_MAX - REPLY_HEADER_BYTES - 16;
  const right = addPart(9, 0, 1);
  const wrong = [
    { type: MessageType.Read, id: 1 },
    { ...readPart(2, 0, 8), body: new Uint8Array(24) },
    readPart(3, 0, most + 8),
    readPart(4, 0, 2 ** 20),
    {
      ...writePart(5, 0, EIGHT),
      body: new Uint8Array([...(writePart(5, 0, EIGHT).body ?? []), 1]),
    },
    { ...writePart(6, 0, EIGHT), extra: WINDOW | (1 << 16) },
    withHighAddress(readPart(7, 0, 8)),
    { ...right, id: 8, type: MessageType.Reserve },
    { ...right, id: 8, type: MessageType.Fence },
    { ...right, id: 8, type: MessageType.Alloc },
    { ...right, id: 8, type: 0 },
  ];
  const [reply, ...others] = rig.ask(...wrong, right);
  expect(others).toEqual([]);
  expect(reply?.parts.map(({ id }) => id)).toEqual([9]);
  expect(rig.counters.malformed.body).toBe(wrong.length);
  expect(rig.memory.executed).toEqual([MessageType.FetchAndAdd]);
  expect(rig.one(readPart(4, 0, most)).status).toBe(Status.NotAllocated);
});

/** An address beyond 2^53. */
function withHighAddress<P extends { readonly body?: Uint8Array }>(part: P): P {
  const body = Uint8Array.from(part.body ?? []);
  body[6] = 0x20;
  return { ...part, body };
}

test('a damaged datagram is answered by its number, and nothing of it is executed', () => {
  const rig = greeted();
  const request = rig.request(writePart(1, 0, EIGHT));
  request[request.length - 1] = 99;
  const [reply] = rig.receive([request]);
  expect(reply).toMatchObject({ count: 0, residence: DatagramRefusal.CHECKSUM, number: 2 });
  expect(reply).toMatchObject({ link: rig.link, bytes: REPLY_HEADER_BYTES });
  expect(rig.memory.executed).toEqual([]);
  expect(rig.counters.nacks).toBe(1);
});

test('nothing is sent for replies, for what is not ours, and for what is too short', () => {
  const rig = greeted();
  const request = rig.request(addPart(1, 0, 1));
  const foreign = request.slice();
  foreign[0] = 0x4e;
  expect(rig.receive([foreign])).toEqual([]);
  expect(rig.receive([request.slice(0, REQUEST_HEADER_BYTES - 8)])).toEqual([]);
  expect(rig.receive([request.slice(0, 3), new Uint8Array(0)])).toEqual([]);
  // Another server's answer, as if this one had asked.
  const replies = rig.receiveRaw([request]);
  expect(replies.length).toBe(1);
  expect(rig.receive(replies)).toEqual([]);
  expect(rig.counters.malformed).toMatchObject({ magic: 2, length: 3 });
});

test('a batch is answered sender by sender, and at most 64 refusals are sent for it', () => {
  const rig = greeted();
  const good = rig.request(addPart(1, 0, 1));
  const bad = Array.from({ length: 100 }, () => rig.request(addPart(2, 0, 1)));
  const peers = [...bad.map((_, i) => 100 + i), 5];
  const replies = rig.receive([...bad, good], peers);
  expect(replies.length).toBe(65);
  expect(replies.map(({ peer }) => peer)).toEqual([...peers.slice(0, 64), 5]);
  expect(rig.counters).toMatchObject({ refusalsHeldBack: 36, cookiesRefused: 100 });
  // The next batch has its own.
  expect(rig.receive(bad.slice(0, 3), [7, 8, 9]).length).toBe(3);
});

test('a process without memory says so', () => {
  const rig = greeted({ isWithoutMemory: true });
  expect(rig.one(readPart(1, 0, 8)).status).toBe(Status.Unsupported);
  expect(rig.one(addPart(1, 0, 8)).status).toBe(Status.Unsupported);
});

test('what is kept does not grow with the number of clients', () => {
  const rig = greeted({ rows: 64 });
  rig.one(addPart(1, 0, 1));
  const { recordBytes } = rig.counters;
  for (let i = 0; i < 300; i++) {
    rig.client++;
    rig.peer = i & 0xff;
    rig.nowMs += 50;
    expect(rig.greet().one(addPart(1, 0, 1)).status).toBe(Status.Ok);
  }
  expect(rig.counters.recordRows).toBeLessThanOrEqual(64);
  expect(rig.counters.recordBytes).toBe(recordBytes);
  expect(rig.memory.view.getUint32(0, true)).toBe(301);
});

test('the stations of a part are timed where that is asked for', () => {
  const stations = tickingStations();
  const rig = greeted({ stations });
  stations.measure(1, 1e9);
  rig.one(readPart(1, 0, 8));
  rig.one(writePart(2, 0, EIGHT));
  rig.ask({ type: MessageType.Ping, id: 3 });
  rig.ask(helloPart(4));
  const counted = REQUEST_KINDS.map((_, kind) => stations.requests(kind));
  expect(counted).toEqual([1, 1, 0, 1]);
  // Of a change that is answered from the record nothing was executed.
  rig.one(writePart(2, 0, EIGHT));
  expect(stations.requests(1)).toBe(1);
});
