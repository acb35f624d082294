/** The other side of /dev/fuse, for tests: asks, and gives each answer to who asked. */

import type { FuseKernel, FuseSlots } from '../../../runtime/fuse.js';
import type { Bytes } from '../../../runtime/network.js';
import {
  FUSE_KERNEL_VERSION,
  IN_BYTES,
  IN_NODE,
  IN_OPCODE,
  IN_PID,
  IN_UNIQUE,
  InitFlag,
  InitFlag2,
  InitIn,
  Opcode,
  OUT_BYTES,
  OUT_ERROR,
  OUT_UNIQUE,
  ReadIn,
  WriteIn,
} from '../abi.js';
import { putNumber, readNumber } from '../messages.js';

export interface FuseAnswer {
  /** 0: it went well. */
  readonly errno: number;
  /** What stands behind the header. */
  readonly body: Uint8Array;
}

const MINOR = 45;
const DATA_BYTES_MAX = 128 * 1024;
const HEADERS_BYTES = 4096;
/** So that data begins behind the page in which requests do. */
const OUTPUT_AT = HEADERS_BYTES - OUT_BYTES;
export const THREAD = 4711;

export class FakeKernel implements FuseKernel {
  readonly slots: FuseSlots;
  /** Given the request when it is in its slot. */
  received: (slot: number, bytes: number) => void = () => undefined;
  /** Answers to requests that nobody has asked, or that were answered before. */
  strays = 0;
  /** The thread that is being killed; all requests are of `THREAD`. */
  killed = 0;
  readonly notices: Uint8Array[] = [];
  readonly #free: number[];
  readonly #waiting: (() => void)[] = [];
  readonly #asked = new Map<number, (answer: FuseAnswer) => void>();
  #last = 0;

  constructor(count = 8) {
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
    const output = this.slots.output[slot] as Bytes;
    const unique = readNumber(output, OUT_UNIQUE);
    const answer = this.#asked.get(unique);
    if (answer === undefined || output.view.getUint32(0, true) !== bytes) this.strays += 1;
    this.#asked.delete(unique);
    const errno = 0 - output.view.getInt32(OUT_ERROR, true);
    answer?.({ errno, body: output.bytes.slice(OUT_BYTES, bytes) });
  }

  notify(bytes: Uint8Array): Promise<boolean> {
    this.notices.push(bytes);
    return Promise.resolve(true);
  }

  isBeingKilled(thread: number): boolean {
    return thread === this.killed;
  }

  free(slot: number): void {
    this.#free.push(slot);
    this.#waiting.shift()?.();
  }

  /** How many slots are in use. */
  get used(): number {
    return this.slots.count - this.#free.length;
  }

  /** The number of the request, and its answer. */
  begin(
    opcode: number,
    node: number,
    body: Uint8Array,
  ): { unique: number; answer: Promise<FuseAnswer> } {
    const unique = (this.#last += 2);
    const answer = new Promise<FuseAnswer>((resolve) => this.#asked.set(unique, resolve));
    void this.#send(unique, opcode, node, body);
    return { unique, answer };
  }

  ask(opcode: number, node: number, body: Uint8Array = new Uint8Array(0)): Promise<FuseAnswer> {
    return this.begin(opcode, node, body).answer;
  }

  async #send(unique: number, opcode: number, node: number, body: Uint8Array): Promise<void> {
    while (this.#free.length === 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const slot = this.#free.pop() as number;
    const { bytes, view } = this.slots.input[slot] as Bytes;
    bytes.fill(0, 0, IN_BYTES);
    view.setUint32(0, IN_BYTES + body.length, true);
    view.setUint32(IN_OPCODE, opcode, true);
    putNumber(view, IN_UNIQUE, unique);
    putNumber(view, IN_NODE, node);
    view.setUint32(IN_PID, THREAD, true);
    bytes.set(body, IN_BYTES);
    this.received(slot, IN_BYTES + body.length);
  }

  /** As Linux 6.9 and later begin; `isOld`: without what came after 5.4. */
  init(isOld = false, major = FUSE_KERNEL_VERSION, minor = MINOR): Promise<FuseAnswer> {
    const body = new Uint8Array(64);
    const view = new DataView(body.buffer);
    const { ASYNC_READ, BIG_WRITES, ASYNC_DIO, PARALLEL_DIROPS, MAX_PAGES, INIT_EXT } = InitFlag;
    const all = ASYNC_READ | BIG_WRITES | ASYNC_DIO | PARALLEL_DIROPS | MAX_PAGES | (1 << 3);
    view.setUint32(InitIn.MAJOR, major, true);
    view.setUint32(InitIn.MINOR, minor, true);
    view.setUint32(InitIn.MAX_READAHEAD, 131_072, true);
    view.setUint32(InitIn.FLAGS, isOld ? all : all | INIT_EXT, true);
    const more = InitFlag2.HAS_RESEND | 1;
    if (!isOld) view.setUint32(InitIn.FLAGS2, more, true);
    return this.ask(Opcode.INIT, 0, isOld ? body.subarray(0, 16) : body);
  }

  read(node: number, offset: number, bytes: number): Promise<FuseAnswer> {
    return this.ask(Opcode.READ, node, readBody(offset, bytes));
  }

  write(node: number, offset: number, data: Uint8Array, flags = 0): Promise<FuseAnswer> {
    const body = new Uint8Array(WriteIn.BYTES + data.length);
    const view = new DataView(body.buffer);
    putNumber(view, WriteIn.OFFSET, offset);
    view.setUint32(WriteIn.SIZE, data.length, true);
    view.setUint32(WriteIn.FLAGS, flags, true);
    body.set(data, WriteIn.BYTES);
    return this.ask(Opcode.WRITE, node, body);
  }
}

export function readBody(offset: number, bytes: number): Uint8Array {
  const body = new Uint8Array(ReadIn.BYTES);
  const view = new DataView(body.buffer);
  putNumber(view, ReadIn.OFFSET, offset);
  view.setUint32(ReadIn.SIZE, bytes, true);
  return body;
}

function bytesOf(buffer: ArrayBuffer, at: number): Bytes {
  return {
    bytes: new Uint8Array(buffer, at),
    view: new DataView(buffer, at),
    words: new Int32Array(buffer, at),
  };
}
