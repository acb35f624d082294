// What a rack makes of the controller's answers, and of calls that nobody waits for.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { Control } from './control.js';
import { Rack } from './rack.js';
import { FakeRack } from './testing/fake-rack.js';

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
