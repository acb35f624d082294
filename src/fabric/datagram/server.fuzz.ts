/**
 * Hostile datagrams against a server: nothing throws, nothing is executed of what is damaged, and
 * what is sent is a reply, no longer than what came where that has no cookie. And a network that
 * loses, doubles, delays and reorders right ones: each change is executed once at most, what is
 * told of it is true and stays true. `MEMRACK_FUZZ` sets the number of datagrams, `MEMRACK_SEED`
 * the first seed.
 */

import { afterEach, expect, test } from 'vitest';
import { crc32c } from '../../base/crc32c.js';
import { Prng } from '../../base/prng.js';
import { Status } from '../../base/status.js';
import { PartFlag } from '../../wire/datagram.js';
import { MessageType } from '../../wire/messages.js';
import { fabricFaults } from '../planted.js';
import { deadlineOf } from './record.js';
import {
  addPart,
  type AskedPart,
  helloPart,
  readPart,
  type Reply,
  replyOf,
  ServerRig,
  withdrawal,
  writePart,
} from './testing/server-rig.js';

const COUNT = Number(process.env['MEMRACK_FUZZ'] ?? 10_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);

function randomPart(rig: ServerRig, id: number, prng: Prng): AskedPart {
  const address = 8 * prng.below(1100);
  const parts = [
    () => addPart(id, address, 1),
    () =>
      writePart(
        id,
        address,
        Array.from({ length: prng.below(40) }, () => 1),
      ),
    () => readPart(id, address, prng.below(3) === 0 ? prng.below(70_000) : prng.below(200)),
    () => ({ type: MessageType.Ping, id, body: new Uint8Array(8 * prng.below(20)) }),
    () => helloPart(id),
    () => withdrawal(addPart(id, address, 1)),
    () => ({ type: prng.below(256), id, body: new Uint8Array(8 * prng.below(6)) }),
  ];
  const deadline = rig.nowMs + prng.between(-50, 1050);
  return { ...prng.pick(parts)(), deadline, attempt: prng.below(3) };
}

function mutate(bytes: Uint8Array, prng: Prng): Uint8Array {
  for (let i = 0; i <= prng.below(3); i++) {
    const at = prng.below(bytes.length);
    const kind = prng.below(5);
    if (kind === 0) bytes[at] = prng.below(256);
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
    else if (kind === 2) bytes.copyWithin(at, prng.below(bytes.length));
    else if (kind === 3 && bytes.length > 60)
      bytes = bytes.slice(0, prng.between(48, bytes.length));
    else new DataView(bytes.buffer).setUint32(at & ~3 & (bytes.length - 8), prng.below(300) * 8);
  }
  return bytes;
}

function seal(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(4, 0, true);
  view.setUint32(4, crc32c(bytes, 0, bytes.length), true);
}

const sizeOf = (replies: readonly Reply[]) => replies.reduce((sum, { bytes }) => sum + bytes, 0);
const isEqual = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

test('of a damaged datagram nothing is executed, and at most a header is sent', () => {
  const rig = new ServerRig({ rows: 256 }).greet();
  let damaged = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    rig.nowMs += prng.below(2);
    if (i % 1000 === 0) rig.greet();
    const count = 1 + prng.below(4);
    const parts = Array.from({ length: count }, (_, part) => randomPart(rig, part, prng));
    const right = rig.request(...parts);
    const wrong = mutate(right.slice(), prng);
    if (isEqual(right, wrong)) continue;
    const before = rig.memory.executed.length;
    const replies = rig.receive([wrong]);
    expect(rig.memory.executed.length, `seed ${SEED + i}`).toBe(before);
    expect(sizeOf(replies)).toBeLessThanOrEqual(32);
    damaged++;
  }
  const { malformed } = rig.counters;
  const known = malformed.checksum + malformed.length + malformed.magic;
  expect(known).toBe(damaged);
  expect(damaged).toBeGreaterThan(COUNT * 0.8);
});

test('a hostile datagram with a right checksum is dropped, or answered', () => {
  const rig = new ServerRig({ rows: 256 });
  let answered = 0;
  for (let i = 0; i < COUNT; i++) {
    const prng = new Prng(SEED + i);
    rig.nowMs += prng.below(4);
    const isKnown = prng.below(4) > 0;
    rig.greet();
    if (!isKnown) rig.cookieLow = prng.u32();
    const count = 1 + prng.below(4);
    const parts = Array.from({ length: count }, (_, part) => randomPart(rig, part, prng));
    let request = rig.request(...parts);
    if (prng.below(3) > 0) request = mutate(request, prng);
    if (request.length % 8 === 0) seal(request);
    const before = rig.memory.executed.length;
    const replies = rig.receive([request]);
    if (!isKnown) {
      expect(rig.memory.executed.length, `seed ${SEED + i}`).toBe(before);
      expect(sizeOf(replies), `seed ${SEED + i}`).toBeLessThan(request.length);
    }
    answered += Math.min(replies.length, 1);
  }
  expect(answered).toBeGreaterThan(COUNT * 0.3);
  expect(rig.counters.malformed.message).toBeGreaterThan(0);
  expect(rig.counters.malformed.body).toBeGreaterThan(0);
});

// ------------------------------------------------------------------------ an unsure network

/** One change: adds 1 to a word that is its own. */
interface Change {
  readonly part: AskedPart;
  readonly link: number;
  readonly deadline: number;
  readonly address: number;
  attempts: number;
  isExecuted: boolean;
  /** The newest clock that any reply had said when it was executed. */
  saidBefore: number;
  /** The node has said that it never will be. */
  isBarred: boolean;
}

class UnsureNetwork {
  readonly seen = { executed: 0, recorded: 0, again: 0, never: 0, late: 0 };
  readonly rig: ServerRig;
  readonly #prng: Prng;
  readonly #changes: Change[] = [];
  /** Datagrams that were sent, each with copies of before and since. */
  readonly #onTheWay: Uint8Array[] = [];
  /** The newest clock that any reply has said. */
  #saidClock = 0;

  constructor(seed: number) {
    this.#prng = new Prng(seed);
    const startMs = this.#prng.below(2) === 0 ? 7000 : 2 ** 32 - 3000;
    this.rig = new ServerRig({ rows: 64, seed, startMs }).greet();
    this.rig.socket.committed = (bytes) => {
      const clock = deadlineOf(replyOf(bytes).clock, this.rig.nowMs);
      this.#saidClock = Math.max(this.#saidClock, clock);
    };
    const execute = this.rig.memory.execute.bind(this.rig.memory);
    this.rig.memory.execute = (...given) => {
      const [, input, at] = given;
      const change = this.#changes[(input.words[at >> 2] as number) / 8];
      if (change?.isExecuted === false) change.saidBefore = this.#saidClock;
      if (this.#prng.below(8) === 0) this.rig.nowMs += this.#prng.below(900);
      return execute(...given);
    };
  }

  run(where: string): void {
    const prng = this.#prng;
    for (let step = 0; step < 600; step++) {
      this.rig.nowMs += prng.below(prng.below(50) === 0 ? 700 : 9);
      if (prng.below(100) === 0) this.rig.memory.isFull = !this.rig.memory.isFull;
      if (step % 100 === 0) this.rig.greet();
      if (prng.below(3) === 0 && this.#changes.length < 1000) this.#begin();
      this.#send();
      for (let i = prng.below(3); i > 0; i--) this.#deliver(where);
    }
  }

  #begin(): void {
    const { nowMs } = this.rig;
    const id = this.#changes.length;
    const address = 8 * id;
    const deadline = nowMs + this.#prng.between(-20, 1010);
    const link = 1 + this.#prng.below(2);
    const isWrite = this.#prng.below(2) === 0;
    // A write that is repeated would not show, so what it writes over is counted, too.
    const part = isWrite ? writePart(id, address, [1]) : addPart(id, address, 1);
    this.#changes.push({
      part: { ...part, deadline },
      link,
      deadline,
      address,
      attempts: 0,
      isExecuted: false,
      saidBefore: 0,
      isBarred: false,
    });
  }

  /** A datagram of attempts at changes of one link, young ones mostly. */
  #send(): void {
    const prng = this.#prng;
    const link = 1 + prng.below(2);
    const parts: AskedPart[] = [];
    const some = this.#changes.filter((change) => change.link === link);
    for (let i = prng.below(4); i >= 0 && some.length > 0; i--) {
      const young = Math.min(some.length, prng.below(4) === 0 ? some.length : 12);
      const change = some[some.length - 1 - prng.below(young)];
      if (change === undefined) continue;
      const part = prng.below(10) === 0 ? withdrawal(change.part) : change.part;
      parts.push({ ...part, attempt: change.attempts++ & 0xff });
    }
    if (parts.length === 0) return;
    this.rig.link = link;
    this.#onTheWay.push(this.rig.request(...parts));
    if (this.#onTheWay.length > 60) this.#onTheWay.splice(prng.below(60), 1);
  }

  #deliver(where: string): void {
    const { rig } = this;
    const way = this.#onTheWay;
    if (way.length === 0) return;
    const batch = Array.from({ length: 1 + this.#prng.below(3) }, () => this.#prng.pick(way));
    const replies = rig.receive(batch);
    this.#lookAtMemory(where);
    for (const reply of replies) {
      for (const { id, flags, status, body } of reply.parts) {
        this.#lookAtAnswer(id, flags, status, body, where);
      }
    }
  }

  #lookAtMemory(where: string): void {
    for (const change of this.#changes) {
      const value = this.rig.memory.bytes[change.address];
      if (value === (change.isExecuted ? 1 : 0)) continue;
      const { id } = change.part;
      if (value !== 1 || change.isExecuted) expect.fail(`${where}: ${id} executed twice`);
      if (change.isBarred) expect.fail(`${where}: ${id} executed after never`);
      if (change.deadline <= change.saidBefore) expect.fail(`${where}: ${id} executed too late`);
      change.isExecuted = true;
      this.seen.executed++;
    }
    // Each was counted, also where a second time would have changed nothing.
    const done = this.rig.memory.executed.length;
    if (done !== this.seen.executed) expect.fail(`${where}: executed ${done} changes`);
  }

  #lookAtAnswer(id: number, flags: number, status: number, body: Uint8Array, where: string): void {
    const change = this.#changes[id];
    if (change === undefined) return;
    const { isExecuted } = change;
    if (flags === 0) {
      this.seen.recorded++;
      if (!isExecuted || status !== Status.Ok) expect.fail(`${where}: ${id} is not executed`);
      if (body.some((byte) => byte !== 0)) expect.fail(`${where}: ${id} has another old value`);
    } else if (flags === PartFlag.NEVER) {
      this.seen.never++;
      if (isExecuted) expect.fail(`${where}: ${id} was executed, and is told as never`);
      change.isBarred = true;
    } else if (flags === PartFlag.LATE) {
      this.seen.late++;
    } else {
      this.seen.again++;
    }
  }
}

test('over an unsure network each change is executed once, and what is told is true', () => {
  const totals = { executed: 0, recorded: 0, again: 0, never: 0, late: 0 };
  for (let i = 0; i < COUNT / 1000; i++) {
    const network = new UnsureNetwork(SEED + i);
    network.run(`seed ${SEED + i}`);
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) {
      totals[key] += network.seen[key];
    }
  }
  const least = Math.min(...Object.values(totals));
  expect(least, JSON.stringify(totals)).toBeGreaterThan(COUNT / 1000);
});

const FAULTS = [
  'changesNotRecorded',
  'rowDroppedEarly',
  'lateChangeExecuted',
  'recordedByDatagram',
  'retryExecutedAgain',
  'withdrawalNotRecorded',
] as const;

afterEach(() => {
  for (const name of FAULTS) fabricFaults[name] = false;
});

for (const name of FAULTS) {
  test(`over an unsure network it is noticed when ${name} is planted`, () => {
    fabricFaults[name] = true;
    const run = () => {
      for (let i = 0; i < 10; i++) new UnsureNetwork(SEED + i).run(`seed ${SEED + i}`);
    };
    expect(run).toThrow(/executed|value/);
  });
}
