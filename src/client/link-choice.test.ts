import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { KiB } from '../base/units.js';
import { Connections, type Fabric } from './connections.js';
import { Control } from './control.js';
import { MemrackError } from './error.js';
import { badOptions } from './options.js';
import { RemoteSpace } from './space.js';
import { FakeRack } from './testing/fake-rack.js';
import { decodeToken, type WindowFacts } from './window-token.js';

const PAGE = 64 * KiB;

/** A client that was told to insist on memory, and meets `refusal`. */
function insisting(rack: FakeRack, world: { refusal: string | undefined }): RemoteSpace {
  const fabric: Fabric = {
    peer: () => rack.peer(),
    link: (address) => rack.link(address),
    close: () => undefined,
    attach: () => Promise.resolve(world.refusal),
  };
  const { runtime } = rack.world;
  return new RemoteSpace({
    runtime,
    control: new Control(runtime, rack.peer(), 'memrack://fake'),
    connections: new Connections(fabric),
    name: 'test',
    id: 7,
    pageBytes: PAGE,
    timeoutMs: 10_000,
  });
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: MemrackError) => error,
  );

test('a node whose memory cannot be reached is Unsupported where that is demanded', async () => {
  const rack = new FakeRack(1);
  const world: { refusal: string | undefined } = { refusal: 'it is another machine' };
  const space = insisting(rack, world);
  const at = await space.alloc(PAGE);
  rack.node(0).log.length = 0;
  for (const attempt of [
    () => space.read(at, 8),
    () => space.write(at, new Uint8Array(2 * KiB)),
    () => space.fetchAndAdd(at, 1n),
  ]) {
    const error = await failureOf(attempt());
    expect(error).toMatchObject({ code: 'Unsupported', outcome: 'notApplied' });
    expect(error?.message).toContain('it is another machine');
    expect(error?.message).toContain("link 'auto'");
  }
  expect(rack.node(0).log).toEqual([]);
  world.refusal = undefined;
  expect(await space.read(at, 8)).toEqual(new Uint8Array(8));
});

test('a node that ends while it is asked, and is back at once, has refused nothing', async () => {
  const rack = new FakeRack(1);
  let refusals = 1;
  const space = insisting(rack, {
    get refusal() {
      return refusals-- > 0 ? 'no such file' : undefined;
    },
  });
  expect(await space.read(await space.alloc(PAGE), 8)).toEqual(new Uint8Array(8));
});

test('so are the operations of a window', async () => {
  const rack = new FakeRack(1);
  const good = insisting(rack, { refusal: undefined });
  const window = await good.window(await good.alloc(PAGE), 8, 'rw');
  const bad = insisting(rack, { refusal: 'it is another machine' });
  const handed = bad.windowOf(decodeToken(window.token) as WindowFacts);
  const error = await failureOf(handed.read(window.at, 8));
  expect(error?.code).toBe('Unsupported');
  expect(error?.message).toContain('it is another machine');
});

test('a node that is away is away, and has refused nothing', async () => {
  for (const answersFirst of [false, true]) {
    const rack = new FakeRack(1);
    const node = rack.node(0);
    const space = insisting(rack, { refusal: 'nobody answered' });
    const at = await space.alloc(PAGE);
    for (let i = 0; i < 10_000; i++) {
      node.order('openWindow', Status.Timeout);
      if (!answersFirst) continue;
      node.orders.get('openWindow')?.splice(-1, 0, { status: Status.Ok, outcome: 'applied' });
    }
    const reading = failureOf(space.read(at, 8));
    await rack.world.pass(20_000);
    expect((await reading)?.code).toBe('Unavailable');
  }
});

test('only links that there are can be chosen', () => {
  for (const link of ['auto', 'shm', 'tcp', 'udp'] as const) {
    expect(badOptions({ link })).toBe(undefined);
  }
  expect(badOptions({ link: 'rdma' as 'tcp' })?.code).toBe('Invalid');
});
