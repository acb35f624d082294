/** A value of every declared struct, made from its declaration: for golden bytes and fuzzing. */

import { REGIONS_PER_SPACE_MAX, SPACE_ID_END } from '../limits.js';
import * as datagrams from '../datagram.js';
import * as messages from '../messages.js';
import { type CallType, CALLS } from '../messages.js';
import type { Declaration, Field, FieldsOf, Struct } from '../struct.js';

export type AnyStruct = Struct<Declaration>;
export type AnyValue = FieldsOf<Declaration>;

export interface Numbers {
  /** An integer in [0, 2^32). */
  u32(): number;
}

const TWO_32 = 2 ** 32;

/** Every struct of messages.ts and datagram.ts by its name. */
export const STRUCTS: ReadonlyMap<string, AnyStruct> = new Map(
  [...Object.values(messages), ...Object.values(datagrams)]
    .filter((value): value is never => typeof value === 'object' && 'codec' in value)
    .map((value): [string, AnyStruct] => [(value as AnyStruct).name, value]),
);

/** What the rules of some structs ask for, beyond what their fields' types do. */
const RULES: Readonly<Record<string, (value: Record<string, unknown>) => void>> = {
  HelloRequest(value) {
    value['previous'] = 1;
    value['connection'] = 2;
    value['client'] = 5;
  },
  OpenWindowRequest: (value) => void (value['rights'] = 3),
  OpenRangeRequest: (value) => void (value['rights'] = 3),
  ProtectRequest: (value) => void (value['rights'] = 1),
  MeasureStationsRequest: (value) => void (value['forMs'] = 60_000),
  AllocRequest: (value) => void Object.assign(value, { flags: 2, nonce: 77 }),
};

/** A valid value, lists and texts at most `most` long. */
export function sampleOf(struct: AnyStruct, numbers: Numbers, most: number): AnyValue {
  const value: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(struct.declaration)) {
    if (field.kind !== 'pad') value[key] = sampleField(field, numbers, most);
    if (key === 'space') value[key] = numbers.u32() % SPACE_ID_END;
    if (key === 'region') value[key] = 1 + (numbers.u32() % (REGIONS_PER_SPACE_MAX - 1));
  }
  RULES[struct.name]?.(value);
  return value as AnyValue;
}

const LETTERS = ['a', 'Z', '0', '/', 'ü', '√', '🙂'];

function sampleField(field: Field<unknown>, numbers: Numbers, most: number): unknown {
  const below = (end: number) => numbers.u32() % end;
  switch (field.kind) {
    case 'u8':
      return below(256);
    case 'u16':
      return below(65536);
    case 'u32':
      return numbers.u32();
    case 'u53':
      return (numbers.u32() >>> 11) * TWO_32 + numbers.u32();
    case 'u64':
      return { low: numbers.u32(), high: numbers.u32() };
    case 'text':
      // Four bytes per letter at most.
      return many(below(Math.min(most, field.max >> 2) + 1), () => LETTERS[below(7)]).join('');
    case 'bytes':
      return Uint8Array.from(many(below(Math.min(most, field.max) + 1), () => below(256)));
    case 'list': {
      const { element } = field;
      if (element === undefined) return [];
      const count = below(Math.min(most, field.max, 5) + 1);
      return many(count, () => sampleOf(element, numbers, most));
    }
  }
}

function many<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

export interface SampleCall {
  readonly type: CallType;
  readonly request: AnyStruct;
  readonly reply: AnyStruct;
}

export const SAMPLE_CALLS: readonly SampleCall[] = Object.entries(CALLS).map(([type, facts]) => ({
  type: Number(type) as CallType,
  request: facts.request as unknown as AnyStruct,
  reply: facts.reply as unknown as AnyStruct,
}));

/** The struct's bytes, alone. */
export function bytesOf(struct: AnyStruct, value: AnyValue): Uint8Array {
  const bytes = new Uint8Array(struct.encodedBytes(value));
  struct.encode({ bytes, view: new DataView(bytes.buffer) }, 0, value);
  return bytes;
}
