// What a rack makes of the controller's answers, and of calls that nobody waits for.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { MessageType } from '../wire/messages.js';
import { Control } from './control.js';
import { Rack } from './rack.js';
import type { MemrackError } from './error.js';
import { FakeRack, type FakeWorld } from './testing/fake-rack.js';

const TIMEOUT_MS = 1000;

interface Answer {
  readonly status: Status;
  readonly [field: string]: unknown;
}

/** A rack whose controller gives these answers, and the last one for ever. */
function openRack(...answers: Answer[]) {
  const fake = new FakeRack(1);
  const { runtime } = fake.world;
  const call = () =>
    Promise.resolve(answers.length > 1 ? answers.shift() : answers[0]) as Promise<never>;
  const peer: Peer = { call, close: () => undefined };
  const url = 'memrack://fake';
  const control = new Control(runtime, peer, url);
  const rack = new Rack({ runtime, fabric: fake, control, timeoutMs: TIMEOUT_MS, url });
  return { rack, world: fake.world };
}

const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});

afterEach(() => {
  process.off('unhandledRejection', note);
});

/** Rejections that nobody handles are told when the turn is over. */
const turnsOver = () => new Promise((resolve) => setTimeout(resolve, 5));

test('a call that fails and that nobody waits for ends nothing', async () => {
  const { rack } = openRack({ status: Status.NotFound, reason: 'no' });
  void rack.space('x');
  void rack.removeSpace('x');
  void rack.files.put([{ key: 'k', space: 1, address: 1, length: 1, sha256: '' }]);
  void rack.files.get('k');
  void rack.files.remove('k');
  void rack.files.freeGarbage();
  void rack.spaces();
  void rack.nodes();
  void rack.status();
  await turnsOver();
  expect(unhandled).toEqual([]);
});

test('a barrier that fails and that nobody waits for ends nothing', async () => {
  const { rack } = openRack({ status: Status.Ok, space: 1, pageBytes: 65_536 });
  const space = await rack.space('x');
  void space.read(-1, 8);
  void space.fence();
  void space.read(-1, 8);
  void space.release();
  await turnsOver();
  expect(unhandled).toEqual([]);
});

const UNKNOWN = { status: Status.OutcomeUnknown, reason: 'no answer came' };
const GONE = { status: Status.NotFound, reason: 'there is none' };
const AWAY = { status: Status.Unavailable, reason: 'no connection' };

/** How a call ends, as time passes. */
async function endOf(world: FakeWorld, promise: Promise<unknown>) {
  const ended = promise.then(
    () => 'done',
    ({ code, outcome, message }: MemrackError) => ({ code, outcome, message }),
  );
  await world.pass(2 * TIMEOUT_MS);
  return ended;
}

test('a removal that finds nothing after an unheard attempt has not failed', async () => {
  const spaces = openRack(UNKNOWN, AWAY, GONE);
  expect(await endOf(spaces.world, spaces.rack.removeSpace('x'))).toBe('done');
  const files = openRack(UNKNOWN, AWAY, GONE);
  const removed = await endOf(files.world, files.rack.files.remove('k'));
  expect(removed).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
  const heard = openRack(AWAY, GONE);
  const refused = await endOf(heard.world, heard.rack.removeSpace('x'));
  expect(refused).toMatchObject({ code: 'NotFound', outcome: 'notApplied' });
});

test('a change that may have been made is in doubt until the deadline', async () => {
  const { rack, world } = openRack(UNKNOWN, AWAY);
  const put = rack.files.put([{ key: 'k', space: 1, address: 1, length: 1, sha256: '' }]);
  expect(await endOf(world, put)).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
});

test('of a space that is opened and not made there is no doubt', async () => {
  const open = openRack(UNKNOWN, AWAY);
  const opened = await endOf(open.world, open.rack.space('x'));
  expect(opened).toMatchObject({ code: 'Unavailable', outcome: 'notApplied' });
  const make = openRack(UNKNOWN, AWAY);
  const made = await endOf(make.world, make.rack.space('x', { create: true }));
  expect(made).toMatchObject({ code: 'OutcomeUnknown', outcome: 'unknown' });
});

test('the reason of the controller is told', async () => {
  const reason = 'no memory node is serving';
  const { rack, world } = openRack({ status: Status.Unavailable, reason });
  const ended = await endOf(world, rack.space('x'));
  expect(ended).toMatchObject({
    code: 'Unavailable',
    message: expect.stringContaining(reason) as string,
  });
});

test('what does not exist yet says so', async () => {
  const { rack } = openRack(AWAY);
  void rack.store('users');
  await turnsOver();
  expect(unhandled).toEqual([]);
  await expect(rack.store('users', { create: true })).rejects.toMatchObject({
    code: 'Unsupported',
  });
});

/** A rack with one node that does not say that it confirms, nor that it frees, so many times. */
async function openUnheard(frees: number) {
  const fake = new FakeRack(1);
  const { runtime } = fake.world;
  const nodes = fake.peer();
  const opened = { status: Status.Ok, space: 7, pageBytes: 65_536, kind: 0 };
  const call = ((type: number, request: never, ms: number) =>
    type === MessageType.OpenSpace
      ? Promise.resolve(opened)
      : nodes.call(type as never, request, ms)) as Peer['call'];
  const url = 'memrack://fake';
  const control = new Control(runtime, { call, close: () => undefined }, url);
  const rack = new Rack({ runtime, fabric: fake, control, timeoutMs: TIMEOUT_MS, url });
  const node = fake.node(0);
  node.order(`call ${MessageType.ConfirmAlloc}`, Status.Timeout, 'unknown');
  for (let i = 0; i < frees; i++) {
    node.order(`call ${MessageType.Free}`, Status.Timeout, 'unknown');
  }
  const space = await rack.space('x');
  await space.alloc(65_536).catch(() => undefined);
  return { rack, node, world: fake.world };
}

test('who closes waits until what may be allocated was given back, for a while', async () => {
  const soon = await openUnheard(3);
  expect(soon.rack.givingBack).toBe(1);
  const { now } = soon.world;
  const closed = soon.rack.close().then(() => soon.world.now - now);
  await soon.world.pass(10_000);
  expect(await closed).toBeLessThan(1_000);
  expect([soon.rack.givingBack, soon.node.allocations.size]).toEqual([0, 0]);
  const late = await openUnheard(1_000);
  const given = late.rack.close();
  await late.world.pass(10_000);
  await given;
  expect(late.rack.givingBack).toBe(1);
});
