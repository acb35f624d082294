/**
 * Declares a struct of the wire once; its type, codec, checks and documentation follow from it.
 *
 *   export const PageMoved = struct('PageMoved', 24, {
 *     address: u53,          // eight bytes, an integer below 2^53
 *     epoch: u32,
 *     reserved: pad(4),      // explicit, zero, not a field of the value
 *     state: u32,
 *     more: pad(4),
 *     name: text(255),       // variable fields come last, one after the other
 *   });
 *   export type PageMoved = Fields<typeof PageMoved>;
 *
 * The number is the size of the fixed part, a multiple of 8; a wrong total or a misaligned field
 * is refused at load. A text or a byte string is its length (u32), its bytes, and zeros up to the
 * next multiple of 8; a list is its count (u32), four zeros and its elements. Everything is
 * little-endian. The codecs are compiled at load, from what is declared here and nothing else.
 */

import { assert } from '../base/assert.js';
import { type Codec, compileCodec } from './compile.js';

export interface Field<T> {
  readonly kind: 'u8' | 'u16' | 'u32' | 'u53' | 'u64' | 'text' | 'bytes' | 'list';
  /** Length and alignment of a fixed field; 0 for a variable one. */
  readonly fixed: number;
  /** Bytes of a text or byte string, elements of a list; 0 for a fixed field. */
  readonly max: number;
  readonly element?: Struct<Declaration>;
  /** Decoded, it is a view of the message, for as long as that is there. */
  readonly isView?: boolean;
  /** Never there: carries the type of the value. */
  readonly type?: T;
}

export interface Padding {
  readonly kind: 'pad';
  readonly fixed: number;
  readonly max: 0;
}

export type Declaration = Readonly<Record<string, Field<unknown> | Padding>>;

/** An unsigned 64-bit value in two halves, because a bigint costs two to five times as much. */
export interface Wide {
  readonly low: number;
  readonly high: number;
}

type ValueOf<F> = F extends Field<infer T> ? T : never;
export type FieldsOf<D extends Declaration> = {
  readonly [K in keyof D as D[K] extends Padding ? never : K]: ValueOf<D[K]>;
};
/** The static type of a declared struct. */
export type Fields<S> = S extends { readonly declaration: infer D extends Declaration }
  ? FieldsOf<D>
  : never;

/** What a struct is read from and written to: two views of one buffer, both from its start. */
export interface Place {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface Struct<D extends Declaration> {
  readonly name: string;
  readonly declaration: D;
  /** Length of the fixed part; the whole length where there is no variable field. */
  readonly fixedBytes: number;
  readonly isFixed: boolean;
  /** Where each fixed field begins, from the start of the struct; for the hot paths. */
  readonly offsets: { readonly [K in keyof D]: number };
  /** What is wrong with a value, for people; null when it can be sent. */
  invalid(value: FieldsOf<D>): string | null;
  /** The length that `encode` will take; the value must be valid. */
  encodedBytes(value: FieldsOf<D>): number;
  /** Writes a valid value at `at`, a multiple of 8; returns the offset after it. */
  encode(target: Place, at: number, value: FieldsOf<D>): number;
  /** The value in exactly `[at, end)`, copied out but for views; a text says why there is none. */
  decode(source: Place, at: number, end: number): FieldsOf<D> | string;
  /** For the structs that hold this one in a list. */
  readonly codec: Codec;
}

const fixed = <T>(kind: Field<T>['kind'], bytes: number): Field<T> => ({
  kind,
  fixed: bytes,
  max: 0,
});

export const u8 = fixed<number>('u8', 1);
export const u16 = fixed<number>('u16', 2);
export const u32 = fixed<number>('u32', 4);
export const u53 = fixed<number>('u53', 8);
export const u64 = fixed<Wide>('u64', 8);
export const pad = (bytes: number): Padding => ({ kind: 'pad', fixed: bytes, max: 0 });
export const text = (max: number): Field<string> => ({ kind: 'text', fixed: 0, max });
export const bytes = (max: number): Field<Uint8Array> => ({ kind: 'bytes', fixed: 0, max });
/** A byte string that is not copied out: whoever decodes it uses it before he returns. */
export const viewed = (max: number): Field<Uint8Array> => ({ ...bytes(max), isView: true });

export function list<D extends Declaration>(
  element: Struct<D>,
  max: number,
): Field<readonly FieldsOf<D>[]> {
  return { kind: 'list', fixed: 0, max, element: element as unknown as Struct<Declaration> };
}

/**
 * `rule` says what is wrong with a value whose fields are each within their bounds: relations
 * between fields, numbers that name nothing.
 */
export function struct<const D extends Declaration>(
  name: string,
  fixedBytes: number,
  declaration: D,
  rule?: (value: FieldsOf<D>) => string | null,
): Struct<D> {
  const { offsets, isFixed } = layout(name, fixedBytes, declaration);
  const anyRule = rule as ((value: never) => string | null) | undefined;
  const codec = compileCodec({ name, fixedBytes, declaration, offsets, rule: anyRule });
  return {
    name,
    declaration,
    fixedBytes,
    isFixed,
    offsets: offsets as { readonly [K in keyof D]: number },
    codec,
    invalid: codec.invalid as (value: FieldsOf<D>) => string | null,
    encodedBytes: codec.encodedBytes as (value: FieldsOf<D>) => number,
    encode: (target, at, value) => codec.encode(target.bytes, target.view, at, value),
    decode(source, at, end) {
      const cursor = { at, end, reason: '' };
      const value = codec.decode(source.bytes, source.view, cursor);
      if (value === undefined) return `${name}: ${cursor.reason}`;
      if (cursor.at !== end) return `${name}: ${end - cursor.at} bytes too many`;
      return value as FieldsOf<D>;
    },
  };
}

function layout(name: string, fixedBytes: number, declaration: Declaration) {
  const offsets: Record<string, number> = {};
  let at = 0;
  let isFixed = true;
  for (const [key, field] of Object.entries(declaration)) {
    const place = `${name}.${key}`;
    assert(/^[a-z][A-Za-z0-9]*$/.test(key), `${place}: not a plain name`);
    if (field.fixed === 0) {
      isFixed = false;
      continue;
    }
    assert(isFixed, `${place}: a fixed field after a variable one`);
    const isAligned = field.kind === 'pad' || at % field.fixed === 0;
    assert(isAligned, `${place}: offset ${at} is not ${field.fixed}-aligned; add padding`);
    offsets[key] = at;
    at += field.fixed;
  }
  assert(at === fixedBytes, `${name}: the fixed part is ${at} bytes long, not ${fixedBytes}`);
  assert(fixedBytes % 8 === 0, `${name}: ${fixedBytes} is not a multiple of 8`);
  return { offsets, isFixed };
}
