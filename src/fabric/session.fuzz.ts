/**
 * Hostile clients against a session: random messages in frames whose checksum is right. Nothing
 * throws, every connection is either answered or closed, the counters know about it, and a right
 * client beside it is served. `MEMRACK_FUZZ` sets the number of frames.
 */

import { expect, test } from 'vitest';
import { Prng } from '../base/prng.js';
import { isDataType, MessageType } from '../wire/messages.js';
import { bytesOf, SAMPLE_CALLS, sampleOf } from '../wire/testing/samples.js';
import { FakeWorld } from './testing/fake-world.js';
import { RawClient, target } from './testing/raw-client.js';
import { NODE, Rig } from './testing/rig.js';

const FRAMES = Number(process.env['MEMRACK_FUZZ'] ?? 20_000) / 10;
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);

function bodyFor(type: number, prng: Prng): Uint8Array {
  const call = SAMPLE_CALLS.find((sample) => sample.type === type);
  let body = new Uint8Array(8 * prng.below(6));
  if (call !== undefined) body = bytesOf(call.request, sampleOf(call.request, prng, 20)).slice();
  else if (isDataType(type) && type < MessageType.Unreserve) {
    const more = [0, 0, 8, 8, 16, 0][type - MessageType.Read] ?? 0;
    body = target(prng.below(5000), prng.below(3) === 0 ? prng.u32() : 8, 3, more).slice();
  } else if (isDataType(type)) body = new Uint8Array(0);
  if (prng.below(8) === 0 && body.length > 0) body[prng.below(body.length)] = prng.below(256);
  return body;
}

function addRandom(raw: RawClient, prng: Prng): void {
  let sequence = 2;
  for (let i = 0; i <= prng.below(6); i++) {
    const known = Object.values(MessageType);
    const anyKnown = known[prng.below(known.length)] ?? MessageType.Ping;
    const type = prng.below(10) === 0 ? prng.below(256) : anyKnown;
    const given = prng.below(30) === 0 ? prng.u32() : sequence++;
    raw.add(type, given, bodyFor(type, prng), prng.below(3) === 0 ? prng.u32() : 7);
  }
  raw.writer.flush();
}

test('hostile messages are answered or end their connection, and nothing else', async () => {
  const world = new FakeWorld(SEED);
  world.inputBytes = 64 * 1024;
  world.outputBytes = 256 * 1024;
  const rig = new Rig(world, 4096);
  const window = await rig.openWindow();
  const bystander = new Uint8Array(8);
  let isClosed = 0;
  let answered = 0;
  for (let i = 0; i < FRAMES; i++) {
    const prng = new Prng(SEED + i);
    const raw = await new RawClient(world).connect(NODE);
    await raw.greet({ client: 100 + i });
    addRandom(raw, prng);
    await world.run(() => raw.closedBecause !== undefined || raw.replies.length > 6, 2);
    if (raw.closedBecause !== undefined) isClosed++;
    else answered++;
    raw.stream.close('done');
    if (i % 50 !== 0) continue;
    rig.link.read(window, 0, bystander, 0, 8, rig.sink, i, rig.deadline);
    await rig.told(rig.sink.told.size + 1);
    expect(rig.sink.status(i)).toBe(0);
    world.streams.length = 0;
  }
  expect(isClosed).toBeGreaterThan(FRAMES / 10);
  expect(answered).toBeGreaterThan(FRAMES / 10);
  expect(rig.client.counters.connectionsLost).toBe(0);
  await world.run(() => false, 70_000);
  // Everything that was made for them is gone again; the bystander alone is left.
  expect(rig.server.sessions).toBe(1);
  expect(new Set(rig.memory.forgottenSlots).size).toBeGreaterThan(0);
});
