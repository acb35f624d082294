/**
 * The rack's network: who listens where, and how connections come about. Streams and datagrams
 * themselves are next door.
 */

import { defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
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
import {
  hostNumber,
  isAnyHost,
  isLocal,
  isOwnHost,
  OWN_HOST_NUMBER,
  type ParsedAddress,
  parseAddress,
} from './address.js';
import { type DatagramParts, SimulatedDatagramSocket } from './datagram.js';
import { FaultKind } from './faults.js';
import { type Kernel, NS_PER_MS, NS_PER_US } from './kernel.js';
import type { Links } from './links.js';
import { Paths } from './paths.js';
import { type Connection, SimulatedStream } from './stream.js';
import type { Machine, SimulatedEvent, Task } from './task.js';
import { EventKind } from './trace.js';

const FIRST_FREE_PORT = 32_768;
const PORT_MAX = 60_999;
/** Until a connection request that was lost is sent again. */
const RETRY_MS = 200;
const SLOW_READ_US_MAX = 20_000;
const SLOW_WINDOW_BYTES = 4 * 1024;
/** Where a listening address can be reached from: `host` is empty when from everywhere. */
interface Bound<T> {
  readonly machine: Machine;
  readonly host: string;
  readonly value: T;
}

class SimulatedListener implements Listener {
  readonly address: Address;
  readonly task: Task;
  readonly accept: (stream: Stream) => StreamHandler;
  open = true;
  readonly #free: () => void;
  readonly #forget: () => void;

  constructor(
    address: Address,
    task: Task,
    accept: (stream: Stream) => StreamHandler,
    free: () => void,
  ) {
    this.address = address;
    this.task = task;
    this.accept = accept;
    this.#free = free;
    this.#forget = task.atEnd(() => this.#end());
  }

  close(): Promise<void> {
    this.#forget();
    this.#end();
    return Promise.resolve();
  }

  #end(): void {
    if (!this.open) return;
    this.open = false;
    this.#free();
  }
}

/** One per world. */
export class Fabric {
  readonly kernel: Kernel;
  readonly links: Links;
  readonly prng: Prng;
  readonly paths: Paths;
  readonly plainPorts: ReadonlySet<number>;
  readonly #machines: Map<string, Machine> = new Map();
  readonly #byNumber: Map<number, Machine> = new Map();
  readonly #listeners: Map<string, Bound<SimulatedListener>> = new Map();
  readonly #sockets: Map<string, Bound<SimulatedDatagramSocket>> = new Map();
  readonly #nextPort: Map<string, number> = new Map();
  readonly #datagrams: DatagramParts;
  #connections = 0;

  constructor(kernel: Kernel, links: Links, plainPorts: readonly number[]) {
    this.plainPorts = new Set(plainPorts);
    this.kernel = kernel;
    this.links = links;
    this.prng = kernel.prng.fork('network');
    this.paths = new Paths(kernel.faults, kernel.knobs.pathBytes);
    this.#datagrams = {
      kernel,
      links,
      paths: this.paths,
      prng: this.prng,
      find: (from, to, port) => reach(this.#sockets.get(socketKey(to, port)), from),
      machineOf: (from, host) => (host === OWN_HOST_NUMBER ? from : this.#byNumber.get(host)),
      closed: (socket) => void this.#sockets.delete(socketKey(socket.machine, socket.port)),
    };
  }

  add(machine: Machine): void {
    this.#machines.set(machine.host, machine);
    this.#machines.set(machine.name, machine);
    this.#byNumber.set(defined(hostNumber(machine.host)), machine);
  }

  #machineOf(from: Machine, address: ParsedAddress | undefined): Machine | undefined {
    if (address === undefined) return undefined;
    if (isLocal(address) || isOwnHost(address.host)) return from;
    return this.#machines.get(address.host);
  }

  /** The address to listen at with its port chosen; throws a `NetworkError`. */
  #chooseAddress(task: Task, text: Address, udp: boolean, taken: Map<string, unknown>): Address {
    const address = parseAddress(text);
    const { machine } = task.process;
    if (address === undefined || (address.protocol === 'udp') !== udp) {
      throw new NetworkError('invalid', `not an address to listen at: ${text}`);
    }
    if (isLocal(address)) {
      if (!taken.has(key(machine, address))) return text;
      throw new NetworkError('in-use', `${text} is in use`);
    }
    if (!isAnyHost(address.host) && this.#machineOf(machine, address) !== machine) {
      throw new NetworkError('invalid', `${address.host} is not an address of this machine`);
    }
    if (address.port !== 0) {
      if (!taken.has(key(machine, address))) return text;
      throw new NetworkError('in-use', `${text} is in use`);
    }
    const port = this.#freePort(machine, address, taken);
    return `${address.protocol}://${address.host}:${port}`;
  }

  #freePort(machine: Machine, address: ParsedAddress, taken: Map<string, unknown>): number {
    const counter = `${machine.id} ${address.protocol}`;
    for (let tries = 0; tries <= PORT_MAX - FIRST_FREE_PORT; tries++) {
      const port = this.#nextPort.get(counter) ?? FIRST_FREE_PORT + this.prng.below(10_000);
      this.#nextPort.set(counter, port >= PORT_MAX ? FIRST_FREE_PORT : port + 1);
      if (!taken.has(key(machine, { ...address, port }))) return port;
    }
    throw new NetworkError('in-use', 'no free port');
  }

  listen(task: Task, text: Address, accept: (stream: Stream) => StreamHandler): Listener {
    const address = this.#chooseAddress(task, text, false, this.#listeners);
    const parsed = defined(parseAddress(address));
    const { machine } = task.process;
    const name = key(machine, parsed);
    const free = (): void => void this.#listeners.delete(name);
    const listener = new SimulatedListener(address, task, accept, free);
    const host = reachableAt(parsed);
    this.#listeners.set(name, { machine, host, value: listener });
    return listener;
  }

  bind(task: Task, text: Address, handler: DatagramHandler): DatagramSocket {
    const address = this.#chooseAddress(task, text, true, this.#sockets);
    const parsed = defined(parseAddress(address));
    const { machine } = task.process;
    const socket = new SimulatedDatagramSocket(this.#datagrams, task, address, handler);
    const bound = { machine, host: reachableAt(parsed), value: socket };
    this.#sockets.set(socketKey(machine, parsed.port), bound);
    return socket;
  }

  /** Undefined when nobody listens there. */
  findListener(from: Machine, address: ParsedAddress): SimulatedListener | undefined {
    const machine = this.#machineOf(from, address);
    return machine && reach(this.#listeners.get(key(machine, address)), from);
  }

  connect(task: Task, text: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream> {
    return new Promise((resolve, reject) => {
      const address = parseAddress(text);
      const fail = (error: NetworkError): void => {
        const later = this.prng.below(NS_PER_US * 100);
        this.kernel.schedule(later, task, EventKind.Connect, () => reject(error));
      };
      if (address === undefined || address.protocol === 'udp') {
        fail(new NetworkError('invalid', `not an address to connect to: ${text}`));
        return;
      }
      new Attempt(this, { task, text, address, handler, resolve, reject }).begin(timeoutMs);
    });
  }

  newConnection(a: Machine, b: Machine, { protocol, port }: ParsedAddress): Connection {
    const { kernel, links, prng } = this;
    const slow = kernel.faults.roll(FaultKind.SlowPeer);
    const faults = slow ? [kernel.faults.inject(FaultKind.SlowPeer, [a.id, b.id])] : [];
    return {
      id: ++this.#connections,
      kernel,
      links,
      prng,
      isRing: protocol === 'ring',
      isPlain: protocol === 'tcp' && this.plainPorts.has(port),
      windowBytes: slow ? SLOW_WINDOW_BYTES : kernel.knobs.windowBytes,
      slowReadNs: slow ? 1 + prng.below(SLOW_READ_US_MAX * NS_PER_US) : 0,
      faults,
    };
  }

  /** As numbers; throws a `NetworkError` where there is no such name. */
  lookUp(text: Address): readonly Address[] {
    const address = parseAddress(text);
    if (address === undefined || isLocal(address)) {
      throw new NetworkError('invalid', `"${text}" has no host that could be looked up`);
    }
    const { protocol, host, port } = address;
    if (host === 'localhost') {
      return [`${protocol}://127.0.0.1:${port}`, `${protocol}://[::1]:${port}`];
    }
    if (hostNumber(host) !== undefined || host.startsWith('[')) return [text];
    const machine = this.#machines.get(host);
    if (machine !== undefined) return [`${protocol}://${machine.host}:${port}`];
    throw new NetworkError('invalid', `the host name of ${text} is not known`);
  }

  machineAt(from: Machine, address: ParsedAddress): Machine | undefined {
    return this.#machineOf(from, address);
  }

  clientAddress(machine: Machine, address: ParsedAddress): Address {
    if (isLocal(address)) return `${address.protocol}://${address.path}`;
    const host = isOwnHost(address.host) ? address.host : machine.host;
    const port = this.#freePort(machine, { ...address, host }, this.#listeners);
    return `tcp://${host}:${port}`;
  }
}

function socketKey(machine: Machine, port: number): string {
  return key(machine, { protocol: 'udp', host: '', port, path: '' });
}

/** A path names one socket, whatever is spoken there. */
function key(machine: Machine, address: ParsedAddress): string {
  const protocol = isLocal(address) ? 'path' : address.protocol;
  return `${machine.id} ${protocol} ${address.port}${address.path}`;
}

/** A listener on loopback is out of other machines' reach. */
function reachableAt(address: ParsedAddress): string {
  return isLocal(address) || isOwnHost(address.host) ? 'own' : '';
}

function reach<T>(bound: Bound<T> | undefined, from: Machine): T | undefined {
  if (bound === undefined || (bound.host === 'own' && bound.machine !== from)) return undefined;
  return bound.value;
}

interface Wanted {
  readonly task: Task;
  readonly text: Address;
  readonly address: ParsedAddress;
  readonly handler: StreamHandler;
  readonly resolve: (stream: Stream) => void;
  readonly reject: (error: NetworkError) => void;
}

/** One call of `connect`: asks, asks again when that was lost, and gives up in time. */
class Attempt {
  readonly #fabric: Fabric;
  readonly #wanted: Wanted;
  #settled = false;
  #timeout: SimulatedEvent | undefined;

  constructor(fabric: Fabric, wanted: Wanted) {
    this.#fabric = fabric;
    this.#wanted = wanted;
  }

  begin(timeoutMs: number): void {
    const { kernel } = this.#fabric;
    const { task, text } = this.#wanted;
    const timeoutNs = Math.ceil(timeoutMs * NS_PER_MS);
    this.#timeout = kernel.schedule(timeoutNs, task, EventKind.Connect, () => {
      this.#fail(new NetworkError('timeout', `${text} did not answer in ${timeoutMs} ms`));
    });
    this.#ask();
  }

  #fail(error: NetworkError): void {
    if (this.#settled) return;
    this.#settled = true;
    if (this.#timeout !== undefined) this.#timeout.run = undefined;
    if (error.kind === 'timeout') this.#blameCut();
    this.#wanted.reject(error);
  }

  #blameCut(): void {
    const { kernel, links } = this.#fabric;
    const from = this.#wanted.task.process.machine;
    const to = this.#fabric.machineAt(from, this.#wanted.address);
    if (to === undefined) return;
    kernel.faults.matter(links.cut(from, to) ?? links.cut(to, from));
  }

  #ask(): void {
    const { kernel, links } = this.#fabric;
    const { task, address } = this.#wanted;
    const from = task.process.machine;
    const to = this.#fabric.machineAt(from, address);
    const travelNs = to === undefined ? 0 : links.travelNs(from, to, 0, 0);
    kernel.schedule(travelNs, undefined, EventKind.Connect, () => {
      if (this.#settled || !task.alive) return;
      const isCut = to && (links.cut(from, to) ?? links.cut(to, from)) !== undefined;
      if (to === undefined || !to.up || isCut === true) this.#askAgain();
      else this.#arrived(to);
    });
  }

  #askAgain(): void {
    const { kernel } = this.#fabric;
    const again = (): void => this.#ask();
    kernel.schedule(RETRY_MS * NS_PER_MS, this.#wanted.task, EventKind.Connect, again);
  }

  #arrived(to: Machine): void {
    const { kernel, links } = this.#fabric;
    const { task, address, text } = this.#wanted;
    const from = task.process.machine;
    const listener = this.#fabric.findListener(from, address);
    const backNs = links.travelNs(to, from, 0, 0);
    if (listener === undefined) {
      kernel.schedule(backNs, task, EventKind.Connect, () => {
        this.#fail(new NetworkError('refused', `nobody listens at ${text}`));
      });
      return;
    }
    if (parseAddress(listener.address)?.protocol !== address.protocol) {
      kernel.schedule(backNs, task, EventKind.Connect, () => {
        this.#fail(new NetworkError('failed', `${text} answers as ${listener.address}`));
      });
      return;
    }
    const connection = this.#fabric.newConnection(from, to, address);
    const near = new SimulatedStream(connection, task, text);
    const clientAddress = this.#fabric.clientAddress(from, address);
    const far = new SimulatedStream(connection, listener.task, clientAddress);
    SimulatedStream.join(near, far);
    far.notBefore(backNs);
    kernel.schedule(backNs, task, EventKind.Connect, () => this.#established(near));
    kernel.schedule(0, listener.task, EventKind.Accept, () => {
      if (listener.open) far.attach(listener.accept(far));
      else far.close('not listening any more');
    });
  }

  #established(near: SimulatedStream): void {
    if (this.#settled) {
      near.close('came too late');
      return;
    }
    this.#settled = true;
    if (this.#timeout !== undefined) this.#timeout.run = undefined;
    near.attach(this.#wanted.handler);
    this.#wanted.resolve(near);
  }
}

/** The network as one task sees it. */
export class SimulatedNetwork implements Network {
  readonly #fabric: Fabric;
  readonly #task: Task;

  constructor(fabric: Fabric, task: Task) {
    this.#fabric = fabric;
    this.#task = task;
  }

  listen(address: Address, accept: (stream: Stream) => StreamHandler): Promise<Listener> {
    return this.#later(() => this.#fabric.listen(this.#task, address, accept));
  }

  connect(address: Address, handler: StreamHandler, timeoutMs: number): Promise<Stream> {
    return this.#fabric.connect(this.#task, address, handler, timeoutMs);
  }

  ownAddress(name: string): Promise<Address | undefined> {
    return this.#later(() => `ring:///run/memrack/${name}.ring`);
  }

  lookUp(address: Address): Promise<readonly Address[]> {
    return this.#later(() => this.#fabric.lookUp(address));
  }

  bind(address: Address, handler: DatagramHandler): Promise<DatagramSocket> {
    return this.#later(() => this.#fabric.bind(this.#task, address, handler));
  }

  #later<T>(act: () => T): Promise<T> {
    const { kernel } = this.#fabric;
    return new Promise((resolve, reject) => {
      kernel.schedule(kernel.withinUs(50), this.#task, EventKind.Listen, () => {
        try {
          resolve(act());
        } catch (error) {
          reject(error as NetworkError);
        }
      });
    });
  }
}
