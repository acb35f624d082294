/**
 * Where a process meets the others: what it serves, where it listens, and one link to every remote
 * that it asks. A process has one endpoint.
 */

import { assert } from '../base/assert.js';
import type { Timer } from '../runtime/clock.js';
import type {
  Address,
  DatagramSocket,
  Listener,
  Stream,
  StreamHandler,
} from '../runtime/network.js';
import type { Runtime } from '../runtime/runtime.js';
import { SESSIONS_MAX } from '../wire/limits.js';
import type { CallType } from '../wire/messages.js';
import { ClientTable } from './clients.js';
import {
  createCounters,
  createDatagramServerCounters,
  type DatagramServerCounters,
  type FabricCounters,
} from './counters.js';
import { DatagramServer } from './datagram/server.js';
import type { Peer } from './link.js';
import type { CallHandler, DataHandler } from './serve.js';
import { LOOK_MS, type Serving, Session } from './session.js';
import { Stations } from './stations.js';
import { TcpLink } from './tcp-link.js';
import type { Asking } from './transport.js';

export interface EndpointOptions {
  /** Random, of this process; drawn when missing. */
  readonly clientId?: number;
  /**
   * Connections are numbered from the next one on; 0 when missing. A process that takes over the
   * `clientId` of an earlier one begins above all numbers of that: its first hello to a remote
   * fences whatever the earlier one may still have under way there.
   */
  readonly connectionsBefore?: number;
  /** How many times this memory was adopted; told to every client. 0 for what is no memory node. */
  readonly incarnation?: number;
  /** Of the file that the memory is, see FlushRequest; 0 when missing: it is none. */
  readonly opening?: number;
  /** The memory that is lent here: who means another one is refused. None when missing. */
  readonly memoryId?: number;
  /** What times requests here, also where they are executed; one of its own when missing. */
  readonly stations?: Stations;
  /** Changes by datagrams that are remembered: a power of 2; `RECORD_ROWS` when missing. */
  readonly recordRows?: number | undefined;
  /** Where the numbers of each connection begin: 1, or for tests close to where they wrap. */
  readonly firstSequence?: number;
}

export interface DatagramSocketCounts {
  /** Datagrams that found no room. */
  readonly dropped: number;
  /** Datagrams that the system did not take. */
  readonly unsent: number;
  /** What the system keeps of those that were not taken from it yet, of all sockets. */
  readonly receiveBytes: number;
}

export interface Endpoint {
  readonly clientId: number;
  readonly counters: FabricCounters;
  /** Of datagrams that were served. */
  readonly datagrams: DatagramServerCounters;
  /** Of the sockets that datagrams come to, as far as the system tells. */
  readonly datagramSockets: DatagramSocketCounts;
  /** Connections that are served at the moment. */
  readonly sessions: number;
  /** Bytes of all that is kept for those who are served: clients, connections, the record. */
  readonly stateBytes: number;
  /** Registers the handler of one call; before `listen`. */
  serve<T extends CallType>(type: T, handler: CallHandler<T>): void;
  /** Registers what executes data messages; before `listen`. */
  serveData(handler: DataHandler): void;
  /** Accepts connections; may be called for several addresses. Rejects with `NetworkError`. */
  listen(address: Address): Promise<Listener>;
  /**
   * Serves data messages that come as datagrams to `udp://127.0.0.1:7070`, for example; may be
   * called for several addresses, which remember together. Rejects with `NetworkError`.
   */
  listenDatagrams(address: Address): Promise<Listener>;
  /**
   * One link per remote, connected when first used, and again whenever it must be. A remote has one
   * address: over a second one this process would be the same client, and fence itself. Addresses
   * are used again by others, so who means a memory names it: another one refuses the connection,
   * which then counts as one that could not be made.
   */
  link(address: Address, memoryId?: number): TcpLink;
  peer(address: Address, memoryId?: number): Peer;
  /** Connections are numbered from the next one on, if that is above those of before. */
  numberConnectionsFrom(before: number): void;
  /** Ends all links, sessions and listeners. */
  close(): Promise<void>;
}

export function createEndpoint(runtime: Runtime, options: EndpointOptions = {}): Endpoint {
  return new StreamEndpoint(runtime, options);
}

class StreamEndpoint implements Endpoint {
  readonly clientId: number;
  readonly counters: FabricCounters = createCounters();
  readonly datagrams: DatagramServerCounters = createDatagramServerCounters();
  readonly #serving: Serving;
  readonly #asking: Asking;
  /** By address and memory. */
  readonly #links = new Map<string, TcpLink>();
  readonly #listeners = new Set<Listener>();
  readonly #sockets = new Set<DatagramSocket>();
  readonly #recordRows: number | undefined;
  #datagramServer: DatagramServer | undefined;
  #connections: number;
  #look: Timer | undefined;

  constructor(runtime: Runtime, options: EndpointOptions) {
    this.#recordRows = options.recordRows;
    const { counters } = this;
    const instance = runtime.entropy.u53();
    this.clientId = options.clientId ?? runtime.entropy.u53();
    this.#connections = options.connectionsBefore ?? 0;
    const clients = new ClientTable(runtime, counters, instance, {
      begunAnew: (slot) => this.#serving.data?.begunAnew(slot),
      forgotten: (slot, client) => this.#serving.data?.forgotten(slot, client),
    });
    this.#serving = {
      runtime,
      counters,
      clients,
      calls: new Map(),
      data: undefined,
      instance,
      incarnation: options.incarnation ?? 0,
      opening: options.opening ?? 0,
      memoryId: options.memoryId ?? 0,
      sessions: new Set(),
      stations: options.stations ?? new Stations(runtime.clock),
    };
    const nextConnection = () => ++this.#connections;
    const firstSequence = options.firstSequence ?? 1;
    this.#asking = { runtime, counters, client: this.clientId, firstSequence, nextConnection };
  }

  numberConnectionsFrom(before: number): void {
    this.#connections = Math.max(this.#connections, before);
  }

  get datagramSockets(): DatagramSocketCounts {
    let dropped = 0;
    let unsent = 0;
    let receiveBytes = 0;
    for (const socket of this.#sockets) {
      dropped += socket.dropped;
      unsent += socket.unsent;
      receiveBytes += socket.receiveBytes;
    }
    return { dropped, unsent, receiveBytes };
  }

  get sessions(): number {
    return this.#serving.sessions.size;
  }

  get stateBytes(): number {
    let bytes = this.#serving.clients.stateBytes + this.datagrams.recordBytes;
    for (const session of this.#serving.sessions) bytes += session.stateBytes;
    return bytes;
  }

  serve<T extends CallType>(type: T, handler: CallHandler<T>): void {
    assert(!this.#serving.calls.has(type), 'a call has two handlers');
    this.#serving.calls.set(type, handler as unknown as CallHandler<CallType>);
  }

  serveData(handler: DataHandler): void {
    assert(this.#serving.data === undefined, 'data messages have two handlers');
    this.#serving.data = handler;
  }

  async listen(address: Address): Promise<Listener> {
    const accept = (stream: Stream) => this.#accept(stream);
    const listener = await this.#serving.runtime.network.listen(address, accept);
    this.#listeners.add(listener);
    return listener;
  }

  async listenDatagrams(address: Address): Promise<Listener> {
    const { runtime, memoryId, instance, stations } = this.#serving;
    const recordRows = this.#recordRows;
    const data = () => this.#serving.data;
    const counters = this.datagrams;
    // One for all sockets: over a second one with its own record a change could be made twice.
    this.#datagramServer ??= new DatagramServer({
      ...{ runtime, counters, data, memoryId, instance, stations, recordRows },
    });
    const socket = await runtime.network.bind(address, this.#datagramServer);
    this.#sockets.add(socket);
    const close = (): Promise<void> => {
      this.#sockets.delete(socket);
      socket.close();
      return Promise.resolve();
    };
    return { address: socket.address, close };
  }

  #accept(stream: Stream): StreamHandler {
    if (this.#serving.sessions.size >= SESSIONS_MAX) {
      this.counters.sessionsRefused++;
      stream.close('too many connections');
      return REFUSING;
    }
    const session = new Session(this.#serving, stream);
    this.#serving.sessions.add(session);
    this.counters.sessionsOpened++;
    if (stream.remote.startsWith('ring:')) this.counters.sessionsOverRings++;
    this.#lookLater();
    return session;
  }

  /** One timer for all sessions, and none while there are none. */
  #lookLater(): void {
    this.#look ??= this.#serving.runtime.timers.after(LOOK_MS, () => {
      this.#look = undefined;
      for (const session of [...this.#serving.sessions]) session.look();
      if (this.sessions > 0) this.#lookLater();
    });
  }

  link(address: Address, memoryId = 0): TcpLink {
    const key = `${address} ${memoryId}`;
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const link = new TcpLink(this.#asking, address, memoryId, () => this.#links.delete(key));
    this.#links.set(key, link);
    return link;
  }

  peer(address: Address, memoryId = 0): Peer {
    return this.link(address, memoryId);
  }

  async close(): Promise<void> {
    for (const link of [...this.#links.values()]) link.close();
    const closing = [...this.#listeners].map((listener) => listener.close());
    this.#listeners.clear();
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
    for (const session of [...this.#serving.sessions]) session.end('the process is ending');
    this.#look?.cancel();
    await Promise.all(closing);
    this.#serving.clients.clear();
  }
}

/** For a stream that is closed before it has begun. */
const REFUSING: StreamHandler = {
  received: (_stream, _input, start, end) => end - start,
  drained: () => undefined,
  closed: () => undefined,
};
