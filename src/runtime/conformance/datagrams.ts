/** Conformance: datagrams. They may be lost, so every case sends again until it was heard. */

import type { DatagramHandler, DatagramSocket } from '../network.js';
import { type Case, expectEqual, expectError, expectThat, sleepOn, until } from './check.js';

const SIZES = [1, 8, 1_400, 9_000, 60_000];

function counted(onBytes: (bytes: Uint8Array, from: string) => void): DatagramHandler {
  return { received: (_socket, from, bytes) => onBytes(bytes, from) };
}

export const DATAGRAM_CASES: readonly Case[] = [
  {
    name: 'datagrams of all sizes arrive whole, and can be answered',
    async run(world) {
      const { runtime, peer } = world;
      const heard = new Set<number>();
      const answered = new Set<number>();
      const echo: DatagramHandler = {
        received(socket, from, bytes) {
          for (let i = 0; i < bytes.length; i++) expectEqual(bytes[i], (i * 3) & 255, 'a byte');
          heard.add(bytes.length);
          socket.send(from, bytes);
        },
      };
      const server = await peer.network.bind(world.address('udp'), echo);
      const onAnswer = counted((bytes) => answered.add(bytes.length));
      const client = await runtime.network.bind(world.address('udp', 'runtime'), onAnswer);
      for (const size of SIZES) {
        const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 3) & 255);
        const sendAgain = (): boolean => {
          client.send(server.address, bytes);
          return answered.has(size);
        };
        await until(runtime, sendAgain, `an answer to ${size} bytes`);
        // The bytes were the caller's again at once.
        bytes.fill(0);
      }
      expectEqual([...heard].sort(byNumber), SIZES, 'sizes heard');
      client.close();
      server.close();
    },
  },
  {
    name: 'a closed socket neither sends nor hears, and its address is free again',
    async run(world) {
      const { runtime, peer } = world;
      let heard = 0;
      const server = await peer.network.bind(
        world.address('udp'),
        counted(() => heard++),
      );
      const bind = (): Promise<DatagramSocket> =>
        peer.network.bind(
          server.address,
          counted(() => {}),
        );
      await expectError(bind, 'NetworkError', 'in-use', 'binding twice');
      const client = await runtime.network.bind(
        world.address('udp', 'runtime'),
        counted(() => {}),
      );
      const sendAgain = (): boolean => {
        client.send(server.address, Uint8Array.of(1));
        return heard > 0;
      };
      await until(runtime, sendAgain, 'a datagram');
      await sleepOn(runtime, 20);
      server.close();
      server.close();
      const before = heard;
      client.send(server.address, Uint8Array.of(2));
      client.close();
      client.send(server.address, Uint8Array.of(3));
      await sleepOn(runtime, 20);
      expectEqual(heard, before, 'datagrams heard by a closed socket');
      const again = await bind();
      expectThat(again.address === server.address, 'the same address');
      again.close();
    },
  },
];

function byNumber(a: number, b: number): number {
  return a - b;
}
