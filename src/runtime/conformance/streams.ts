/**
 * Conformance: streams, and who may listen and connect where. Every case runs over each kind of
 * stream: tcp, and what joins processes of one machine.
 */

import { Prng } from '../../base/prng.js';
import {
  type Bytes,
  type Listener,
  type Stream,
  STREAM_INPUT_BYTES_MAX,
  STREAM_OUTPUT_BYTES,
  STREAM_RESERVE_BYTES_MAX,
  type StreamHandler,
} from '../network.js';
import {
  type Case,
  type ConformanceWorld,
  ConformanceError,
  expectEqual,
  expectError,
  expectThat,
  handler,
  sleepOn,
  until,
} from './check.js';

export const CONNECT_MS = 10_000;
const MiB = 1024 * 1024;

interface Connected {
  readonly stream: Stream;
  readonly far: Stream;
  readonly listener: Listener;
}

/** A stream from `runtime` to `peer`. */
export async function connected(
  world: ConformanceWorld,
  near: StreamHandler,
  far: StreamHandler,
  address = world.address('tcp'),
): Promise<Connected> {
  const accepted: Stream[] = [];
  const listener = await world.peer.network.listen(address, (stream) => {
    accepted.push(stream);
    return far;
  });
  const stream = await world.runtime.network.connect(listener.address, near, CONNECT_MS);
  await until(world.runtime, () => accepted.length > 0, 'the stream is accepted');
  await listener.close();
  return { stream, far: accepted[0] as Stream, listener };
}

/** The byte that stands at this place of every test's stream. */
function byteAt(position: number): number {
  return ((position >>> 3) * 2_654_435_761 + position * 40_503) & 255;
}

/** Writes numbered bytes as fast as the stream takes them. */
class Source {
  sent = 0;
  readonly total: number;
  readonly #piece: () => number;
  #isOdd = false;

  constructor(total: number, piece: () => number) {
    this.total = total;
    this.#piece = piece;
  }

  push(stream: Stream): void {
    let sinceFlush = 0;
    while (this.sent < this.total) {
      const bytes = Math.min(this.#piece(), this.total - this.sent);
      const at = stream.reserve(Math.max(8, (bytes + 7) & ~7));
      if (at < 0) break;
      if (bytes % 8 !== 0) this.#isOdd = true;
      if (!this.#isOdd) expectEqual(at % 8, 0, 'place of a reservation modulo 8');
      for (let i = 0; i < bytes; i++) stream.output.bytes[at + i] = byteAt(this.sent + i);
      stream.commit(bytes);
      this.sent += bytes;
      sinceFlush += bytes;
      if (sinceFlush >= 64 * 1024) stream.flush();
    }
    stream.flush();
  }
}

/** Reads numbered bytes, takes as many as it is told, and checks them all. */
class Sink {
  position = 0;
  readonly #take: (available: number) => number;

  constructor(take: (available: number) => number) {
    this.#take = take;
  }

  received(input: Bytes, start: number, end: number): number {
    const { bytes, view, words } = input;
    const one = bytes.buffer === view.buffer && bytes.buffer === words.buffer;
    expectThat(one && bytes.byteOffset === 0, 'three views of one buffer, from its first byte');
    const consumed = this.#take(end - start);
    for (let i = start; i < start + consumed; i++) {
      if (bytes[i] !== byteAt(this.position + i - start)) {
        throw new ConformanceError(`wrong byte at ${this.position + i - start}`);
      }
    }
    this.position += consumed;
    return consumed;
  }
}

async function transfer(world: ConformanceWorld, bytes: number, piece: () => number, unit = 8) {
  const [there, back] = [new Source(bytes, piece), new Source(bytes, piece)];
  const all = (available: number): number => available - (available % unit);
  const [nearSink, farSink] = [new Sink(all), new Sink(all)];
  const near = handler({
    received: (_stream, input, start, end) => nearSink.received(input, start, end),
    drained: (stream) => there.push(stream),
  });
  const far = handler({
    received: (_stream, input, start, end) => farSink.received(input, start, end),
    drained: (stream) => back.push(stream),
  });
  const pair = await connected(world, near, far);
  there.push(pair.stream);
  back.push(pair.far);
  const done = (): boolean => nearSink.position === bytes && farSink.position === bytes;
  await until(world.runtime, done, `${bytes} bytes each way`, 60_000);
  pair.stream.close('done');
}

const FLOW_CASES: readonly Case[] = [
  {
    name: 'bytes arrive in order, whatever the sizes of the pieces',
    async run(world) {
      const prng = new Prng(11);
      await transfer(world, 1 * MiB, () => 8 * prng.between(1, 1_000));
    },
  },
  {
    name: 'the largest reservation is granted to an empty stream',
    run: (world) => transfer(world, 2 * STREAM_RESERVE_BYTES_MAX, () => STREAM_RESERVE_BYTES_MAX),
  },
  {
    name: 'input stays aligned to 8 while multiples of 8 are consumed, and the rest is shown again',
    async run(world) {
      const prng = new Prng(12);
      const total = 256 * 1024;
      const source = new Source(total, () => 8 * prng.between(1, 40));
      const sink = new Sink((available) => 8 * prng.below(Math.floor(available / 8) + 1));
      let left = 0;
      const far = handler({
        received(stream, input, start, end) {
          expectEqual(start % 8, 0, 'start modulo 8');
          expectThat(end - start >= left, 'what was left is shown again');
          const consumed = sink.received(input, start, end);
          left = end - start - consumed;
          if (left > STREAM_INPUT_BYTES_MAX / 2) {
            stream.pause();
            stream.resume();
          }
          return consumed;
        },
      });
      const near = handler({ drained: (stream) => source.push(stream) });
      const pair = await connected(world, near, far);
      source.push(pair.stream);
      const nudge = (): boolean => {
        // What the last call left is not shown by itself.
        pair.far.pause();
        pair.far.resume();
        return sink.position === total;
      };
      await until(world.runtime, nudge, 'all bytes are consumed', 30_000);
      pair.stream.close('done');
    },
  },
  {
    name: 'a message cut anywhere can be waited for by consuming nothing',
    async run(world) {
      const message = 12_345 * 8;
      const prng = new Prng(13);
      const source = new Source(20 * message, () => 8 * prng.between(1, 5_000));
      const sink = new Sink((available) => available - (available % message));
      const far = handler({
        received: (_stream, input, start, end) => sink.received(input, start, end),
      });
      const near = handler({ drained: (stream) => source.push(stream) });
      const pair = await connected(world, near, far);
      source.push(pair.stream);
      await until(world.runtime, () => sink.position === source.total, 'all messages');
      pair.stream.close('done');
    },
  },
];

/** Of those that take the longest. */
const LOAD_CASES: readonly Case[] = [
  {
    name: '16 MiB through one stream each way',
    run: (world) => transfer(world, 16 * MiB, () => 64 * 1024),
  },
  {
    name: '100 streams at once',
    async run(world) {
      const rounds = 20;
      const left = new Map<Stream, number>();
      const far = handler({
        received(stream, input, start, end) {
          const bytes = (end - start) & ~7;
          if (bytes === 0) return 0;
          const at = stream.reserve(bytes);
          expectThat(at >= 0, 'room for an answer');
          stream.output.bytes.set(input.bytes.subarray(start, start + bytes), at);
          stream.commit(bytes);
          stream.flush();
          return bytes;
        },
      });
      const near = handler({
        received(stream, input, start, end) {
          if (end - start < 64) return 0;
          const round = left.get(stream) ?? 0;
          expectEqual(input.view.getUint32(start, true), round, 'round in the answer');
          left.set(stream, round - 1);
          if (round > 1) ask(stream, round - 1);
          return 64;
        },
      });
      const listener = await world.peer.network.listen(world.address('tcp'), () => far);
      const connect = () => world.runtime.network.connect(listener.address, near, CONNECT_MS);
      const streams = await Promise.all(Array.from({ length: 100 }, connect));
      for (const stream of streams) {
        left.set(stream, rounds);
        ask(stream, rounds);
      }
      const done = (): boolean => [...left.values()].every((rest) => rest === 0);
      await until(world.runtime, done, 'all rounds of all streams', 30_000);
      for (const stream of streams) stream.close('done');
      await listener.close();
    },
  },
];

function ask(stream: Stream, round: number): void {
  const at = stream.reserve(64);
  expectThat(at >= 0, 'room for a question');
  stream.output.bytes.fill(0, at, at + 64);
  stream.output.view.setUint32(at, round, true);
  stream.commit(64);
  stream.expect(true);
  stream.flush();
}

/** Of streams that carry any number of bytes. */
const ODD_CASES: readonly Case[] = [
  {
    name: 'bytes arrive in order, however many are committed at a time',
    async run(world) {
      const prng = new Prng(15);
      const sizes = (): number => (prng.below(20) === 0 ? 0 : prng.between(1, 9_000));
      await transfer(world, 3 * MiB + 5, sizes, 1);
    },
  },
];

const PRESSURE_CASES: readonly Case[] = [
  {
    name: 'a reader that pauses fills the sender, who is told when it may go on',
    async run(world) {
      const total = 24 * MiB;
      let drained = 0;
      let inside = false;
      const source = new Source(total, () => 64 * 1024);
      const sink = new Sink((available) => available & ~7);
      const push = (stream: Stream): void => {
        inside = true;
        source.push(stream);
        inside = false;
        expectThat(stream.pending <= STREAM_OUTPUT_BYTES, 'pending stays within the buffer');
      };
      const near = handler({
        drained(stream) {
          expectThat(!inside, 'drained is not told from within a call');
          drained += 1;
          push(stream);
        },
      });
      const far = handler({
        received: (_stream, input, start, end) => sink.received(input, start, end),
      });
      const pair = await connected(world, near, far);
      pair.far.pause();
      push(pair.stream);
      // However long it takes until all buffers on the way are full.
      for (let stuck = -1; stuck !== source.sent; ) {
        stuck = source.sent;
        await sleepOn(world.runtime, 100);
      }
      expectThat(source.sent < total, 'a reader that takes nothing stops the sender');
      pair.far.resume();
      await until(world.runtime, () => sink.position === total, 'everything arrives', 60_000);
      expectThat(drained > 0, 'the sender was told');
      pair.stream.close('done');
    },
  },
  {
    name: 'nothing is received between pause and resume, and then all that was left',
    async run(world) {
      let shown = 0;
      let consumed = 0;
      const far = handler({
        received(stream, _input, start, end) {
          shown += 1;
          if (shown === 1) stream.pause();
          else consumed += end - start;
          return shown === 1 ? 0 : end - start;
        },
      });
      const source = new Source(4_096, () => 64);
      const pair = await connected(world, handler({}), far);
      source.push(pair.stream);
      await until(world.runtime, () => shown === 1, 'the first call');
      await sleepOn(world.runtime, 50);
      expectEqual(shown, 1, 'calls while paused');
      let inside = true;
      const before = shown;
      pair.far.resume();
      inside = false;
      expectThat(!inside && shown === before, 'resume does not call back from within');
      await until(world.runtime, () => consumed === 4_096, 'the rest is shown');
      pair.stream.close('done');
    },
  },
  {
    name: 'resume shows what was left unconsumed, without anything new',
    async run(world) {
      const lengths: number[] = [];
      const far = handler({
        received(stream, _input, start, end) {
          lengths.push(end - start);
          if (end - start < 64) return 0;
          const first = lengths.filter((length) => length === 64).length === 1;
          if (first) stream.pause();
          return first ? 8 : end - start;
        },
      });
      const source = new Source(64, () => 64);
      const pair = await connected(world, handler({}), far);
      source.push(pair.stream);
      await until(world.runtime, () => lengths.includes(64), 'the first call');
      await sleepOn(world.runtime, 20);
      pair.far.resume();
      await until(world.runtime, () => lengths.at(-1) === 56, 'the rest is shown again');
      pair.stream.close('done');
    },
  },
];

const CLOSE_CASES: readonly Case[] = [
  {
    name: 'both sides are told of a close exactly once, last, and never from within a call',
    async run(world) {
      const told = { near: 0, far: 0, afterwards: 0, inside: false };
      const watch = (side: 'near' | 'far'): StreamHandler =>
        handler({
          received(_stream, _input, start, end) {
            if (told[side] > 0) told.afterwards += 1;
            return end - start;
          },
          closed(stream, reason) {
            expectThat(!told.inside, 'closed is not told from within a call');
            expectThat(reason.length > 0, 'a reason');
            expectEqual(stream.reserve(8), -1, 'a reservation after the close');
            told[side] += 1;
          },
        });
      const pair = await connected(world, watch('near'), watch('far'));
      new Source(4_096, () => 64).push(pair.stream);
      new Source(4_096, () => 64).push(pair.far);
      await sleepOn(world.runtime, 20);
      told.inside = true;
      pair.stream.close('first');
      pair.stream.close('second');
      pair.stream.flush();
      expectEqual(pair.stream.reserve(8), -1, 'a reservation after the close');
      told.inside = false;
      await until(world.runtime, () => told.near + told.far === 2, 'both sides are told');
      pair.far.close('late');
      await sleepOn(world.runtime, 50);
      expectEqual([told.near, told.far, told.afterwards], [1, 1, 0], 'calls of closed, and after');
    },
  },
  {
    name: 'what the system has taken before a close arrives before the news of it',
    async run(world) {
      const total = 64 * 1024;
      const sink = new Sink((available) => available & ~7);
      let atClose = -1;
      const far = handler({
        received: (_stream, input, start, end) => sink.received(input, start, end),
        closed: () => {
          atClose = sink.position;
        },
      });
      const source = new Source(total, () => 1_024);
      const pair = await connected(world, handler({}), far);
      source.push(pair.stream);
      await until(world.runtime, () => pair.stream.pending === 0, 'everything is taken');
      pair.stream.close('done');
      await until(world.runtime, () => atClose >= 0, 'the other side is told');
      expectEqual(atClose, total, 'bytes before the close');
    },
  },
  {
    name: 'a stream may be closed from within received',
    async run(world) {
      let calls = 0;
      const closed: string[] = [];
      const far = handler({
        received(stream) {
          calls += 1;
          stream.close('not you');
          return 0;
        },
        closed: () => closed.push('far'),
      });
      const pair = await connected(world, handler({ closed: () => closed.push('near') }), far);
      new Source(4_096, () => 64).push(pair.stream);
      await until(world.runtime, () => closed.length === 2, 'both sides are told');
      await sleepOn(world.runtime, 20);
      expectEqual([calls, closed.length], [1, 2], 'calls of received and of closed');
    },
  },
];

const PLACE_CASES: readonly Case[] = [
  {
    name: 'nobody listens: refused',
    async run(world) {
      const listener = await world.peer.network.listen(world.address('tcp'), () => handler({}));
      await listener.close();
      const { network } = world.runtime;
      const connect = () => network.connect(listener.address, handler({}), CONNECT_MS);
      await expectError(connect, 'NetworkError', 'refused', 'connecting to nobody');
    },
  },
  {
    name: 'an address that is none: invalid',
    async run({ runtime }) {
      for (const address of ['', 'tcp://', 'tcp://127.0.0.1', 'tcp://127.0.0.1:70000', 'x:1']) {
        const connect = () => runtime.network.connect(address, handler({}), CONNECT_MS);
        await expectError(connect, 'NetworkError', 'invalid', `connecting to "${address}"`);
        const listen = () => runtime.network.listen(address, () => handler({}));
        await expectError(listen, 'NetworkError', 'invalid', `listening at "${address}"`);
      }
    },
  },
  {
    name: 'an address that is taken: in use, and free again after a close',
    async run(world) {
      const { network } = world.peer;
      const first = await network.listen(world.address('tcp'), () => handler({}));
      const listen = () => network.listen(first.address, () => handler({}));
      await expectError(listen, 'NetworkError', 'in-use', 'listening twice');
      await first.close();
      const second = await listen();
      expectEqual(second.address, first.address, 'the address');
      await second.close();
    },
  },
  {
    name: 'closing a listener leaves its streams alone',
    async run(world) {
      const sink = new Sink((available) => available & ~7);
      const far = handler({
        received: (_stream, input, start, end) => sink.received(input, start, end),
      });
      const pair = await connected(world, handler({}), far);
      await pair.listener.close();
      new Source(512, () => 64).push(pair.stream);
      await until(world.runtime, () => sink.position === 512, 'bytes after the close');
      expectThat(pair.stream.remote === pair.listener.address, 'the remote address');
      expectThat(pair.far.remote.length > 0, 'the remote address of an accepted stream');
      pair.stream.close('done');
    },
  },
];

type LocalKind = 'unix' | 'ring';

/** The world in which streams go to a neighbour by a path. */
function local(world: ConformanceWorld, kind: LocalKind): ConformanceWorld {
  const address = `${kind}://${world.folder}/stream.sock`;
  const { neighbour: peer } = world;
  const addressOf: ConformanceWorld['address'] = (protocol, of) =>
    protocol === 'tcp' ? address : world.address(protocol, of);
  return { ...world, peer, address: addressOf };
}

/** Of any stream of bytes, but those with the most of them. */
export const CARRIED_CASES = [...FLOW_CASES, ...ODD_CASES, ...PRESSURE_CASES, ...CLOSE_CASES];
const BOTH_CASES = [
  ...FLOW_CASES,
  ...LOAD_CASES,
  ...PRESSURE_CASES,
  ...CLOSE_CASES,
  ...PLACE_CASES,
];

const RING_CASES: readonly Case[] = [
  {
    name: 'who does not listen with ring:// is no side of a ring: failed',
    async run(world) {
      const address = `${world.folder}/other.sock`;
      const closing = handler({
        received(stream, _input, start, end) {
          stream.close('not understood');
          return end - start;
        },
      });
      const listener = await world.peer.network.listen(`unix://${address}`, () => closing);
      const { network } = world.runtime;
      const connect = () => network.connect(`ring://${address}`, handler({}), CONNECT_MS);
      await expectError(connect, 'NetworkError', 'failed', 'connecting to a Unix socket');
      const listen = () => world.peer.network.listen(`ring://${address}`, () => closing);
      await expectError(listen, 'NetworkError', 'in-use', 'listening where another listens');
      await listener.close();
    },
  },
  {
    name: 'an own address is the same for a name, and reached by neighbours',
    async run(world) {
      const { network, entropy } = world.runtime;
      const name = `conformance-${entropy.u53().toString(36)}`;
      const address = (await network.ownAddress(name)) ?? '';
      expectThat(address.startsWith('ring://'), 'an address of this user');
      expectThat((await network.ownAddress(`${name}-2`)) !== address, 'another name');
      const listener = await network.listen(address, () => handler({}));
      expectThat((await network.ownAddress(name)) === address, 'the same while it is served');
      const stream = await world.neighbour.network.connect(address, handler({}), CONNECT_MS);
      await listener.close();
      stream.close('done');
      const connect = () => world.neighbour.network.connect(address, handler({}), CONNECT_MS);
      await expectError(connect, 'NetworkError', 'refused', 'connecting after its end');
    },
  },
];

export const STREAM_CASES: readonly Case[] = [...BOTH_CASES, ...ODD_CASES];

export function localStreamCases(kind: LocalKind): readonly Case[] {
  const cases = kind === 'ring' ? [...BOTH_CASES, ...RING_CASES] : STREAM_CASES;
  return cases.map((one) => ({ ...one, run: (world) => one.run(local(world, kind)) }));
}
