/**
 * What happened: a running hash over every event, by which two runs are compared, and the last
 * events as text, for the report of a failure.
 */

/** The kinds of events; the number goes into the hash, the name into the text. */
export const EventKind = {
  Host: 0,
  Start: 1,
  End: 2,
  Timer: 3,
  Soon: 4,
  Connect: 5,
  Accept: 6,
  Segment: 7,
  Read: 8,
  Drained: 9,
  Closed: 10,
  Datagram: 11,
  Disk: 12,
  Database: 13,
  Wake: 14,
  Child: 15,
  Fault: 16,
  Log: 17,
  Listen: 18,
  Part: 19,
} as const;

const KIND_NAMES = Object.keys(EventKind);
const RECORD_WORDS = 4;
const TWO_32 = 2 ** 32;

export class Trace {
  #low = 0x6d656d72;
  #high = 0x61636b00;
  #count = 0;
  readonly #ring: Float64Array;
  readonly #texts: (string | undefined)[];

  /** Remembers the last `keep` events. */
  constructor(keep: number) {
    this.#ring = new Float64Array(keep * RECORD_WORDS);
    this.#texts = new Array<string | undefined>(keep).fill(undefined);
  }

  get count(): number {
    return this.#count;
  }

  record(atNs: number, kind: number, task: number, size: number, text?: string): void {
    this.#mix(atNs | 0);
    this.#mix((kind << 24) ^ task ^ ((atNs / TWO_32) << 16));
    this.#mix(size | 0);
    const keep = this.#texts.length;
    if (keep > 0) {
      const slot = this.#count % keep;
      const at = slot * RECORD_WORDS;
      this.#ring[at] = atNs;
      this.#ring[at + 1] = kind;
      this.#ring[at + 2] = task;
      this.#ring[at + 3] = size;
      this.#texts[slot] = text;
    }
    this.#count += 1;
  }

  #mix(word: number): void {
    const low = Math.imul(this.#low ^ word, 0x9e3779b1);
    const high = Math.imul(this.#high ^ word ^ (low >>> 15), 0x85ebca77);
    this.#low = low ^ (high >>> 13);
    this.#high = ((high << 11) | (high >>> 21)) ^ low;
  }

  /** 53 bits. */
  hash(): number {
    return (this.#high & 0x1fffff) * TWO_32 + (this.#low >>> 0);
  }

  /** The last events, oldest first, one line each. */
  text(nameOf: (task: number) => string): string {
    const keep = this.#texts.length;
    const lines: string[] = [];
    for (let i = Math.max(0, this.#count - keep); i < this.#count; i++) {
      const at = (i % keep) * RECORD_WORDS;
      const [atNs, kind, task, size] = this.#ring.subarray(at, at + RECORD_WORDS);
      const name = KIND_NAMES[kind ?? 0] ?? '?';
      const text = this.#texts[i % keep] ?? (size === 0 ? '' : String(size));
      const ms = ((atNs ?? 0) / 1e6).toFixed(6);
      lines.push(`${ms.padStart(14)} ${nameOf(task ?? 0).padEnd(20)} ${name} ${text}`);
    }
    return lines.join('\n');
  }
}
