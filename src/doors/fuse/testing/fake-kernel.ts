/** The other side of /dev/fuse, for tests: few slots, and requests that wait for them. */

import type { FuseKernel, FuseSlots } from '../../../runtime/fuse.js';
import type { Bytes } from '../../../runtime/network.js';
import { OUT_BYTES } from '../abi.js';
import { FileClient } from './file-client.js';

const DATA_BYTES_MAX = 128 * 1024;
const HEADERS_BYTES = 4096;
/** So that data begins behind the page in which requests do. */
const OUTPUT_AT = HEADERS_BYTES - OUT_BYTES;

export class FakeKernel extends FileClient implements FuseKernel {
  readonly slots: FuseSlots;
  /** Given the request when it is in its slot. */
  received: (slot: number, bytes: number) => void = () => undefined;
  /** The thread that is being killed. */
  killed = 0;
  readonly notices: Uint8Array[] = [];
  readonly #free: number[];
  readonly #waiting: Uint8Array[] = [];

  constructor(count = 8) {
    super();
    const bytes = DATA_BYTES_MAX + HEADERS_BYTES;
    const buffers = Array.from({ length: count }, () => new ArrayBuffer(bytes));
    const input = buffers.map((buffer) => bytesOf(buffer, 0));
    this.slots = { count, input, output: buffers.map((buffer) => bytesOf(buffer, OUTPUT_AT)) };
    this.#free = [...input.keys()];
  }

  get dataBytesMax(): number {
    return DATA_BYTES_MAX;
  }

  reply(slot: number, bytes: number): void {
    this.answered(this.slots.output[slot] as Bytes, bytes);
  }

  free(slot: number): void {
    this.#free.push(slot);
    const next = this.#waiting.shift();
    if (next !== undefined) this.#give(next);
  }

  tell(bytes: Uint8Array): Promise<boolean> {
    this.notices.push(bytes);
    return Promise.resolve(true);
  }

  isBeingKilled(thread: number): boolean {
    return thread === this.killed;
  }

  /** How many slots are in use. */
  get used(): number {
    return this.slots.count - this.#free.length;
  }

  protected send(request: Uint8Array): void {
    if (this.#free.length > 0) this.#give(request);
    else this.#waiting.push(request);
  }

  #give(request: Uint8Array): void {
    const slot = this.#free.pop() as number;
    (this.slots.input[slot] as Bytes).bytes.set(request);
    this.received(slot, request.length);
  }
}

/** As with Node's buffers, what is sliced off is no copy. */
class SlotBytes extends Uint8Array<ArrayBuffer> {
  override slice(from?: number, to?: number): Uint8Array<ArrayBuffer> {
    return this.subarray(from, to);
  }
}

function bytesOf(buffer: ArrayBuffer, at: number): Bytes {
  return {
    bytes: new SlotBytes(buffer, at),
    view: new DataView(buffer, at),
    words: new Int32Array(buffer, at),
  };
}
