/**
 * Passes streams and datagrams on to a node, each kind by itself or not at all, as a firewall may:
 * real sockets, in the process of the test.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';

const HOST = '127.0.0.1';

export class SplitProxy {
  /** What it has passed on or kept, to either side. */
  readonly counts = { streams: 0, datagramsPassed: 0, datagramsLost: 0 };
  /** While false datagrams vanish. */
  passesDatagrams = true;
  #passesStreams = true;
  readonly #server: Server;
  readonly #door: DatagramSocket;
  readonly #streams = new Set<Socket>();
  /** Of each client its socket towards the node. */
  readonly #clients = new Map<string, DatagramSocket>();
  readonly #nodePort: number;

  static async to(nodePort: number): Promise<SplitProxy> {
    const proxy = new SplitProxy(nodePort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, HOST, resolve));
    await new Promise<void>((resolve) => proxy.#door.bind(proxy.port, HOST, resolve));
    return proxy;
  }

  private constructor(nodePort: number) {
    this.#nodePort = nodePort;
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client));
    this.#door = createSocket('udp4');
    this.#door.on('message', (bytes, from) => this.#toNode(bytes, from.port));
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** While they do not pass nobody is told; what was sent meanwhile arrives later. */
  passStreams(passes: boolean): void {
    this.#passesStreams = passes;
    for (const stream of this.#streams) {
      if (passes) stream.resume();
      else stream.pause();
    }
  }

  resetStreams(): void {
    for (const stream of this.#streams) stream.resetAndDestroy();
  }

  #accept(client: Socket): void {
    this.counts.streams++;
    const node = connect({ host: HOST, port: this.#nodePort, noDelay: true });
    for (const [from, to] of [
      [client, node],
      [node, client],
    ] as const) {
      this.#streams.add(from);
      from.on('data', (bytes) => to.write(bytes));
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#streams.delete(from);
        to.destroy();
      });
      if (!this.#passesStreams) from.pause();
    }
  }

  #toNode(bytes: Buffer, port: number): void {
    const key = String(port);
    let socket = this.#clients.get(key);
    if (socket === undefined) {
      socket = createSocket('udp4');
      socket.on('message', (answer) => {
        if (this.#counted()) this.#door.send(answer, port, HOST);
      });
      this.#clients.set(key, socket);
    }
    if (this.#counted()) socket.send(bytes, this.#nodePort, HOST);
  }

  #counted(): boolean {
    this.counts[this.passesDatagrams ? 'datagramsPassed' : 'datagramsLost']++;
    return this.passesDatagrams;
  }

  close(): void {
    this.#server.close();
    for (const stream of this.#streams) stream.destroy();
    this.#door.close();
    for (const socket of this.#clients.values()) socket.close();
  }
}
