/**
 * The process of a fault proxy; see fault-proxy.ts. Every client has a socket of its own towards
 * the node, so that the node sees as many clients as there are.
 */
import { Prng } from '../../src/base/prng.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { type DatagramBatch, type DatagramSocket, PEER_BYTES } from '../../src/runtime/network.js';
import { enterNamespace } from './enter-namespace.js';
import type {
  Asked,
  ClientCounts,
  ProxyOptions,
  ProxyStats,
  Target,
  Told,
} from './fault-proxy-control.js';
import { FaultyWay } from './fault-proxy-faults.js';
import { copyOf, NarrowPipe } from './fault-proxy-pipe.js';
import { passStreams } from './fault-proxy-streams.js';

/** What comes before a client's socket is there. */
const EARLY_MAX = 64;
/** Timers are no finer. */
const TIMER_MS = 1;
const SLEEP = new Int32Array(new SharedArrayBuffer(4));

const runtime = createRuntime({ poll: false, source: 'fault-proxy', logLevel: 'warn' });

class Client {
  readonly counts: ClientCounts;
  /** As the socket towards the clients takes it. */
  readonly peer: Uint8Array;
  readonly door: DatagramSocket;
  socket: DatagramSocket | undefined;
  node: Uint8Array = new Uint8Array(PEER_BYTES);
  early: Uint8Array[] = [];

  constructor(peer: Uint8Array, door: DatagramSocket) {
    this.peer = peer;
    this.door = door;
    const port = (peer[2] as number) * 256 + (peer[3] as number);
    const client = `${peer.subarray(4, 8).join('.')}:${port}`;
    const none = { datagrams: 0, bytes: 0 };
    this.counts = { client, toNode: { ...none }, toClient: { ...none } };
  }

  resetCounts(): void {
    for (const counts of [this.counts.toNode, this.counts.toClient]) {
      counts.datagrams = 0;
      counts.bytes = 0;
    }
  }
}

class Proxy {
  readonly #options: ProxyOptions;
  readonly #clients = new Map<number, Client>();
  readonly #doors: DatagramSocket[] = [];
  /** Sockets with datagrams that are not sent yet. */
  readonly #unsent = new Set<DatagramSocket>();
  readonly #toNode: FaultyWay<Client>;
  readonly #toClient: FaultyWay<Client>;
  readonly #pipeToNode: NarrowPipe<Client> | undefined;
  readonly #pipeToClient: NarrowPipe<Client> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** It comes back in less than a timer's time. */
  #isNear = false;
  /** When the system took the datagram that is looked at. */
  #cameAt = 0;
  #streams = 0;
  #missed = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
    const prng = new Prng(options.seed);
    const { pipeToNode, pipeToClient } = options;
    const toNode = this.#sendToNode.bind(this);
    const toClient = this.#sendToClient.bind(this);
    const north = pipeToNode && new NarrowPipe<Client>(pipeToNode, toNode);
    const south = pipeToClient && new NarrowPipe<Client>(pipeToClient, toClient);
    this.#pipeToNode = north;
    this.#pipeToClient = south;
    this.#toNode = new FaultyWay(prng.fork('to node'), (client, bytes, start, length) => {
      if (north === undefined) toNode(client, bytes, start, length);
      else north.offer(client, bytes, start, length, this.#cameAt);
    });
    this.#toClient = new FaultyWay(prng.fork('to client'), (client, bytes, start, length) => {
      if (south === undefined) toClient(client, bytes, start, length);
      else south.offer(client, bytes, start, length, this.#cameAt);
    });
    this.#toNode.set(options.toNode ?? {});
    this.#toClient.set(options.toClient ?? {});
  }

  async open(): Promise<void> {
    const { namespaces, targets } = this.#options;
    if (namespaces !== undefined) enterNamespace(namespaces.clients);
    for (const target of targets) {
      await passStreams(target, () => this.#streams++);
      await this.#openDoor(target);
    }
    if (namespaces !== undefined) enterNamespace(namespaces.nodes);
  }

  async #openDoor({ listen, to }: Target): Promise<void> {
    const index = this.#doors.length;
    const received = (door: DatagramSocket, batch: DatagramBatch): void => {
      const now = performance.now();
      for (let i = 0; i < batch.count; i++) {
        const client = this.#clientOf(batch.peers, i * PEER_BYTES, { door, index, to });
        const start = batch.starts[i] as number;
        const { bytes } = batch.input;
        this.#cameAt = now - (batch.ages[i] as number);
        this.#toNode.offer(client, bytes, start, batch.lengths[i] as number, now);
      }
      this.#run(now);
    };
    this.#doors.push(await runtime.network.bind(`udp://${listen}`, { received }));
  }

  #clientOf(
    peers: Uint8Array,
    at: number,
    via: { door: DatagramSocket; index: number; to: string },
  ): Client {
    // Port, address and door: 51 bits at most.
    let key = via.index;
    for (let i = 2; i < 8; i++) key = key * 256 + (peers[at + i] as number);
    let client = this.#clients.get(key);
    if (client === undefined) {
      client = new Client(copyOf(peers, at, PEER_BYTES), via.door);
      this.#clients.set(key, client);
      void this.#openSocket(client, via.to);
    }
    return client;
  }

  async #openSocket(client: Client, to: string): Promise<void> {
    const received = (_socket: DatagramSocket, batch: DatagramBatch): void => {
      const now = performance.now();
      for (let i = 0; i < batch.count; i++) {
        const { bytes } = batch.input;
        const start = batch.starts[i] as number;
        this.#cameAt = now - (batch.ages[i] as number);
        this.#toClient.offer(client, bytes, start, batch.lengths[i] as number, now);
      }
      this.#run(now);
    };
    const socket = await runtime.network.bind('udp://0.0.0.0:0', { received });
    client.node = socket.peerOf(`udp://${to}`);
    client.socket = socket;
    for (const bytes of client.early) this.#sendToNode(client, bytes, 0, bytes.length);
    client.early = [];
    this.#flush();
  }

  #sendToNode(client: Client, bytes: Uint8Array, start: number, length: number): void {
    const { socket, early } = client;
    if (socket === undefined) {
      if (early.length < EARLY_MAX) early.push(copyOf(bytes, start, length));
      else this.#missed++;
      return;
    }
    count(client.counts.toNode, length);
    this.#send(socket, client.node, bytes, start, length);
  }

  #sendToClient(client: Client, bytes: Uint8Array, start: number, length: number): void {
    count(client.counts.toClient, length);
    this.#send(client.door, client.peer, bytes, start, length);
  }

  #send(
    socket: DatagramSocket,
    peer: Uint8Array,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): void {
    const at = socket.reserve(length);
    socket.output.bytes.set(bytes.subarray(start, start + length), at);
    socket.commit(length, peer, 0);
    this.#unsent.add(socket);
  }

  #flush(): void {
    for (const socket of this.#unsent) socket.flush();
    this.#unsent.clear();
  }

  /** Sends all that is due, and comes back for the rest. */
  #run(now: number): void {
    this.#cameAt = now;
    const faultDue = Math.min(this.#toNode.run(now), this.#toClient.run(now));
    // After those that send into them.
    const pipeDue = Math.min(
      this.#pipeToNode?.run(now) ?? Number.POSITIVE_INFINITY,
      this.#pipeToClient?.run(now) ?? Number.POSITIVE_INFINITY,
    );
    this.#flush();
    if (pipeDue - now < TIMER_MS) this.#runAt(pipeDue);
    const due = Math.min(faultDue, pipeDue);
    if (due >= this.#timerDue) return;
    clearTimeout(this.#timer);
    this.#timerDue = due;
    this.#timer = setTimeout(
      () => {
        this.#timerDue = Number.POSITIVE_INFINITY;
        this.#run(performance.now());
      },
      Math.max(TIMER_MS, Math.ceil(due - now)),
    );
  }

  /**
   * Timers are a millisecond late, and more: for who measures delays, a queue that is not there. So
   * the process sleeps for the little that is left. What comes meanwhile is read afterwards, with
   * the time at which the system took it.
   */
  #runAt(due: number): void {
    if (this.#isNear) return;
    this.#isNear = true;
    setImmediate(() => {
      this.#isNear = false;
      const ms = due - performance.now();
      if (ms > 0) Atomics.wait(SLEEP, 0, 0, ms);
      this.#run(performance.now());
    });
  }

  obey(command: Asked): ProxyStats | number {
    switch (command.do) {
      case 'set':
        this.#way(command.way).set(command.faults);
        return 0;
      case 'replay': {
        const count = this.#way(command.way).replay(command.count);
        this.#run(performance.now());
        return count;
      }
      case 'reset':
        this.#pipeToNode?.reset();
        this.#pipeToClient?.reset();
        for (const client of this.#clients.values()) client.resetCounts();
        return 0;
      case 'stats':
        return this.#stats();
    }
  }

  #way(way: 'toNode' | 'toClient'): FaultyWay<Client> {
    return way === 'toNode' ? this.#toNode : this.#toClient;
  }

  #stats(): ProxyStats {
    let missed = this.#missed;
    for (const socket of this.#doors) missed += socket.unsent + socket.dropped;
    for (const { socket } of this.#clients.values()) {
      missed += (socket?.unsent ?? 0) + (socket?.dropped ?? 0);
    }
    const { user, system } = process.cpuUsage();
    return {
      toNode: this.#toNode.counts,
      toClient: this.#toClient.counts,
      pipeToNode: this.#pipeToNode?.counts,
      pipeToClient: this.#pipeToClient?.counts,
      clients: [...this.#clients.values()].map(({ counts }) => counts),
      missed,
      streams: this.#streams,
      cpuMs: (user + system) / 1000,
    };
  }
}

function count(counts: { datagrams: number; bytes: number }, length: number): void {
  counts.datagrams++;
  counts.bytes += length;
}

function tell(message: Told): void {
  process.send?.(message);
}

async function main(): Promise<void> {
  // Whoever started it has ended, however it did.
  process.on('disconnect', () => process.exit(0));
  const proxy = new Proxy(JSON.parse(process.argv[2] ?? '') as ProxyOptions);
  await proxy.open();
  process.on('message', (asked: Asked) => {
    tell({ is: 'answer', id: asked.id, result: proxy.obey(asked) });
  });
  tell({ is: 'ready' });
}

main().catch((error: unknown) => {
  tell({ is: 'failed', reason: String(error) });
  process.disconnect();
});
