/**
 * A byte stream over a socket that libuv owns.
 *
 * Input: one buffer of which `[start, end)` is not consumed. While the stream is cold libuv reads
 * and its chunks are appended; while it is hot libuv is told not to look, and the poller reads
 * into the buffer by FFI. Both run on this thread, never at once, so bytes keep their order.
 *
 * Output: one buffer of which `[head, tail)` is committed and not sent. `flush` sends by FFI. What
 * the kernel does not take is tried again on every turn while hot; while cold a short piece goes
 * to libuv, which waits until the socket can be written, and nothing is sent beside it meanwhile.
 *
 * Where a socket shows no descriptor everything goes by the documented interface of node:net.
 */

import type { Socket } from 'node:net';
import { assert } from '../../base/assert.js';
import {
  type Address,
  type Bytes,
  type Stream,
  STREAM_INPUT_BYTES_MAX,
  STREAM_OUTPUT_BYTES,
  STREAM_RESERVE_BYTES_MAX,
  type StreamHandler,
} from '../network.js';
import { Patience } from './patience.js';
import type { Polled, Poller } from './poller.js';
import type { SoonQueue } from './soon.js';
import { addressOf, EAGAIN, lastErrno, MSG_DONTWAIT, MSG_NOSIGNAL, recv, send } from './system.js';

/** What of a socket's handle is used. Not documented, so each use is checked. */
export interface Handle {
  readonly fd: number;
  readStart(): number;
  readStop(): number;
}

/** Room for a whole unconsumed input and as much again, so that moving it is rare. */
const INPUT_BYTES = 2 * STREAM_INPUT_BYTES_MAX;
/** With less room behind the input it is moved to the front. */
const INPUT_ROOM_BYTES_MIN = 128 * 1024;
/** One `recv`: not more than stays in the second level cache until it is handled. */
const RECV_BYTES_MAX = 256 * 1024;
/** What libuv is given to wait with: it returns when a third of the socket's buffer is free. */
const WAIT_PIECE_BYTES = 16 * 1024;

const FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;
export const NO_BYTES = viewsOf(new ArrayBuffer(0));

export interface StreamWorld {
  readonly poller: Poller;
  readonly soon: SoonQueue;
}

export class NodeStream implements Stream, Polled {
  readonly remote: Address;
  readonly fd: number;
  output: Bytes = NO_BYTES;
  hot = false;
  pollUntil = 0;
  registered = false;

  readonly #socket: Socket;
  readonly #handle: Handle | undefined;
  readonly #world: StreamWorld;
  readonly #below: Stream | undefined;
  #handler: StreamHandler | undefined;
  #closed = false;
  #reason = '';
  #paused = false;
  #resuming = false;

  #input: Bytes = NO_BYTES;
  #inputAddress = 0;
  #start = 0;
  #end = 0;

  #outputAddress = 0;
  #head = 0;
  #tail = 0;
  #reserved = 0;
  /** The kernel's buffer is full. */
  #blocked = false;
  /** Bytes at `head` that libuv holds a copy of. */
  #lent = 0;
  #wantsDrained = false;

  #answerDue: boolean | undefined;
  readonly #patience = new Patience();

  /** `below`: the stream that carries the socket, where that is none of the system's. */
  constructor(socket: Socket, remote: Address, world: StreamWorld, below?: Stream) {
    this.#socket = socket;
    this.remote = remote;
    this.#world = world;
    this.#below = below;
    this.#handle = below === undefined ? handleOf(socket) : undefined;
    this.fd = this.#handle?.fd ?? -1;
    socket.on('error', (error) => this.#finish(error.message.trim()));
    socket.on('end', () => this.#finish('closed by the other side'));
    socket.on('close', () => this.#finish('closed'));
  }

  /** From here on input is read. `first` is what was read before, to be shown first. */
  open(handler: StreamHandler, first?: Uint8Array): void {
    assert(this.#handler === undefined, 'a stream is opened once');
    this.#handler = handler;
    if (this.#closed) {
      this.#world.soon.add(() => this.#tell());
      return;
    }
    this.#socket.on('data', (chunk: Buffer) => this.#chunk(chunk));
    if (first !== undefined && first.length > 0) {
      this.#append(first);
      this.#redeliver();
    }
  }

  get pending(): number {
    const below = this.#below?.pending ?? 0;
    return Math.min(this.#tail - this.#head + below, STREAM_OUTPUT_BYTES);
  }

  reserve(bytes: number): number {
    assert(bytes % 8 === 0 && bytes <= STREAM_RESERVE_BYTES_MAX, 'reserve of a wrong size');
    if (this.#closed) return -1;
    if (this.output === NO_BYTES) this.#makeOutput();
    if (this.#tail + bytes > STREAM_OUTPUT_BYTES) this.#compactOutput();
    if (this.#tail + bytes > STREAM_OUTPUT_BYTES) {
      this.#wantsDrained = true;
      return -1;
    }
    this.#reserved = bytes;
    return this.#tail;
  }

  commit(bytes: number): void {
    assert(bytes >= 0 && bytes <= this.#reserved, 'commit of more than was reserved');
    if (this.#closed) return;
    this.#reserved = 0;
    this.#tail += bytes;
  }

  flush(): void {
    if (this.#tail === this.#head || this.#blocked || this.#lent > 0) return;
    this.#send();
    if (this.#blocked) this.#waitToWrite();
  }

  pause(): void {
    if (this.#paused || this.#closed) return;
    this.#paused = true;
    if (this.hot) this.#world.poller.remove(this);
    else if (this.#handle !== undefined) this.#stopReading();
    if (this.#handle === undefined) this.#socket.pause();
    else this.crowded();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    if (this.#handle === undefined) this.#socket.resume();
    else this.#startReading();
    this.#redeliver();
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

  /** One look by the poller. */
  poll(): boolean {
    if (!this.#usable()) return false;
    const moved = this.#blocked && this.#lent === 0 && this.#sendAgain();
    if (this.#paused) return moved;
    const room = this.#makeRoom();
    const bytes = recv(this.fd, this.#inputAddress + this.#end, room, FLAGS);
    if (bytes > 0) {
      this.#end += bytes;
      this.#arrived(performance.now());
      return true;
    }
    if (bytes === 0) this.#finish('closed by the other side');
    else if (lastErrno() !== EAGAIN) this.#leaveToLibuv();
    return bytes === 0 || moved;
  }

  settle(): void {
    if (this.#closed) return;
    if (this.#answerDue !== false) this.#patience.waitedInVain();
    if (!this.#paused) this.#startReading();
    this.crowded();
  }

  /** Polled by epoll from now on, which tells of input only; so libuv waits for room to write. */
  crowded(): void {
    if (this.#blocked) this.#lend();
  }

  /** Whether the descriptor is still ours: libuv closes it before it tells. */
  #usable(): boolean {
    return !this.#closed && (this.#socket as unknown as { _handle: unknown })._handle !== null;
  }

  /** libuv finds the error, or the end, by itself, and words it. */
  #leaveToLibuv(): void {
    this.#world.poller.remove(this);
    this.settle();
  }

  #startReading(): void {
    if (this.#usable()) this.#handle?.readStart();
  }

  #stopReading(): void {
    if (this.#usable()) this.#handle?.readStop();
  }

  #heat(now: number): void {
    if (this.#handle === undefined || this.#paused || this.#closed) return;
    this.pollUntil = now + this.#patience.ms;
    const before = this.hot;
    this.#world.poller.heat(this, now);
    if (this.hot && !before) this.#stopReading();
  }

  // Input.

  #chunk(chunk: Buffer): void {
    if (this.#closed) return;
    const now = performance.now();
    this.#append(chunk);
    // Node starts to read by itself after 'connect'.
    if (this.#paused || this.hot) this.#stopReading();
    this.#arrived(now);
  }

  #append(chunk: Uint8Array): void {
    this.#makeRoom();
    assert(chunk.length <= INPUT_BYTES - this.#end, 'more input than was left unconsumed');
    this.#input.bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #arrived(now: number): void {
    this.#patience.arrived(now, this.hot);
    if (!this.#paused) this.#deliver();
    if (this.#answerDue !== false) this.#heat(now);
  }

  /** How many bytes may be read behind the input. */
  #makeRoom(): number {
    if (this.#input === NO_BYTES) this.#makeInput();
    const room = INPUT_BYTES - this.#end;
    if (room >= INPUT_ROOM_BYTES_MIN || this.#start === 0) return Math.min(room, RECV_BYTES_MAX);
    this.#input.bytes.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    return Math.min(INPUT_BYTES - this.#end, RECV_BYTES_MAX);
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
    const left = this.#end - this.#start;
    assert(
      left < STREAM_INPUT_BYTES_MAX || this.#paused || this.#closed,
      'a handler left a whole input buffer and did not pause',
    );
  }

  /** Shows what is left over, later. */
  #redeliver(): void {
    if (this.#resuming || this.#start === this.#end) return;
    this.#resuming = true;
    this.#world.soon.add(() => {
      this.#resuming = false;
      if (!this.#closed && !this.#paused && this.#start < this.#end) this.#deliver();
    });
  }

  #makeInput(): void {
    this.#input = viewsOf(Buffer.allocUnsafeSlow(INPUT_BYTES).buffer);
    this.#inputAddress = addressOf(this.#input.bytes);
  }

  // Output.

  #makeOutput(): void {
    this.output = viewsOf(Buffer.allocUnsafeSlow(STREAM_OUTPUT_BYTES).buffer);
    this.#outputAddress = addressOf(this.output.bytes);
  }

  #compactOutput(): void {
    // The kernel takes any number of bytes, and a tail that is a multiple of 8 has to stay one.
    const head = this.#head % 8;
    this.output.bytes.copyWithin(head, this.#head, this.#tail);
    this.#tail -= this.#head - head;
    this.#head = head;
  }

  /** Sends once; sets `blocked` when not all was taken. */
  #send(): void {
    const pending = this.#tail - this.#head;
    if (this.#handle === undefined) {
      this.#blocked = true;
      return;
    }
    if (!this.#usable()) return;
    const sent = send(this.fd, this.#outputAddress + this.#head, pending, FLAGS);
    if (sent > 0) this.#took(sent);
    this.#blocked = sent < pending;
  }

  #took(bytes: number): void {
    this.#head += bytes;
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
    }
    if (this.#wantsDrained && this.#tail - this.#head <= STREAM_OUTPUT_BYTES / 2) {
      this.#wantsDrained = false;
      this.#world.soon.add(() => {
        if (!this.#closed) this.#handler?.drained(this);
      });
    }
  }

  /** Tries what the kernel refused before; true if it took some. */
  #sendAgain(): boolean {
    const before = this.#head;
    this.#send();
    if (this.#head === before && this.#tail !== 0) return false;
    this.#heat(performance.now());
    return true;
  }

  #waitToWrite(): void {
    if (!this.hot) this.#heat(performance.now());
    if (!this.hot || this.#world.poller.crowded) this.#lend();
  }

  /** Lets libuv write a piece, when it can be written; then goes on by FFI. */
  #lend(): void {
    if (this.#closed || this.#lent > 0) return;
    const pending = this.#tail - this.#head;
    const bytes = this.#handle === undefined ? pending : Math.min(pending, WAIT_PIECE_BYTES);
    const piece = Buffer.from(this.output.bytes.subarray(this.#head, this.#head + bytes));
    this.#lent = bytes;
    this.#socket.write(piece, (error) => {
      if (error || this.#closed) return;
      this.#lent = 0;
      this.#blocked = false;
      this.#took(bytes);
      this.flush();
    });
  }

  // The end.

  #finish(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason = reason;
    this.#world.poller.remove(this);
    this.#head = 0;
    this.#tail = 0;
    this.#socket.destroy();
    this.#below?.close(reason);
    // A stream that nobody has opened yet has nobody to tell.
    if (this.#handler !== undefined) this.#world.soon.add(() => this.#tell());
  }

  #tell(): void {
    this.#handler?.closed(this, this.#reason);
    // Later calls find a closed stream; the large buffers need not wait for it to be forgotten.
    this.output = NO_BYTES;
    this.#input = NO_BYTES;
  }
}

export function viewsOf(buffer: ArrayBufferLike): Bytes {
  return {
    bytes: Buffer.from(buffer),
    view: new DataView(buffer),
    words: new Int32Array(buffer),
  };
}

/** The socket's handle, where it has what we use; otherwise node:net does all the work. */
export function handleOf(socket: Socket): Handle | undefined {
  const handle = (socket as unknown as { _handle?: Partial<Handle> | null })._handle;
  const usable =
    typeof handle?.fd === 'number' &&
    handle.fd >= 0 &&
    typeof handle.readStart === 'function' &&
    typeof handle.readStop === 'function';
  return usable ? (handle as Handle) : undefined;
}
