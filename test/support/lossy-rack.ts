/** A rack behind a fault proxy, in network namespaces of its own. */
import { removeCompiledSupport } from './compile-support.js';
import { type FaultProxy, type ProxyOptions, startFaultProxy } from './fault-proxy.js';
import { makeNamespaces, type Namespaces } from './namespaces.js';
import { startRack, type TestRack } from './rack.js';
import { type SpaceClient, type SpaceClientOptions, startSpaceClient } from './space-client.js';

const SPACE = 'lossy';
const TIMEOUT_MS = 10_000;

export interface LossyRackOptions extends Partial<ProxyOptions> {
  /** A module that every process of the rack begins with. */
  readonly beginWith?: string;
}

export class LossyRack {
  readonly rack: TestRack;
  readonly proxy: FaultProxy;
  /** On the nodes' side, over tcp: it meets no fault. */
  readonly direct: SpaceClient;
  readonly #namespaces: Namespaces;
  readonly #clients: SpaceClient[] = [];

  constructor(rack: TestRack, proxy: FaultProxy, direct: SpaceClient, namespaces: Namespaces) {
    this.rack = rack;
    this.proxy = proxy;
    this.direct = direct;
    this.#namespaces = namespaces;
  }

  /** Clients behind the proxy, over udp. */
  async client(options: Partial<SpaceClientOptions> = {}): Promise<SpaceClient> {
    const client = await startSpaceClient({
      url: this.rack.url,
      space: SPACE,
      link: 'udp',
      timeoutMs: TIMEOUT_MS,
      clients: 1,
      namespace: this.#namespaces.clients,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of [this.direct, ...this.#clients]) await client.kill();
    await this.proxy.stop();
    await this.rack.stop();
    this.#namespaces.remove();
    removeCompiledSupport();
  }
}

/** One node, its controller, and the proxy between them and all clients. */
export async function startLossyRack(options: LossyRackOptions): Promise<LossyRack> {
  const { beginWith, ...proxyOptions } = options;
  const namespaces = makeNamespaces();
  const stops: (() => Promise<void>)[] = [];
  try {
    const rack = await startRack({
      nodes: 1,
      extra: ['--listen', namespaces.host],
      namespace: namespaces.nodes,
      ...(beginWith === undefined ? {} : { env: { NODE_OPTIONS: `--import=${beginWith}` } }),
    });
    stops.push(() => rack.stop());
    const addresses = [rack.url, ...(await rack.nodes()).map(({ address }) => address)];
    const targets = addresses
      .filter((address) => /^(memrack|tcp):/.test(address))
      .map((address) => address.slice(address.indexOf('//') + 2))
      .map((address) => ({ listen: address, to: address }));
    const proxy = await startFaultProxy({ targets, seed: 1, namespaces, ...proxyOptions });
    stops.push(() => proxy.stop());
    const direct = await startSpaceClient({
      url: rack.url,
      space: SPACE,
      link: 'tcp',
      timeoutMs: TIMEOUT_MS,
      clients: 1,
      namespace: namespaces.nodes,
    });
    return new LossyRack(rack, proxy, direct, namespaces);
  } catch (error) {
    for (const stop of stops.reverse()) await stop();
    namespaces.remove();
    throw error;
  }
}
