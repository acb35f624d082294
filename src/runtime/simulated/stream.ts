/**
 * Simulated byte streams: two ends, each with what the kernel would keep for it.
 *
 *   output -> pump -> segments under way -> arrived -> input -> handler.received
 *            (user)    (in order, in time)   (kernel)   (user)
 *
 * The sender may have `windowBytes` on the way and unread; then it waits until the reader takes
 * some. An end is `open` until its user closed it or a reason to close has reached it; `closed`
 * is then told in an event of its own. A *gone* end (closed, reset, its process dead) answers
 * whatever still arrives with a reset, as a kernel does.
 */

import { assert, defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import type { Address, Bytes, Stream, StreamHandler } from '../network.js';
import { InputBuffer, OutputBuffer, recycle } from './buffers.js';
import { type Fault, FaultKind } from './faults.js';
import { type Kernel, NS_PER_MS } from './kernel.js';
import type { Links } from './links.js';
import type { ExitStatus, Machine, Task } from './task.js';
import { EventKind } from './trace.js';

/** What both ends know. */
export interface Connection {
  readonly id: number;
  readonly kernel: Kernel;
  readonly links: Links;
  readonly prng: Prng;
  /** Over memory that both ends share: the kernel always tells both when it ends. */
  readonly isRing: boolean;
  /** What is said there has no checksums of its own: no bytes are flipped. */
  readonly isPlain: boolean;
  readonly windowBytes: number;
  /** Until a slow reader looks again; 0 for a reader that is not slow. */
  readonly slowReadNs: number;
  /** Faults that did something to it and that its users have yet to notice. */
  readonly faults: Fault[];
}

interface Farewell {
  readonly reason: string;
  readonly fault: Fault | undefined;
}

/** Bytes, or, at the end, the news that the other side closed. */
type Segment = Uint8Array | Farewell;

/** Reading byte by byte goes on for at most this many bytes. */
const SINGLE_BYTES_MAX = 200;
const MOVES_ONE_IN = 64;
const NOTICED_WITHIN_MS = 100;

export class SimulatedStream implements Stream {
  readonly remote: Address;
  readonly machine: Machine;
  readonly #connection: Connection;
  readonly #task: Task;
  #handler: StreamHandler | undefined;
  #peer: SimulatedStream | undefined;
  /** May still be used by its user. */
  #open = true;
  /** Nothing that arrives is for anybody any more. */
  #gone = false;

  readonly #out: OutputBuffer;
  #refused = false;
  /** Bytes under way to the peer, or there and not yet read. */
  #underWay = 0;
  #lastArrivalNs = 0;
  /** What was sent last did not arrive whole: the connection breaks there. */
  #isCut = false;
  #held: Segment[] = [];

  readonly #in = new InputBuffer();
  #arrived: Uint8Array[] = [];
  #arrivedBytes = 0;
  #farewell: Farewell | undefined;
  #paused = false;
  #readPlanned = false;
  /** Show what was left unconsumed even if nothing has come since. */
  #showRest = false;
  #singleBytes = 0;
  #splitFault: Fault | undefined;
  #forget: () => void = () => {};

  constructor(connection: Connection, task: Task, remote: Address) {
    this.#connection = connection;
    this.#task = task;
    this.machine = task.process.machine;
    this.remote = remote;
    this.#out = new OutputBuffer(connection.kernel.knobs.outputBytes);
    this.#forget = task.atEnd((status) => this.#taskEnded(status));
  }

  /** Makes two ends one stream. */
  static join(a: SimulatedStream, b: SimulatedStream): void {
    a.#peer = b;
    b.#peer = a;
    a.machine.neighbours.add(b.machine.id);
    b.machine.neighbours.add(a.machine.id);
  }

  /** From now on its user is told; what has arrived before follows. */
  attach(handler: StreamHandler): void {
    this.#handler = handler;
    if (this.#arrivedBytes > 0 || this.#farewell !== undefined) this.#planRead(0);
  }

  /** Nothing of this end arrives at the other before this many nanoseconds. */
  notBefore(delayNs: number): void {
    this.#lastArrivalNs = Math.max(this.#lastArrivalNs, this.#connection.kernel.nowNs + delayNs);
  }

  // The user's side.

  get output(): Bytes {
    return this.#out.content;
  }

  get pending(): number {
    return this.#out.pending;
  }

  reserve(bytes: number): number {
    if (!this.#open) return -1;
    // One in 64 moves without need: whoever keeps an older offset writes into nothing.
    const move = this.#connection.prng.below(MOVES_ONE_IN) === 0;
    const at = this.#out.reserve(bytes, move);
    this.#refused = at < 0;
    if (at < 0) this.#blameSlowness();
    return at;
  }

  #blameSlowness(): void {
    const { kernel, faults } = this.#connection;
    for (const fault of faults) if (fault.kind === FaultKind.SlowPeer) kernel.faults.matter(fault);
  }

  commit(bytes: number): void {
    assert(bytes % 8 === 0 || !this.#connection.isRing, 'a ring takes a multiple of 8');
    if (this.#open) this.#out.commit(bytes);
  }

  flush(): void {
    if (this.#open) this.#pump();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#showRest = true;
    this.#planRead(0);
  }

  expect(_answerDue: boolean): void {}

  close(reason: string): void {
    if (!this.#open) return;
    this.#blameFaults();
    this.#leave(reason);
    this.#tellClosed({ reason, fault: undefined }, 0);
  }

  /** Whoever closes soon after a fault probably does so because of it. */
  #blameFaults(): void {
    const { kernel, faults } = this.#connection;
    for (const fault of faults) {
      if (kernel.nowNs - fault.fromNs < NOTICED_WITHIN_MS * NS_PER_MS) kernel.faults.matter(fault);
    }
  }

  // Sending.

  #pump(): void {
    const { windowBytes, kernel } = this.#connection;
    while (this.#out.pending > 0) {
      const room = Math.min(windowBytes - this.#underWay, kernel.knobs.segmentBytes);
      if (room <= 0) break;
      const bytes = this.#out.take(Math.min(room, this.#out.pending));
      this.#underWay += bytes.length;
      this.#send(bytes);
      if (this.#gone) return;
    }
    if (this.#refused && this.#out.pending * 2 <= this.#out.limit) {
      this.#refused = false;
      kernel.schedule(0, this.#task, EventKind.Drained, () => {
        if (this.#open) this.#handler?.drained(this);
      });
    }
  }

  #send(segment: Segment): void {
    // A stream has no gaps: behind a segment that was cut nothing arrives any more.
    if (this.#isCut) return;
    const { kernel, links, id } = this.#connection;
    const peer = defined(this.#peer);
    const bytes = segment instanceof Uint8Array ? segment : undefined;
    const size = bytes?.length ?? 0;
    const travelNs = links.travelNs(this.machine, peer.machine, size, id);
    const atNs = Math.max(kernel.nowNs + travelNs, this.#lastArrivalNs);
    this.#lastArrivalNs = atNs;
    const delayNs = atNs - kernel.nowNs;
    let sent = segment;
    const arrive = (): void => this.#passOn(sent);
    kernel.schedule(delayNs, undefined, EventKind.Segment, arrive, size);
    if (bytes === undefined) return;
    this.#corrupt(bytes);
    const cut = this.#resetAt(bytes, delayNs);
    if (cut === undefined) return;
    this.#isCut = true;
    sent = bytes.subarray(0, cut);
  }

  #corrupt(bytes: Uint8Array): void {
    const { kernel, prng, faults, isPlain } = this.#connection;
    if (isPlain || !kernel.faults.roll(FaultKind.StreamCorruption)) return;
    const at = prng.below(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << prng.below(8));
    faults.push(this.#inject(FaultKind.StreamCorruption));
  }

  /** Where the connection breaks within these bytes, if it does: when those before arrived. */
  #resetAt(bytes: Uint8Array, delayNs: number): number | undefined {
    const { kernel, prng, isRing } = this.#connection;
    const halfOpen = !isRing && kernel.faults.roll(FaultKind.HalfOpen);
    if (!halfOpen && !kernel.faults.roll(FaultKind.StreamReset)) return undefined;
    const fault = this.#inject(halfOpen ? FaultKind.HalfOpen : FaultKind.StreamReset);
    kernel.schedule(delayNs, undefined, EventKind.Fault, () => this.reset(fault));
    return prng.below(bytes.length + 1);
  }

  #inject(kind: FaultKind): Fault {
    const machines = [this.machine.id, defined(this.#peer).machine.id];
    return this.#connection.kernel.faults.inject(kind, machines);
  }

  /** The segment has crossed the wire, unless that is cut. */
  #passOn(segment: Segment): void {
    const { links } = this.#connection;
    const peer = defined(this.#peer);
    if (this.#held.length > 0) {
      this.#held.push(segment);
      return;
    }
    const cut = links.cut(this.machine, peer.machine);
    if (cut === undefined) {
      peer.#arrive(segment);
      return;
    }
    this.#held.push(segment);
    links.onHeal(this.machine, peer.machine, () => this.#sendHeld(cut));
    this.#giveUpAfterKeepalive(cut);
  }

  /** The wire is whole again: what was held is sent again, or the connection did not survive. */
  #sendHeld(fault: Fault): void {
    const { kernel, links, prng } = this.#connection;
    if (this.#held.length === 0) return;
    if (prng.below(4) === 0) {
      this.reset(fault);
      return;
    }
    const resend = (): void => {
      const held = this.#held;
      this.#held = [];
      for (const segment of held) this.#passOn(segment);
    };
    kernel.schedule(links.resendNs(), undefined, EventKind.Segment, resend);
  }

  #giveUpAfterKeepalive(fault: Fault): void {
    const { kernel } = this.#connection;
    const first = this.#held[0];
    kernel.schedule(kernel.knobs.keepaliveMs * NS_PER_MS, undefined, EventKind.Fault, () => {
      if (this.#held[0] !== first || first === undefined) return;
      this.#held = [];
      this.#fail({ reason: 'timed out', fault }, 0);
      defined(this.#peer).#fail({ reason: 'timed out', fault }, this.#someKeepaliveNs());
    });
  }

  #someKeepaliveNs(): number {
    const { kernel, prng } = this.#connection;
    return prng.below(kernel.knobs.keepaliveMs) * NS_PER_MS;
  }

  // Receiving.

  #arrive(segment: Segment): void {
    const { kernel } = this.#connection;
    const slowReadNs = this.#slowReadNs();
    if (this.#gone) {
      if (segment instanceof Uint8Array) this.#answerReset();
      return;
    }
    if (segment instanceof Uint8Array) {
      this.#arrived.push(segment);
      this.#arrivedBytes += segment.length;
    } else {
      this.#farewell = segment;
    }
    if (this.#handler === undefined || this.#paused || this.#readPlanned) return;
    if (slowReadNs > 0 || this.#task.process.paused) this.#planRead(slowReadNs);
    else if (this.#task.alive) {
      kernel.trace.record(kernel.nowNs, EventKind.Read, this.#task.id, this.#arrivedBytes);
      this.#read();
    }
  }

  #planRead(delayNs: number): void {
    if (this.#readPlanned || this.#gone) return;
    this.#readPlanned = true;
    this.#connection.kernel.schedule(delayNs, this.#task, EventKind.Read, () => {
      this.#readPlanned = false;
      if (this.#open && !this.#paused) this.#read();
    });
  }

  /** Takes what has arrived and shows it. */
  #read(): void {
    const handler = this.#handler;
    if (handler === undefined) return;
    const taken = this.#takeArrived();
    const input = this.#in;
    const showRest = this.#showRest && input.length > 0;
    this.#showRest = false;
    if (taken > 0 || showRest) {
      const consumed = handler.received(this, input.content, input.start, input.end);
      if (!this.#open) return;
      input.consume(consumed);
      assert(
        this.#paused || input.room > 0,
        'a handler left a whole input buffer unconsumed without pausing',
      );
      if (input.length > 0 && this.#splitFault !== undefined) {
        this.#connection.kernel.faults.matter(this.#splitFault);
      }
    }
    this.#afterRead();
  }

  #afterRead(): void {
    const { kernel, prng } = this.#connection;
    if (this.#paused) return;
    if (this.#arrivedBytes > 0) {
      this.#planRead(this.#slowReadNs() + prng.below(kernel.knobs.loopbackNs));
    } else if (this.#farewell !== undefined) {
      const farewell = this.#farewell;
      this.#leave(farewell.reason);
      this.#tellClosed(farewell, 0);
    }
  }

  /** Moves arrived bytes into the input: all, or at random fewer. Returns how many. */
  #takeArrived(): number {
    let left = Math.min(this.#arrivedBytes, this.#in.room, this.#readLimit());
    const taken = left;
    while (left > 0) {
      const first = this.#arrived[0] as Uint8Array;
      if (first.length > left) {
        this.#in.append(first.subarray(0, left));
        this.#arrived[0] = first.subarray(left);
        left = 0;
      } else {
        this.#in.append(first);
        this.#arrived.shift();
        recycle(first);
        left -= first.length;
      }
    }
    this.#arrivedBytes -= taken;
    if (taken > 0) this.#giveWindowBack(taken);
    return taken;
  }

  /** A reader is slow for as long as there are faults. */
  #slowReadNs(): number {
    const { kernel, slowReadNs } = this.#connection;
    return kernel.faults.enabled ? slowReadNs : 0;
  }

  #readLimit(): number {
    const { kernel, prng } = this.#connection;
    if (this.#singleBytes > 0) {
      this.#singleBytes -= 1;
      return 1;
    }
    if (this.#slowReadNs() > 0) return 1 + prng.below(4096);
    this.#splitFault = undefined;
    if (this.#arrivedBytes < 2 || !kernel.faults.roll(FaultKind.StreamSplit)) return Infinity;
    this.#splitFault = this.#inject(FaultKind.StreamSplit);
    if (prng.below(4) === 0) {
      this.#singleBytes = prng.below(SINGLE_BYTES_MAX);
      return 1;
    }
    return 1 + prng.below(this.#arrivedBytes - 1);
  }

  /** The news that there is room again travels back, and not over a wire that is cut. */
  #giveWindowBack(bytes: number): void {
    const { kernel, links } = this.#connection;
    const peer = defined(this.#peer);
    if (peer.#gone) return;
    if (links.cut(this.machine, peer.machine) !== undefined) {
      links.onHeal(this.machine, peer.machine, () => this.#giveWindowBack(bytes));
      return;
    }
    const waits = peer.#out.pending > 0;
    if (!waits) {
      peer.#underWay -= bytes;
      return;
    }
    const backNs = kernel.latencyNs(this.machine === peer.machine ? 0 : kernel.knobs.latencyNs);
    kernel.schedule(backNs, undefined, EventKind.Segment, () => {
      peer.#underWay -= bytes;
      if (peer.#open) peer.#pump();
    });
  }

  // Ending.

  /** Breaks the connection: both sides are told, each at its own time, or at first one only. */
  reset(fault: Fault): void {
    const { prng, kernel } = this.#connection;
    const peer = defined(this.#peer);
    const reason = 'connection reset';
    const soonNs = (): number => prng.below(4 * kernel.knobs.latencyNs + 1);
    if (fault.kind !== FaultKind.HalfOpen) {
      this.#fail({ reason, fault }, soonNs());
      peer.#fail({ reason, fault }, soonNs());
      return;
    }
    const [told, untold] = prng.below(2) === 0 ? [this, peer] : [peer, this];
    told.#fail({ reason, fault }, soonNs());
    untold.noticeLater(fault);
  }

  /** The other side is gone and nothing says so: noticed by sending, or by a keepalive. */
  noticeLater(fault: Fault | undefined): void {
    const { kernel } = this.#connection;
    kernel.schedule(this.#someKeepaliveNs(), undefined, EventKind.Fault, () => {
      this.#fail({ reason: 'timed out', fault }, 0);
    });
    if (fault !== undefined) this.#connection.faults.push(fault);
  }

  /** Its kernel has learned that the connection is no more; its user is told after `delayNs`. */
  #fail(farewell: Farewell, delayNs: number): void {
    if (!this.#open) {
      this.#disappear();
      return;
    }
    this.#open = false;
    this.#disappear();
    this.#tellClosed(farewell, delayNs);
  }

  /** Something came for an end that is no more: the sender gets a reset back. */
  #answerReset(): void {
    const { kernel, links, id } = this.#connection;
    const peer = defined(this.#peer);
    if (peer.#gone || !this.machine.up) return;
    if (links.cut(this.machine, peer.machine) !== undefined) return;
    const backNs = links.travelNs(this.machine, peer.machine, 0, id);
    kernel.schedule(backNs, undefined, EventKind.Segment, () => {
      const fault = this.#connection.faults[0];
      peer.#fail({ reason: 'connection reset by peer', fault }, 0);
    });
  }

  /** A process that ends says farewell through its kernel; a machine that stops does not. */
  #taskEnded(status: ExitStatus): void {
    if (this.machine.up) {
      this.#leave(status.reason, status.fault);
      return;
    }
    const peer = this.#peer;
    this.#open = false;
    this.#disappear();
    this.#held = [];
    if (peer !== undefined && !peer.#gone) peer.noticeLater(status.fault);
  }

  /**
   * Says farewell behind what was sent. With bytes arrived and not read it is a reset, which
   * overtakes what the peer has not read yet, or not.
   */
  #leave(reason: string, fault?: Fault): void {
    const unread = this.#arrivedBytes > 0;
    const wasGone = this.#gone;
    this.#open = false;
    this.#disappear();
    const peer = this.#peer;
    if (wasGone || peer === undefined || peer.#gone) return;
    const farewell = { reason: `closed by peer: ${reason}`, fault };
    if (unread && this.#connection.prng.below(2) === 0) {
      const { kernel, links, id } = this.#connection;
      const thereNs = links.travelNs(this.machine, peer.machine, 0, id);
      kernel.schedule(thereNs, undefined, EventKind.Segment, () => peer.#fail(farewell, 0));
    } else {
      this.#send(farewell);
    }
  }

  #disappear(): void {
    this.#gone = true;
    this.#out.clear();
    this.#arrived = [];
    this.#arrivedBytes = 0;
    this.#forget();
  }

  #tellClosed(farewell: Farewell, delayNs: number): void {
    const { kernel } = this.#connection;
    const tell = (): void => {
      kernel.faults.matter(farewell.fault);
      this.#handler?.closed(this, farewell.reason);
      this.#handler = undefined;
    };
    kernel.schedule(delayNs, this.#task, EventKind.Closed, tell);
  }
}
