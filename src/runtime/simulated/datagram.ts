/** Simulated datagrams: lost, doubled, late, out of order or damaged, each at its rate. */

import { assert, defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import type { Address, DatagramHandler, DatagramSocket } from '../network.js';
import { isAnyHost, parseAddress } from './address.js';
import { FaultKind } from './faults.js';
import { type Kernel, NS_PER_US } from './kernel.js';
import type { Links } from './links.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

/** UDP over IPv4 carries no more; longer ones are lost, as the kernel refuses them. */
const DATAGRAM_BYTES_MAX = 65_507;
/** A datagram that is overtaken waits for this many latencies at most. */
const REORDER_LATENCIES = 8;
const LATE_US_MAX = 200_000;
const STALE = 0xdd;

export interface DatagramParts {
  readonly kernel: Kernel;
  readonly links: Links;
  readonly prng: Prng;
  /** The socket at an address as seen from a machine. */
  readonly find: (from: Machine, to: Address) => SimulatedDatagramSocket | undefined;
  readonly machineOf: (from: Machine, to: Address) => Machine | undefined;
  readonly closed: (socket: SimulatedDatagramSocket) => void;
}

export class SimulatedDatagramSocket implements DatagramSocket {
  readonly address: Address;
  readonly machine: Machine;
  readonly #parts: DatagramParts;
  readonly #task: Task;
  readonly #handler: DatagramHandler;
  readonly #forget: () => void;
  #open = true;
  /** Arrived while the process was paused. */
  #waitingBytes = 0;

  constructor(parts: DatagramParts, task: Task, address: Address, handler: DatagramHandler) {
    this.#parts = parts;
    this.#task = task;
    this.machine = task.process.machine;
    this.address = address;
    this.#handler = handler;
    this.#forget = task.atEnd(() => this.close());
  }

  send(to: Address, bytes: Uint8Array): void {
    if (!this.#open || bytes.length > DATAGRAM_BYTES_MAX) return;
    const { kernel, machineOf } = this.#parts;
    const machine = machineOf(this.machine, to);
    if (machine === undefined) return;
    this.machine.neighbours.add(machine.id);
    machine.neighbours.add(this.machine.id);
    const touched = [this.machine.id, machine.id];
    const { faults } = kernel;
    if (faults.roll(FaultKind.DatagramLoss)) {
      faults.inject(FaultKind.DatagramLoss, touched);
      return;
    }
    this.#sendOnce(to, machine, bytes.slice());
    if (faults.roll(FaultKind.DatagramDuplicate)) {
      faults.inject(FaultKind.DatagramDuplicate, touched);
      this.#sendOnce(to, machine, bytes.slice());
    }
  }

  #sendOnce(to: Address, machine: Machine, bytes: Uint8Array): void {
    const { kernel, links, prng } = this.#parts;
    const { faults, knobs } = kernel;
    const touched = [this.machine.id, machine.id];
    let delayNs = links.travelNs(this.machine, machine, bytes.length, 0);
    if (faults.roll(FaultKind.DatagramReorder)) {
      faults.inject(FaultKind.DatagramReorder, touched);
      delayNs += prng.below(REORDER_LATENCIES * knobs.latencyNs);
    }
    if (faults.roll(FaultKind.DatagramDelay)) {
      faults.inject(FaultKind.DatagramDelay, touched);
      delayNs += prng.below(LATE_US_MAX) * NS_PER_US;
    }
    if (bytes.length > 0 && faults.roll(FaultKind.DatagramCorruption)) {
      faults.inject(FaultKind.DatagramCorruption, touched);
      const at = prng.below(bytes.length);
      bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
    }
    kernel.schedule(
      delayNs,
      undefined,
      EventKind.Datagram,
      () => this.#arriveAt(to, machine, bytes),
      bytes.length,
    );
  }

  #arriveAt(to: Address, machine: Machine, bytes: Uint8Array): void {
    const { links, find } = this.#parts;
    if (links.cut(this.machine, machine) !== undefined) return;
    const socket = find(this.machine, to);
    if (socket !== undefined) socket.#arrive(this.#senderAddress(), bytes);
  }

  /** Where an answer goes: a socket on all addresses is answered at the machine's. */
  #senderAddress(): Address {
    const { host, port } = defined(parseAddress(this.address));
    return isAnyHost(host) ? `udp://${this.machine.host}:${port}` : this.address;
  }

  #arrive(from: Address, bytes: Uint8Array): void {
    const { kernel } = this.#parts;
    if (!this.#task.process.paused) {
      this.#deliver(from, bytes);
      return;
    }
    // The kernel keeps a buffer full for it; what comes on top is lost.
    if (this.#waitingBytes + bytes.length > kernel.knobs.datagramBufferBytes) return;
    this.#waitingBytes += bytes.length;
    const deliverLater = (): void => {
      this.#waitingBytes -= bytes.length;
      this.#deliver(from, bytes);
    };
    kernel.schedule(0, this.#task, EventKind.Datagram, deliverLater, bytes.length);
  }

  #deliver(from: Address, bytes: Uint8Array): void {
    if (!this.#open) return;
    assert(this.#task.alive);
    this.#handler.received(this, from, bytes);
    bytes.fill(STALE);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forget();
    this.#parts.closed(this);
  }
}
