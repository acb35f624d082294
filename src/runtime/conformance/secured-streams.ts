/** Conformance: streams within streams behave like those that carry them. */

import type { Bytes, Network, Stream, StreamHandler } from '../network.js';
import type { SecureStream } from '../tls.js';
import { type Case, type ConformanceWorld, expectThat, handler, until } from './check.js';
import { CARRIED_CASES, CONNECT_MS } from './streams.js';

const KEY = new Uint8Array(32).fill(7);
const SERVER = { kind: 'psk', keys: new Map([['conformance', KEY]]) } as const;
const CLIENT = { kind: 'psk', identity: 'conformance', key: KEY } as const;

/** The world in which streams are secured ones. */
function secured(world: ConformanceWorld): ConformanceWorld {
  const { runtime, peer } = world;
  const serve = peer.tls.server(SERVER);
  const ask = runtime.tls.client(CLIENT);
  const network = runtime.network;
  const connect: Network['connect'] = async (address, above, timeoutMs) => {
    const relay = new Relay();
    const plain = await network.connect(address, relay, timeoutMs);
    return relay.secure(ask, plain, above);
  };
  const listen: Network['listen'] = (address, accept) =>
    peer.network.listen(address, (plain) => {
      const relay = new Relay();
      const late = new Relay();
      late.to = accept(relay.secure(serve, plain, late));
      return relay;
    });
  return {
    ...world,
    runtime: { ...runtime, network: changed(network, { connect }) },
    peer: { ...peer, network: changed(peer.network, { listen }) },
  };
}

/** Passes on to whom it is told later. */
class Relay implements StreamHandler {
  to: StreamHandler | undefined;

  secure(secure: SecureStream, plain: Stream, above: StreamHandler): Stream {
    const { stream, below } = secure(plain, above);
    this.to = below;
    return stream;
  }

  received(stream: Stream, input: Bytes, start: number, end: number): number {
    return this.to?.received(stream, input, start, end) ?? 0;
  }

  drained(stream: Stream): void {
    this.to?.drained(stream);
  }

  closed(stream: Stream, reason: string): void {
    this.to?.closed(stream, reason);
  }
}

function changed(network: Network, changes: Partial<Network>): Network {
  return Object.assign(Object.create(network) as Network, changes);
}

export const SECURED_STREAM_CASES: readonly Case[] = [
  ...CARRIED_CASES.map((one) => ({
    ...one,
    run: (world: ConformanceWorld) => one.run(secured(world)),
  })),
  {
    name: 'what is sent is not seen on the stream below',
    async run(world) {
      const seen: number[] = [];
      const serve = world.peer.tls.server(SERVER);
      const ask = world.runtime.tls.client(CLIENT);
      const far = new Relay();
      let shown = 0;
      const listener = await world.peer.network.listen(world.address('tcp'), (plain) => {
        const above = handler({
          received: (_stream, input, start, end) => {
            for (let i = start; i < end; i++) if (input.bytes[i] === 0xab) shown += 1;
            return end - start;
          },
        });
        far.secure(serve, plain, above);
        return handler({
          drained: (stream) => far.drained(stream),
          closed: (stream, reason) => far.closed(stream, reason),
          received: (stream, input, start, end) => {
            for (let i = start; i < end; i++) seen.push(input.bytes[i] as number);
            return far.received(stream, input, start, end);
          },
        });
      });
      const near = new Relay();
      const plain = await world.runtime.network.connect(listener.address, near, CONNECT_MS);
      const stream = near.secure(ask, plain, handler({}));
      const at = stream.reserve(4_096);
      stream.output.bytes.fill(0xab, at, at + 4_096);
      stream.commit(4_096);
      stream.flush();
      await until(world.runtime, () => shown === 4_096, 'the bytes arrive');
      const clear = seen.filter((byte) => byte === 0xab).length;
      expectThat(seen.length >= 4_096 && clear < 1_000, 'other bytes are on the way');
      stream.close('done');
      await listener.close();
    },
  },
];
