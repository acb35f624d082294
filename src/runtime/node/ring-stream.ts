/**
 * A byte stream over two rings in shared memory and a socket. The bytes go through the rings; the
 * socket carries single bytes, each of which says "look", and its end is the end of the stream,
 * which the kernel tells even when the other side was killed.
 *
 *            heat()                         nothing for its patience, or no budget
 *   asleep ----------> hot  ----------------------------------------------> asleep
 *   marked so in the ring;  polled: no system call
 *   the socket wakes it     on either side                                 (settle)
 *
 * Output is written into the ring itself; `flush` moves the position behind it, and rings only if
 * the other side is asleep. Input is copied out once, into a buffer like that of any stream.
 */

import type { Socket } from 'node:net';
import { assert } from '../../base/assert.js';
import { BYTE_RING_BYTES } from '../byte-ring.js';
import {
  type Address,
  type Bytes,
  type Stream,
  STREAM_INPUT_BYTES_MAX,
  STREAM_RESERVE_BYTES_MAX,
  type StreamHandler,
} from '../network.js';
import type { HotRing, HotRings } from './hot-rings.js';
import { type Handle, handleOf, NO_BYTES, viewsOf } from './node-stream.js';
import { Patience } from './patience.js';
import type { MappedRings } from './ring-file.js';
import type { SoonQueue } from './soon.js';
import { addressOf, MSG_DONTWAIT, MSG_NOSIGNAL, send } from './system.js';

/** Room for a whole unconsumed input and as much again, so that moving it is rare. */
const INPUT_BYTES = 2 * STREAM_INPUT_BYTES_MAX;
/** With less room behind the input it is moved to the front. */
const INPUT_ROOM_BYTES_MIN = 128 * 1024;
/** Copied at once: not more than stays in the second level cache until it is handled. */
const TAKE_BYTES_MAX = 256 * 1024;

const BELL = Uint8Array.of(1);
const bellAddress = addressOf(BELL);

export interface RingWorld {
  readonly soon: SoonQueue;
  readonly rings: HotRings;
}

export class RingStream implements Stream, HotRing {
  readonly remote: Address;
  hot = false;
  pollUntil = 0;

  readonly #socket: Socket;
  readonly #handle: Handle | undefined;
  readonly #rings: MappedRings;
  readonly #world: RingWorld;
  #handler: StreamHandler | undefined;
  #output: Bytes;
  #closed = false;
  #reason = '';
  /** Why the socket ended; what the ring still holds comes first. */
  #ending = '';
  #paused = false;
  #resuming = false;
  #looking = false;

  #input: Bytes = NO_BYTES;
  #start = 0;
  #end = 0;

  #reserved = 0;
  #wantsDrained = false;
  #tellsDrained = false;

  #answerDue: boolean | undefined;
  readonly #patience = new Patience();

  constructor(socket: Socket, remote: Address, rings: MappedRings, world: RingWorld) {
    this.#socket = socket;
    this.remote = remote;
    this.#rings = rings;
    this.#world = world;
    this.#output = rings.writer.content;
    this.#handle = handleOf(socket);
    socket.on('error', () => this.#ended('the connection to the other side broke'));
    socket.on('end', () => this.#ended('closed by the other side'));
    socket.on('close', () => this.#ended('closed by the other side'));
  }

  /** From here on input is shown. */
  open(handler: StreamHandler): void {
    assert(this.#handler === undefined, 'a stream is opened once');
    this.#handler = handler;
    if (this.#closed) {
      this.#world.soon.add(() => this.#tell());
      return;
    }
    this.#socket.on('data', () => this.#rung());
    this.#world.soon.add(() => this.#rung());
  }

  get output(): Bytes {
    return this.#output;
  }

  get pending(): number {
    return this.#closed ? 0 : this.#rings.writer.pending;
  }

  reserve(bytes: number): number {
    assert(bytes % 8 === 0 && bytes <= STREAM_RESERVE_BYTES_MAX, 'reserve of a wrong size');
    if (this.#closed) return -1;
    const { writer } = this.#rings;
    let at = writer.reserve(bytes);
    if (at < 0) at = this.#refuse(bytes);
    this.#reserved = at < 0 ? 0 : bytes;
    return at;
  }

  commit(bytes: number): void {
    assert(bytes % 8 === 0 && bytes <= this.#reserved, 'commit of more than was reserved');
    if (this.#closed) return;
    this.#reserved = 0;
    this.#rings.writer.commit(bytes);
  }

  flush(): void {
    if (this.#closed) return;
    if (this.#rings.writer.publish()) this.#ring();
    // Nobody will ever take it; a reader that pauses would not notice otherwise.
    if (this.#ending !== '' && this.#paused) this.#finish(this.#ending);
  }

  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    this.#world.rings.remove(this);
    this.#sleep();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    if (this.#resuming) return;
    this.#resuming = true;
    this.#world.soon.add(() => this.#resumed());
  }

  expect(answerDue: boolean): void {
    if (answerDue === this.#answerDue) return;
    this.#answerDue = answerDue;
    if (!answerDue) return;
    const now = performance.now();
    this.#patience.begin(now);
    this.#heat(now);
  }

  close(reason: string): void {
    this.#finish(reason);
  }

  // Looking and sleeping.

  /** Takes what is there; true if anything was moved. */
  look(): boolean {
    if (this.#closed) return false;
    if (this.#wantsDrained) this.#planDrained();
    const moved = !this.#paused && this.#take() > 0 && this.#arrived();
    const { reader, writer } = this.#rings;
    if (reader.broken || writer.broken) this.#finish('the other side broke the shared rings');
    return moved;
  }

  settle(): void {
    if (this.#closed) return;
    if (this.#answerDue !== false) this.#patience.waitedInVain();
    this.#sleep();
  }

  /** The other side woke us, or might have. */
  #rung(): void {
    this.look();
    if (this.#ending !== '') this.#readToTheEnd();
    else if (!this.hot) this.#sleep();
  }

  /** Says in the rings that nobody looks; looks again, later, if there is something already. */
  #sleep(): void {
    if (this.#closed) return;
    const { reader, writer } = this.#rings;
    if (this.#paused) reader.wake();
    const isInput = !this.#paused && !reader.sleep();
    const isRoom = this.#wantsDrained && !writer.sleep();
    if (isInput || isRoom) this.#lookLater();
  }

  /** After the event loop had a look at everything else. */
  #lookLater(): void {
    if (this.#looking) return;
    this.#looking = true;
    setImmediate(() => {
      this.#looking = false;
      this.#rung();
    });
  }

  #heat(now: number): void {
    if (this.#paused || this.#closed) return;
    this.pollUntil = now + this.#patience.ms;
    const before = this.hot;
    this.#world.rings.heat(this, now);
    if (!this.hot || before) return;
    this.#rings.reader.wake();
    this.#rings.writer.wake();
  }

  /** Wakes the other side. If the socket is full it has enough to wake up from. */
  #ring(): void {
    if (this.#handle === undefined) this.#socket.write(BELL);
    // The descriptor is ours until libuv closes it, which it does before it tells.
    else if ((this.#socket as unknown as { _handle: unknown })._handle !== null) {
      send(this.#handle.fd, bellAddress, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
  }

  // Input.

  #take(): number {
    const { reader } = this.#rings;
    if (reader.waiting() === 0) return 0;
    const room = this.#makeRoom();
    const bytes = reader.take(this.#input, this.#end, room);
    this.#end += bytes;
    if (reader.wakesWriter()) this.#ring();
    return bytes;
  }

  #arrived(): true {
    const now = performance.now();
    this.#patience.arrived(now, this.hot);
    this.#deliver();
    if (this.#answerDue !== false) this.#heat(now);
    return true;
  }

  /** How many bytes fit behind the input. */
  #makeRoom(): number {
    if (this.#input === NO_BYTES) {
      this.#input = viewsOf(Buffer.allocUnsafeSlow(INPUT_BYTES).buffer);
    }
    const room = INPUT_BYTES - this.#end;
    if (room >= INPUT_ROOM_BYTES_MIN || this.#start === 0) return Math.min(room, TAKE_BYTES_MAX);
    this.#input.bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    return Math.min(INPUT_BYTES - this.#end, TAKE_BYTES_MAX);
  }

  #deliver(): void {
    const handler = this.#handler as StreamHandler;
    const taken = handler.received(this, this.#input, this.#start, this.#end);
    assert(taken >= 0 && taken <= this.#end - this.#start, 'consumed more than there was');
    this.#start += taken;
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
    assert(
      this.#end - this.#start < STREAM_INPUT_BYTES_MAX || this.#paused || this.#closed,
      'a handler left a whole input buffer and did not pause',
    );
  }

  #resumed(): void {
    this.#resuming = false;
    if (this.#closed || this.#paused) return;
    if (this.#start < this.#end) this.#deliver();
    this.#rung();
  }

  // Output.

  /** There is no room as far as we know: we look, or the other side tells us. */
  #refuse(bytes: number): number {
    const { writer } = this.#rings;
    if (!this.hot) this.#heat(performance.now());
    const isLate = !this.hot && !writer.sleep();
    // Room was made before the other side could see that we sleep.
    const at = isLate ? writer.reserve(bytes) : -1;
    if (at < 0) this.#wantsDrained = true;
    if (isLate) this.#lookLater();
    return at;
  }

  #planDrained(): void {
    if (this.#tellsDrained || !this.#rings.writer.isHalfFree) return;
    this.#tellsDrained = true;
    this.#world.soon.add(() => {
      this.#tellsDrained = false;
      if (this.#closed || !this.#rings.writer.isHalfFree) return;
      this.#wantsDrained = false;
      this.#handler?.drained(this);
    });
  }

  // The end.

  #ended(reason: string): void {
    if (this.#closed || this.#ending !== '') return;
    this.#ending = reason;
    this.#world.rings.remove(this);
    this.#readToTheEnd();
  }

  /** Shows what was published before the end, then tells of the end. */
  #readToTheEnd(): void {
    // More than the ring holds was written after the end.
    let left = this.#handler === undefined ? 0 : BYTE_RING_BYTES;
    while (left > 0 && !this.#closed && !this.#paused) {
      const bytes = this.#take();
      left = bytes === 0 ? 0 : left - bytes;
      if (bytes > 0) this.#deliver();
    }
    // Who pauses until there is room would wait for ever: nobody makes any.
    if (!this.#paused || this.#wantsDrained) this.#finish(this.#ending);
  }

  #finish(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason = reason;
    this.#world.rings.remove(this);
    this.#socket.destroy();
    // A stream that nobody has opened yet has nobody to tell.
    if (this.#handler !== undefined) this.#world.soon.add(() => this.#tell());
    else this.#forget();
  }

  #tell(): void {
    this.#handler?.closed(this, this.#reason);
    this.#forget();
  }

  /** Later calls find a closed stream; the memory need not wait for it to be forgotten. */
  #forget(): void {
    this.#output = NO_BYTES;
    this.#input = NO_BYTES;
    this.#rings.release();
  }
}
