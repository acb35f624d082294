// Clients over udp on paths that take shorter packets than the interfaces at both ends, where the
// network says so and where it does not.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/base/units.js';
import { runCli, within } from '../support/cli.js';
import { removeCompiledSupport } from '../support/compile-support.js';
import { requiresNamespaces } from '../support/namespaces.js';
import { startRack, type TestRack, until } from '../support/rack.js';
import { makeRoutedPath, type RoutedPath } from '../support/routed-path.js';
import { type SpaceClient, startSpaceClient } from '../support/space-client.js';

const WITHIN_MS = 60_000;
const SIZES = [16 * KiB, MiB];
/** Packets that the path takes, and how long datagrams of a link are then. */
const PATHS = [
  { packetBytes: 1280, pathBytes: 1232 },
  { packetBytes: 1500, pathBytes: 1408 },
  { packetBytes: 4352, pathBytes: 4040 },
];
const LONGEST = { packetBytes: 9000, pathBytes: 8848 };
const HEADERS_BYTES = 28;

describe.runIf(requiresNamespaces())('datagrams through routers', () => {
  let path: RoutedPath;
  let rack: TestRack;
  /** At the nodes' side, over tcp. */
  let direct: SpaceClient;
  let seed = 1;

  const startClient = (link: 'udp' | 'tcp', namespace: string): Promise<SpaceClient> => {
    const { url } = rack;
    const timeoutMs = 20_000;
    return startSpaceClient({ url, space: 'routed', link, timeoutMs, clients: 1, namespace });
  };

  beforeAll(async () => {
    path = makeRoutedPath();
    const extra = ['--listen', path.host];
    rack = await startRack({ nodes: 1, memory: '128MiB', extra, namespace: path.nodes });
    direct = await startClient('tcp', path.nodes);
  });

  afterAll(async () => {
    await direct?.kill();
    await rack?.stop();
    path?.remove();
    removeCompiledSupport();
  });

  function pattern(bytes: number): Uint8Array {
    const step = ++seed * 2 + 1;
    return Uint8Array.from({ length: bytes }, (_, i) => (i * step) >> 3);
  }

  /** Writes and reads both ways, which must find what the other one wrote. */
  async function exchange(client: SpaceClient, at: number): Promise<void> {
    for (const bytes of SIZES) {
      const [ours, theirs] = [pattern(bytes), pattern(bytes)];
      await client.write(at, ours);
      expect(Buffer.compare(await direct.read(at, bytes), ours)).toBe(0);
      await direct.write(at, theirs);
      expect(Buffer.compare(await client.read(at, bytes), theirs)).toBe(0);
    }
  }

  /** Sizes are found while there is traffic. */
  async function untilPathIs(client: SpaceClient, at: number, pathBytes: number): Promise<void> {
    await until(WITHIN_MS, async () => {
      for (let i = 0; i < 20; i++) await client.read(at, 64);
      return (await client.pathBytes()) === pathBytes ? true : undefined;
    });
  }

  for (const manner of ['told', 'silent'] as const) {
    for (const { packetBytes, pathBytes } of [...PATHS, LONGEST]) {
      test(`packets of ${packetBytes} bytes arrive, ${manner}`, async () => {
        path.take(packetBytes, manner);
        const client = await startClient('udp', path.clients);
        const at = await client.alloc(MiB);
        await exchange(client, at);
        await untilPathIs(client, at, pathBytes);
        await exchange(client, at);
        expect(await client.pathBytes()).toBe(pathBytes);
        await client.kill();
      });
    }

    test(`a path becomes shorter and longer again, ${manner}`, async () => {
      path.take(LONGEST.packetBytes, manner);
      const client = await startClient('udp', path.clients);
      const at = await client.alloc(MiB);
      await untilPathIs(client, at, LONGEST.pathBytes);
      const told = path.timesTold();
      for (const { packetBytes, pathBytes } of [PATHS[0], LONGEST, PATHS[1]] as typeof PATHS) {
        path.take(packetBytes, manner);
        await exchange(client, at);
        await untilPathIs(client, at, pathBytes);
      }
      expect(path.timesTold() > told).toBe(manner === 'told');
      await client.kill();
    });

    test(`doctor finds how long packets may be, ${manner}`, async () => {
      for (const { packetBytes, pathBytes } of [PATHS[0], PATHS[2]] as typeof PATHS) {
        path.take(packetBytes, manner);
        const found = await doctorAt(path, rack.url);
        expect(found('UDP_LOSS')).toMatch(/^\d+ of 400 pings/);
        const length = found('UDP_PATH_LENGTH');
        expect(length).toContain(`links use ${pathBytes.toLocaleString('en-US')} bytes`);
        const bytes = Number(/^([\d,]+) bytes there and back/.exec(length)?.[1]?.replace(',', ''));
        // Lengths are multiples of 8, and an interface takes a tag of 4 bytes beside its packets.
        expect(bytes).toBeLessThanOrEqual(packetBytes - HEADERS_BYTES + 4);
        expect(bytes).toBeGreaterThan(packetBytes - HEADERS_BYTES - 8);
      }
    });
  }
});

/** What doctor says at the clients' side, by code. */
async function doctorAt(path: RoutedPath, url: string): Promise<(code: string) => string> {
  const words = ['doctor', '-o', 'json', '--rack', url];
  const { stdout, stderr } = await runCli(words, { before: within(path.clients) });
  const rows = JSON.parse(stdout) as { readonly code: string; readonly found: string }[];
  return (code) => rows.find((row) => row.code === code)?.found ?? `no ${code}: ${stderr}`;
}
