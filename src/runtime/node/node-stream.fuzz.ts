/**
 * Random writers, readers, pauses, rests and closes over real sockets, many streams at once. Each
 * side knows what the other sends (a sequence of words), so a byte that is lost, doubled, moved or
 * shown unaligned is seen. `MEMRACK_FUZZ` sets the number of actions.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import type { Bytes, Stream, StreamHandler } from '../network.js';
import { createRuntime } from './create-runtime.js';

const ACTIONS = Number(process.env['MEMRACK_FUZZ'] ?? 20_000) / 4;
const SEED = Number(process.env['MEMRACK_SEED'] ?? Date.now() % 100_000);
const STREAMS = 7;

/** One end: sends words 0, 1, 2 ... in pairs and expects the same from the other end. */
class End implements StreamHandler {
  stream: Stream | undefined;
  sent = 0;
  received_ = 0;
  paused = false;
  full = false;
  closed_ = false;
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    if (this.closed_ || this.paused || start % 8 !== 0 || end <= start) {
      throw new Error(`seed ${SEED}: received while closed, paused, unaligned or empty`);
    }
    // Mostly everything, sometimes less or nothing.
    const whole = (end - start) & ~7;
    const taken = this.#prng.below(4) > 0 ? whole : 8 * this.#prng.below(whole / 8 + 1);
    for (let at = start; at < start + taken; at += 4) {
      if (input.words[at >> 2] !== this.received_) throw new Error(`seed ${SEED}: a wrong word`);
      this.received_ = (this.received_ + 1) | 0;
    }
    // What was left is only shown again when more comes, so ask for it.
    if (taken < whole || this.#prng.below(20) === 0) {
      stream.pause();
      this.paused = true;
    }
    return taken;
  }

  drained(): void {
    if (!this.full) throw new Error(`seed ${SEED}: drained without having been full`);
    this.full = false;
  }

  closed(): void {
    if (this.closed_) throw new Error(`seed ${SEED}: closed twice`);
    this.closed_ = true;
  }

  act(): void {
    const stream = this.stream;
    if (stream === undefined || this.closed_) return;
    const choice = this.#prng.below(10);
    if (choice < 6) this.#send(stream);
    else if (choice < 8) stream.flush();
    else if (choice === 8) stream.expect(this.#prng.below(2) === 0);
    else this.toggle(stream);
  }

  toggle(stream: Stream): void {
    this.paused = !this.paused;
    if (this.paused) stream.pause();
    else stream.resume();
  }

  #send(stream: Stream): void {
    const largest = this.#prng.below(5) === 0 ? 256 * 1024 : 512;
    const bytes = 8 * (1 + this.#prng.below(largest / 8));
    const at = stream.reserve(bytes);
    if (at < 0) {
      this.full = true;
      return;
    }
    for (let i = 0; i < bytes; i += 4) {
      stream.output.words[(at + i) >> 2] = this.sent;
      this.sent = (this.sent + 1) | 0;
    }
    stream.commit(bytes);
    if (this.#prng.below(2) === 0) stream.flush();
  }
}

async function pairs(poll: boolean, address: string, prng: Prng) {
  const { network } = createRuntime({ poll });
  const accepted: End[] = [];
  const listener = await network.listen(address, (stream) => {
    const end = new End(prng.fork(`server ${accepted.length}`));
    end.stream = stream;
    accepted.push(end);
    return end;
  });
  const made: { client: End; server: End }[] = [];
  for (let i = 0; i < STREAMS; i++) {
    const client = new End(prng.fork(`client ${i}`));
    client.stream = await network.connect(listener.address, client, 2000);
    while (accepted.length <= i) await new Promise((resolve) => setImmediate(resolve));
    made.push({ client, server: accepted[i] as End });
  }
  return { made, listener };
}

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Everything flushed, nobody paused: all that was sent arrives. */
async function settle({ client, server }: { client: End; server: End }): Promise<void> {
  const start = Date.now();
  const isDone = () => client.received_ === server.sent && server.received_ === client.sent;
  while (!isDone() && Date.now() - start < 20_000) {
    for (const end of [client, server]) {
      end.stream?.flush();
      if (end.paused && end.stream !== undefined) end.toggle(end.stream);
    }
    await rest(1);
  }
  const words = [client.sent, server.received_, server.sent, client.received_];
  expect(isDone(), `seed ${SEED}: sent and received ${words.join(' ')}`).toBe(true);
  expect(client.full || server.full, `seed ${SEED}: not told of room`).toBe(false);
}

test.each([
  ['polling', true, 'tcp'],
  ['polling', true, 'unix'],
  ['polling', true, 'ring'],
  ['libuv alone', false, 'tcp'],
  ['libuv alone', false, 'unix'],
  ['libuv alone', false, 'ring'],
])('%s over %s %s', async (_name, poll, kind) => {
  const prng = new Prng(SEED);
  const folder = mkdtempSync(join(tmpdir(), 'memrack-fuzz-'));
  const address = kind === 'tcp' ? 'tcp://127.0.0.1:0' : `${kind}://${folder}/socket`;
  const { made, listener } = await pairs(poll, address, prng);
  for (let i = 0; i < ACTIONS; i++) {
    const pair = made[prng.below(made.length)] as { client: End; server: End };
    (prng.below(2) === 0 ? pair.client : pair.server).act();
    const breath = prng.below(400);
    if (breath === 0) await rest(prng.below(4));
    else if (breath < 20) await new Promise((resolve) => setImmediate(resolve));
    else if (breath < 60) await undefined;
  }
  const leaving = made.splice(0, 2);
  for (const { client, server } of leaving) {
    (prng.below(2) === 0 ? client : server).stream?.close('leaves');
    // So that the other side reads to the end.
    for (const end of [client, server]) if (end.paused) end.toggle(end.stream as Stream);
  }
  for (const pair of made) await settle(pair);
  for (const { client, server } of made) client.stream?.close(String(server.sent));
  const all = [...leaving, ...made].flatMap(({ client, server }) => [client, server]);
  for (let i = 0; i < 2000 && !all.every((end) => end.closed_); i++) {
    for (const end of all) if (end.paused) end.toggle(end.stream as Stream);
    await rest(1);
  }
  expect(all.filter((end) => !end.closed_).length, `seed ${SEED}: never closed`).toBe(0);
  await listener.close();
  rmSync(folder, { recursive: true });
});
