/**
 * Simulated datagrams: lost, doubled, late, out of order or damaged, each at its rate.
 *
 * What a socket flushes to one other socket mostly travels together, as one event (a *flight*), and
 * is received as one batch; a fault takes a datagram out of its flight. What arrives lies in the
 * socket's queue until its task runs: mostly at once, sometimes a little later together with what
 * others sent meanwhile, and after a pause all that had room.
 */

import { assert } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import {
  type Address,
  type Bytes,
  DATAGRAM_BYTES_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  NetworkError,
  PEER_BYTES,
} from '../network.js';
import { hostNumber, isAnyHost, isOwnHost, OWN_HOST_NUMBER, parseAddress } from './address.js';
import { makeBytes } from './buffers.js';
import { DatagramBuffer, type Datagram } from './datagram-buffer.js';
import { FaultKind } from './faults.js';
import { type Kernel, NS_PER_US } from './kernel.js';
import type { Links } from './links.js';
import { Passage, type Paths } from './paths.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

/** A datagram that is overtaken waits for this many latencies at most. */
const REORDER_LATENCIES = 8;
const LATE_US_MAX = 200_000;
/** Made and not flushed: some of the longest, so that sockets flush by themselves at times. */
const OUTPUT_BYTES = 160 * 1024;
const PENDING_MAX = 64;
/** How often a datagram travels with the one before it. */
const TOGETHER_PER_MILLION = 800_000;
/** How long one that arrives waits for others at most, where it does (`gatherPerMillion`). */
const GATHER_US_MAX = 20;

/** A peer in our own form, which only has to be as wide: family, port, host. */
const FAMILY = 2;
const PORT_AT = 2;
const HOST_AT = 4;

export interface DatagramParts {
  readonly kernel: Kernel;
  readonly links: Links;
  readonly paths: Paths;
  readonly prng: Prng;
  /** The machine that answers to this number as seen from a machine. */
  readonly machineOf: (from: Machine, host: number) => Machine | undefined;
  /** The socket at a port of a machine as seen from another one. */
  readonly find: (from: Machine, to: Machine, port: number) => SimulatedDatagramSocket | undefined;
  readonly closed: (socket: SimulatedDatagramSocket) => void;
}

/** Committed and not flushed. */
interface Pending {
  readonly at: number;
  readonly length: number;
  readonly host: number;
  readonly port: number;
}

/** Datagrams that arrive in one instant at one socket. */
interface Flight {
  readonly to: Machine;
  readonly port: number;
  readonly datagrams: Datagram[];
  bytes: number;
}

export class SimulatedDatagramSocket implements DatagramSocket {
  readonly address: Address;
  readonly machine: Machine;
  readonly port: number;
  output: Bytes = makeBytes(0);
  unsent = 0;
  readonly #parts: DatagramParts;
  readonly #task: Task;
  readonly #handler: DatagramHandler;
  readonly #forget: () => void;
  /** Bound to an address that no other machine can reach, or be sent to from. */
  readonly #isLocal: boolean;
  readonly #isV6: boolean;
  /** As whom others see it: those who were sent to by the own machine's address, and all others. */
  readonly #asLocal: Uint8Array;
  readonly #asMachine: Uint8Array;
  #open = true;
  readonly #pending: Pending[] = [];
  #tail = 0;
  #reserved = -1;
  #flight: Flight | undefined;
  readonly #received: DatagramBuffer;
  /** The task will look at what has been received. */
  #woken = false;
  /** Until then the task is at work on what it was shown last. */
  #busyUntilNs = 0;
  /** Of that work, what has been waited for before the batch was shown. */
  #paidNs = 0;

  constructor(parts: DatagramParts, task: Task, address: Address, handler: DatagramHandler) {
    const parsed = parseAddress(address);
    assert(parsed !== undefined);
    this.#parts = parts;
    this.#task = task;
    this.machine = task.process.machine;
    this.address = address;
    this.port = parsed.port;
    this.#isLocal = isOwnHost(parsed.host);
    this.#isV6 = parsed.host.startsWith('[');
    const number = hostNumber(this.machine.host);
    assert(number !== undefined, 'machines have numbers');
    this.#asMachine = peer(this.#isLocal ? OWN_HOST_NUMBER : number, this.port);
    this.#asLocal = isAnyHost(parsed.host) ? peer(OWN_HOST_NUMBER, this.port) : this.#asMachine;
    this.#handler = handler;
    this.#received = new DatagramBuffer(parts.kernel.knobs.datagramBufferBytes);
    this.#forget = task.atEnd(() => this.close());
  }

  get receiveBytes(): number {
    return this.#received.limit;
  }

  get dropped(): number {
    return this.#received.dropped;
  }

  reserve(bytes: number): number {
    assert(bytes >= 0 && bytes <= DATAGRAM_BYTES_MAX, 'reserve of a wrong size');
    if (this.output.bytes.length === 0) this.output = makeBytes(OUTPUT_BYTES);
    if (this.#tail + bytes > OUTPUT_BYTES || this.#pending.length === PENDING_MAX) this.flush();
    this.#reserved = bytes;
    return this.#tail;
  }

  commit(bytes: number, peers: Uint8Array, peerAt: number): void {
    assert(bytes >= 0 && bytes <= this.#reserved, 'commit of more than was reserved');
    assert(peerAt + PEER_BYTES <= peers.length, 'a peer is short of bytes');
    this.#reserved = -1;
    const high = numberAt(peers, peerAt + HOST_AT);
    const host = high * 2 ** 16 + numberAt(peers, peerAt + HOST_AT + 2);
    const port = numberAt(peers, peerAt + PORT_AT);
    this.#pending.push({ at: this.#tail, length: bytes, host, port });
    this.#tail += (bytes + 7) & ~7;
  }

  flush(): void {
    if (this.#pending.length === 0) return;
    if (this.#open) {
      for (const one of this.#pending) this.#send(one);
      this.#takeOff();
    }
    this.#pending.length = 0;
    this.#tail = 0;
  }

  peerOf(address: Address): Uint8Array {
    const parsed = parseAddress(address);
    const host = parsed?.protocol === 'udp' ? hostNumber(parsed.host) : undefined;
    if (parsed === undefined || host === undefined) {
      throw new NetworkError('invalid', `"${address}" cannot be sent to from this socket`);
    }
    return peer(host, parsed.port);
  }

  expect(): void {
    // Threads here wake when something arrives; polling for it changes nothing.
  }

  #send({ at, length, host, port }: Pending): void {
    const { kernel, machineOf, paths } = this.#parts;
    const { faults } = kernel;
    const machine = machineOf(this.machine, host);
    if (machine === undefined) return;
    if (this.#isLocal && machine !== this.machine) {
      // From such an address there is no way to others.
      this.unsent += 1;
      return;
    }
    this.machine.neighbours.add(machine.id);
    machine.neighbours.add(this.machine.id);
    const way = { from: this.machine, to: machine, nowNs: kernel.nowNs };
    const passage = paths.take(way, length, this.#isV6);
    if (passage === Passage.REFUSED) this.unsent += 1;
    if (passage === Passage.REFUSED || passage === Passage.LOST) return;
    const touched = [this.machine.id, machine.id];
    if (faults.roll(FaultKind.DatagramLoss)) {
      faults.inject(FaultKind.DatagramLoss, touched);
      return;
    }
    const sender = host === OWN_HOST_NUMBER ? this.#asLocal : this.#asMachine;
    const bytes = this.output.bytes.subarray(at, at + length);
    const lateNs = passage === Passage.LATE ? this.#parts.prng.below(LATE_US_MAX) * NS_PER_US : 0;
    this.#sendOnce(machine, port, { peer: sender, bytes: new Uint8Array(bytes) }, lateNs);
    if (faults.roll(FaultKind.DatagramDuplicate)) {
      faults.inject(FaultKind.DatagramDuplicate, touched);
      this.#takeOff();
      this.#sendOnce(machine, port, { peer: sender, bytes: new Uint8Array(bytes) }, lateNs);
    }
  }

  #sendOnce(to: Machine, port: number, datagram: Datagram, atLeastLateNs: number): void {
    const { kernel, prng } = this.#parts;
    const { faults, knobs } = kernel;
    const { bytes } = datagram;
    const touched = [this.machine.id, to.id];
    let lateNs = atLeastLateNs;
    if (faults.roll(FaultKind.DatagramReorder)) {
      faults.inject(FaultKind.DatagramReorder, touched);
      lateNs += prng.below(REORDER_LATENCIES * knobs.latencyNs);
    }
    if (faults.roll(FaultKind.DatagramDelay)) {
      faults.inject(FaultKind.DatagramDelay, touched);
      lateNs += prng.below(LATE_US_MAX) * NS_PER_US;
    }
    if (bytes.length > 0 && faults.roll(FaultKind.DatagramCorruption)) {
      faults.inject(FaultKind.DatagramCorruption, touched);
      const at = prng.below(bytes.length);
      bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
    }
    const flight = this.#flight;
    if (lateNs > 0) {
      this.#fly({ to, port, datagrams: [datagram], bytes: bytes.length }, lateNs);
    } else if (flight?.to === to && flight.port === port && this.#together(to)) {
      flight.datagrams.push(datagram);
      flight.bytes += bytes.length;
    } else {
      this.#takeOff();
      this.#flight = { to, port, datagrams: [datagram], bytes: bytes.length };
    }
  }

  /** A card is charged for every message, so each of them travels alone. */
  #together(to: Machine): boolean {
    if (this.machine.nic !== undefined || to.nic !== undefined) return false;
    return this.#parts.prng.chance(TOGETHER_PER_MILLION);
  }

  #takeOff(): void {
    const flight = this.#flight;
    this.#flight = undefined;
    if (flight !== undefined) this.#fly(flight, 0);
  }

  #fly(flight: Flight, lateNs: number): void {
    const { kernel, links, find } = this.#parts;
    const { to, port, bytes } = flight;
    const arrive = (): void => {
      if (links.cut(this.machine, to, 'datagram') !== undefined || !to.up) return;
      const socket = find(this.machine, to, port);
      if (socket !== undefined) socket.#arrive(flight);
    };
    const delayNs = links.travelNs(this.machine, to, bytes, 0) + lateNs;
    kernel.schedule(delayNs, undefined, EventKind.Datagram, arrive, bytes);
  }

  #arrive(flight: Flight): void {
    const { kernel, prng } = this.#parts;
    for (const datagram of flight.datagrams) this.#received.add(datagram, kernel.nowNs);
    if (this.#woken) return;
    const { gatherPerMillion } = kernel.knobs;
    if (this.machine.workNs !== undefined) this.#wakeIn(this.#workNs());
    else if (prng.chance(gatherPerMillion)) this.#wakeIn(kernel.withinUs(GATHER_US_MAX));
    else if (this.#task.process.paused || this.#task.isBusy) this.#wakeIn(0);
    else this.#deliver();
  }

  /** Until the task has done what came before, and the work of the first that waits. */
  #workNs(): number {
    const { workNs } = this.machine;
    const first = this.#received.first;
    if (workNs === undefined || first === undefined) return 0;
    const { nowNs } = this.#parts.kernel;
    this.#paidNs = workNs(first.bytes);
    return Math.max(0, this.#busyUntilNs - nowNs) + this.#paidNs;
  }

  /** What a batch is answered leaves when its first one's work is done; the next one waits. */
  #charge({ input, count, starts, lengths }: DatagramBatch): void {
    const { workNs } = this.machine;
    if (workNs === undefined) return;
    let ns = 0;
    for (let i = 0; i < count; i++) {
      const start = starts[i] as number;
      ns += workNs(input.bytes.subarray(start, start + (lengths[i] as number)));
    }
    this.#busyUntilNs = this.#parts.kernel.nowNs + ns - this.#paidNs;
    this.#paidNs = 0;
  }

  #wakeIn(delayNs: number): void {
    this.#woken = true;
    const wake = (): void => {
      this.#woken = false;
      this.#deliver();
    };
    const { kernel } = this.#parts;
    kernel.schedule(delayNs, this.#task, EventKind.Datagram, wake, this.#received.waitingBytes);
  }

  #deliver(): void {
    if (!this.#open) return;
    assert(this.#task.alive);
    const batch: DatagramBatch = this.#received.take(this.#parts.prng, this.#parts.kernel.nowNs);
    this.#charge(batch);
    // Before the call, which may end the process.
    if (this.#received.waiting > 0) this.#wakeIn(this.#workNs());
    this.#handler.received(this, batch);
    this.#received.spoil();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forget();
    this.#parts.closed(this);
  }
}

/** 16 bits, big endian. */
function numberAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function peer(host: number, port: number): Uint8Array {
  const bytes = new Uint8Array(PEER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, FAMILY);
  view.setUint16(PORT_AT, port);
  view.setUint32(HOST_AT, host);
  return bytes;
}
