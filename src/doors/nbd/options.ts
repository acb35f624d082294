/** What is in the data of an option ("Option types"), or why it is not well-formed. */

import { readUtf8 } from '../../base/utf8.js';
import type { Bytes } from '../../runtime/network.js';
import { NBD_STRING_BYTES_MAX } from './protocol.js';

/** Of NBD_OPT_INFO and NBD_OPT_GO. */
export interface InfoRequest {
  readonly name: string;
  /** Information types that are wanted besides NBD_INFO_EXPORT. */
  readonly wanted: ReadonlySet<number>;
}

/** Of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
export interface ContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** A string of the protocol; undefined where it is none ("Conventions"). */
export function readString(input: Bytes, start: number, end: number): string | undefined {
  if (end - start > NBD_STRING_BYTES_MAX) return undefined;
  const text = readUtf8(input.bytes, start, end);
  return text === undefined || text.includes('\0') ? undefined : text;
}

/** Walks the data of one option, and stays within it. */
class OptionReader {
  isWrong = false;
  readonly #input: Bytes;
  readonly #end: number;
  #at: number;

  constructor(input: Bytes, start: number, end: number) {
    this.#input = input;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#input.view.getUint16(at);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#input.view.getUint32(at);
  }

  text(): string {
    const bytes = this.u32();
    const at = this.#take(bytes);
    const text = at < 0 ? undefined : readString(this.#input, at, at + bytes);
    if (text === undefined) this.isWrong = true;
    return text ?? '';
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (this.isWrong || bytes > this.left) {
      this.isWrong = true;
      return -1;
    }
    this.#at += bytes;
    return at;
  }
}

export function readInfoRequest(input: Bytes, start: number, end: number): InfoRequest | undefined {
  const reader = new OptionReader(input, start, end);
  const name = reader.text();
  const count = reader.u16();
  if (reader.isWrong || reader.left !== 2 * count) return undefined;
  const wanted = new Set<number>();
  for (let i = 0; i < count; i++) wanted.add(reader.u16());
  return { name, wanted };
}

export function readContextRequest(
  input: Bytes,
  start: number,
  end: number,
): ContextRequest | undefined {
  const reader = new OptionReader(input, start, end);
  const name = reader.text();
  const count = reader.u32();
  const queries: string[] = [];
  // Each takes four bytes at least, so a count that lies ends the walk.
  for (let i = 0; i < count && !reader.isWrong; i++) queries.push(reader.text());
  if (reader.isWrong || reader.left !== 0) return undefined;
  return { name, queries };
}
