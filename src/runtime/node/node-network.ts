/**
 * Listening and connecting: sockets of node:net become streams, sockets of node:dgram datagrams.
 *
 * A listener can share its port with HTTP. Then the first bytes of each accepted socket decide:
 * what begins with our magic becomes a stream, anything else goes to the HTTP server with the
 * bytes put back.
 */

import dgram from 'node:dgram';
import dns from 'node:dns/promises';
import { rmSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import net from 'node:net';
import {
  type Address,
  type DatagramHandler,
  type DatagramSocket,
  type Listener,
  type Network,
  NetworkError,
  type Stream,
  type StreamHandler,
} from '../network.js';
import type { Log } from '../runtime.js';
import { formatAddress, networkError, type Place, parseAddress } from './addresses.js';
import { DatagramInputs } from './datagram-input.js';
import { DatagramOutputs } from './datagram-output.js';
import { HotRings } from './hot-rings.js';
import { type DatagramWorld, NodeDatagramSocket } from './node-datagram.js';
import { NodeStream, type StreamWorld } from './node-stream.js';
import { isAbandoned, ownSocketPath } from './own-sockets.js';
import { acceptRings, connectRings } from './ring-handshake.js';
import type { RingStream, RingWorld } from './ring-stream.js';

/** The first bytes of a stream of ours, where its port is shared: "MRK1". */
export const STREAM_MAGIC = Uint8Array.of(0x4d, 0x52, 0x4b, 0x31);
/** A socket on a shared port that says nothing for so long is closed. */
const FIRST_BYTES_MS_MAX = 10_000;
const BACKLOG = 1024;
/** When nothing is heard for so long the kernel asks whether the other machine still runs. */
const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 10_000 } as const;

type Accept = (stream: Stream) => StreamHandler;

export interface NetworkWorld extends StreamWorld {
  readonly log: Log;
}

export class NodeNetwork implements Network {
  readonly #world: NetworkWorld;
  #http: HttpServer | undefined;
  #ringWorld: RingWorld | undefined;
  #datagramWorld: DatagramWorld | undefined;

  constructor(world: NetworkWorld) {
    this.#world = world;
  }

  /**
   * Listeners made from now on hand every socket that does not begin with `STREAM_MAGIC` to
   * `server`. Not part of `Network`: only applications, which choose this runtime, know HTTP.
   */
  serveHttp(server: HttpServer | undefined): void {
    this.#http = server;
  }

  async listen(address: Address, accept: Accept): Promise<Listener> {
    const place = streamPlace(address);
    const http = this.#http;
    const server = net.createServer({ noDelay: true, ...KEEP_ALIVE }, (socket) => {
      if (place.kind === 'ring') this.#greet(socket, address, accept);
      else if (http === undefined) this.#accepted(socket, accept, undefined);
      else this.#sort(socket, accept, http);
    });
    await bindServer(server, place, address);
    // One connection could not be accepted, for want of memory or descriptors: no end of all.
    server.on('error', (error) => {
      this.#world.log.write('warn', 'a connection was not accepted', {
        code: 'CONNECTION_NOT_ACCEPTED',
        address,
        error,
      });
    });
    return new NodeListener(server, place);
  }

  async connect(address: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream> {
    const place = streamPlace(address);
    return new Promise((resolve, reject) => {
      const target = 'path' in place ? { path: place.path } : place;
      const socket = net.connect({ ...target, noDelay: true, ...KEEP_ALIVE });
      const fail = (error: Error): void => {
        clearTimeout(timer);
        socket.destroy();
        const isTold = error instanceof NetworkError;
        reject(isTold ? error : networkError(`cannot connect to ${address}`, error));
      };
      const timer = setTimeout(() => {
        fail(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }));
      }, timeoutMs);
      socket.once('error', fail);
      const open = (stream: NodeStream | RingStream): void => {
        clearTimeout(timer);
        socket.off('error', fail);
        stream.open(handler);
        resolve(stream);
      };
      socket.once('connect', () => {
        if (place.kind !== 'ring') open(new NodeStream(socket, address, this.#world));
        else connectRings(socket, address, this.#rings, open, fail);
      });
    });
  }

  async ownAddress(name: string): Promise<Address | undefined> {
    const path = await ownSocketPath(name);
    return path === undefined ? undefined : `ring://${path}`;
  }

  async lookUp(address: Address): Promise<readonly Address[]> {
    const place = parseAddress(address);
    if ('path' in place) throw wrongKind(address, 'tcp://HOST:PORT or udp://HOST:PORT');
    const { kind, host, port } = place;
    if (net.isIP(host) !== 0) return [address];
    try {
      const found = await dns.lookup(host, { all: true, verbatim: true });
      return found.map((one) => formatAddress(kind, one.address, port));
    } catch (error) {
      throw networkError(`cannot look up the host of ${address}`, error);
    }
  }

  async bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    const place = parseAddress(address);
    if (place.kind !== 'udp') throw wrongKind(address, 'udp://HOST:PORT');
    const socket = dgram.createSocket({
      type: place.host.includes(':') ? 'udp6' : 'udp4',
    });
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(networkError(`cannot bind ${address}`, error));
      });
      socket.bind({ address: place.host, port: place.port, exclusive: true }, () => {
        socket.removeAllListeners('error');
        resolve(new NodeDatagramSocket(socket, handler, this.#datagrams));
      });
    });
  }

  #accepted(socket: net.Socket, accept: Accept, first: Uint8Array | undefined): void {
    const stream = new NodeStream(socket, remoteOf(socket), this.#world);
    stream.open(accept(stream), first);
  }

  /** What all streams over rings share; made for the first. */
  get #rings(): RingWorld {
    this.#ringWorld ??= { soon: this.#world.soon, rings: new HotRings(this.#world.poller) };
    return this.#ringWorld;
  }

  /** What all datagram sockets share; made for the first. */
  get #datagrams(): DatagramWorld {
    const { poller } = this.#world;
    this.#datagramWorld ??= {
      poller,
      inputs: new DatagramInputs(),
      outputs: new DatagramOutputs(),
    };
    return this.#datagramWorld;
  }

  /** Waits for the hello of a stream over rings. */
  #greet(socket: net.Socket, address: Address, accept: Accept): void {
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_MS_MAX);
    // Its close tells the same.
    socket.on('error', () => {});
    acceptRings(socket, address, this.#rings, (stream, reason) => {
      clearTimeout(timer);
      if (stream !== undefined) stream.open(accept(stream));
      if (reason === '') return;
      this.#world.log.write('warn', 'a connection was not accepted', {
        code: 'CONNECTION_NOT_ACCEPTED',
        address,
        reason,
      });
    });
  }

  /** Waits for the first bytes of a socket on a shared port. */
  #sort(socket: net.Socket, accept: Accept, http: HttpServer): void {
    let first: Uint8Array = new Uint8Array(0);
    const timer = setTimeout(() => socket.destroy(), FIRST_BYTES_MS_MAX);
    const ignore = (): void => clearTimeout(timer);
    const look = (chunk: Buffer): void => {
      first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
      const verdict = beginsWithMagic(first);
      if (verdict === undefined) return;
      clearTimeout(timer);
      socket.off('data', look);
      socket.off('error', ignore);
      socket.off('close', ignore);
      if (verdict) this.#accepted(socket, accept, first);
      else handToHttp(socket, first, http);
    };
    socket.on('data', look);
    socket.on('error', ignore);
    socket.on('close', ignore);
  }
}

class NodeListener implements Listener {
  readonly address: Address;
  readonly #server: net.Server;

  constructor(server: net.Server, place: Place) {
    this.#server = server;
    const bound = server.address();
    this.address =
      bound !== null && typeof bound === 'object'
        ? formatAddress('tcp', bound.address, bound.port)
        : `${place.kind}://${'path' in place ? place.path : ''}`;
  }

  /** Does not wait for the accepted streams, as `server.close` with a callback would. */
  close(): Promise<void> {
    this.#server.close();
    return Promise.resolve();
  }
}

async function bindServer(server: net.Server, place: Place, address: Address): Promise<void> {
  try {
    await listening(server, place);
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (!taken || !('path' in place) || !(await isAbandoned(place.path))) {
      throw networkError(`cannot listen on ${address}`, error);
    }
    // The file of a process that was killed: nobody answers there any more.
    rmSync(place.path, { force: true });
    await listening(server, place).catch((again: unknown) => {
      throw networkError(`cannot listen on ${address}`, again);
    });
  }
}

function listening(server: net.Server, place: Place): Promise<void> {
  const where = 'path' in place ? { path: place.path } : place;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...where, backlog: BACKLOG, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Undefined while there are too few bytes to tell. */
function beginsWithMagic(bytes: Uint8Array): boolean | undefined {
  for (let i = 0; i < STREAM_MAGIC.length; i++) {
    if (i === bytes.length) return undefined;
    if (bytes[i] !== STREAM_MAGIC[i]) return false;
  }
  return true;
}

function handToHttp(socket: net.Socket, first: Uint8Array, http: HttpServer): void {
  socket.pause();
  socket.unshift(first);
  http.emit('connection', socket);
  process.nextTick(() => socket.resume());
}

/** For people: sockets of a path have no name on the other side. */
function remoteOf(socket: net.Socket): Address {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return 'unix://';
  return formatAddress('tcp', remoteAddress, remotePort ?? 0);
}

function streamPlace(address: Address): Place {
  const place = parseAddress(address);
  if (place.kind === 'udp') {
    throw wrongKind(address, 'tcp://HOST:PORT, unix:///PATH or ring:///PATH');
  }
  return place;
}

function wrongKind(address: Address, wanted: string): NetworkError {
  return new NetworkError('invalid', `"${address}" is of the wrong kind here; write ${wanted}`);
}
