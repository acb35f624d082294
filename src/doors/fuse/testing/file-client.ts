/** What a kernel asks of who serves files, for tests: each answer is given to who asked. */

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
/** Who asks. */
export const THREAD = 4711;
/** Of what is asked when the mount has ended. */
const ENOTCONN = 107;

export abstract class FileClient {
  /** Answers to requests that nobody has asked, or that were answered before. */
  strays = 0;
  readonly #asked = new Map<number, (answer: FuseAnswer) => void>();
  #last = 0;

  /** To who serves. */
  protected abstract send(request: Uint8Array): void;

  /** An answer, its header first. */
  protected answered(output: Bytes, bytes: number): void {
    const unique = readNumber(output, OUT_UNIQUE);
    const answer = this.#asked.get(unique);
    if (answer === undefined || output.view.getUint32(0, true) !== bytes) this.strays += 1;
    this.#asked.delete(unique);
    const errno = 0 - output.view.getInt32(OUT_ERROR, true);
    answer?.({ errno, body: new Uint8Array(output.bytes.subarray(OUT_BYTES, bytes)) });
  }

  /** Nothing is answered any more. */
  protected ended(): void {
    for (const answer of this.#asked.values()) {
      answer({ errno: ENOTCONN, body: new Uint8Array(0) });
    }
    this.#asked.clear();
  }

  /** The number of the request, and its answer. */
  begin(
    opcode: number,
    node: number,
    body: Uint8Array,
  ): { unique: number; answer: Promise<FuseAnswer> } {
    const unique = (this.#last += 2);
    const request = new Uint8Array(IN_BYTES + body.length);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint32(IN_OPCODE, opcode, true);
    putNumber(view, IN_UNIQUE, unique);
    putNumber(view, IN_NODE, node);
    view.setUint32(IN_PID, THREAD, true);
    request.set(body, IN_BYTES);
    const answer = new Promise<FuseAnswer>((resolve) => this.#asked.set(unique, resolve));
    this.send(request);
    return { unique, answer };
  }

  ask(opcode: number, node: number, body: Uint8Array = new Uint8Array(0)): Promise<FuseAnswer> {
    return this.begin(opcode, node, body).answer;
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
