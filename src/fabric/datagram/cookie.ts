/**
 * Cookies: proof that who sends from an address also receives there, without anything being kept
 * per client. A cookie is SipHash-2-4 of the sender (as its socket tells it) and the client's
 * number, with a key that is drawn anew every minute; the key before is good as well.
 *
 * SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. It works on words of 64
 * bits, which stand here as two halves.
 */

import type { Entropy } from '../../runtime/runtime.js';

/** How long a key makes cookies; each is good for as long again, at most. */
export const KEY_MS = 60_000;

/** Four words of 64 bits, lower half first. */
const state = new Int32Array(8);

function addTo(to: number, from: number): void {
  const a = (state[to] as number) >>> 0;
  const low = a + ((state[from] as number) >>> 0);
  state[to] = low;
  const carry = low > 0xffff_ffff ? 1 : 0;
  state[to + 1] = (state[to + 1] as number) + (state[from + 1] as number) + carry;
}

/** Turns a word left by fewer than 32 bits, then makes it exclusive-or with another one. */
function turnAndMix(at: number, bits: number, other: number): void {
  const low = state[at] as number;
  const high = state[at + 1] as number;
  state[at] = ((low << bits) | (high >>> (32 - bits))) ^ (state[other] as number);
  state[at + 1] = ((high << bits) | (low >>> (32 - bits))) ^ (state[other + 1] as number);
}

/** Turns a word by 32 bits. */
function swapHalves(at: number): void {
  const low = state[at] as number;
  state[at] = state[at + 1] as number;
  state[at + 1] = low;
}

function rounds(count: number): void {
  for (let i = 0; i < count; i++) {
    addTo(0, 2);
    turnAndMix(2, 13, 0);
    swapHalves(0);
    addTo(4, 6);
    turnAndMix(6, 16, 4);
    addTo(0, 6);
    turnAndMix(6, 21, 0);
    addTo(4, 2);
    turnAndMix(2, 17, 4);
    swapHalves(4);
  }
}

function take(low: number, high: number): void {
  state[6] = (state[6] as number) ^ low;
  state[7] = (state[7] as number) ^ high;
  rounds(2);
  state[0] = (state[0] as number) ^ low;
  state[1] = (state[1] as number) ^ high;
}

/**
 * SipHash-2-4 of `bytes[start, end)` under a key of four words into `result`: the lower half, then
 * the upper one.
 */
export function sipHash(
  key: Int32Array,
  bytes: Uint8Array,
  start: number,
  end: number,
  result: Int32Array,
): void {
  const k0 = key[0] as number;
  const k1 = key[1] as number;
  const k2 = key[2] as number;
  const k3 = key[3] as number;
  // "somepseudorandomlygeneratedbytes"
  state[0] = k0 ^ 0x70736575;
  state[1] = k1 ^ 0x736f6d65;
  state[2] = k2 ^ 0x6e646f6d;
  state[3] = k3 ^ 0x646f7261;
  state[4] = k0 ^ 0x6e657261;
  state[5] = k1 ^ 0x6c796765;
  state[6] = k2 ^ 0x79746573;
  state[7] = k3 ^ 0x74656462;
  let at = start;
  for (; at + 8 <= end; at += 8) take(word(bytes, at, end), word(bytes, at + 4, end));
  const length = (end - start) << 24;
  take(word(bytes, at, end), word(bytes, at + 4, end) | length);
  state[4] = (state[4] as number) ^ 0xff;
  rounds(4);
  result[0] = at0(0) ^ at0(2) ^ at0(4) ^ at0(6);
  result[1] = at0(1) ^ at0(3) ^ at0(5) ^ at0(7);
}

const at0 = (index: number): number => state[index] as number;

/** Four bytes as a word, with zeros behind the end. */
function word(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = Math.min(end, at + 4) - 1; i >= at; i--) value = (value << 8) | (bytes[i] as number);
  return value;
}

const CLIENT_BYTES = 8;

export class Cookies {
  /** What `make` has made. */
  low = 0;
  high = 0;
  readonly #entropy: Entropy;
  readonly #peerBytes: number;
  #key = new Int32Array(4);
  #previous = new Int32Array(4);
  /** When `#key` was drawn. */
  #drawnAt = Number.NEGATIVE_INFINITY;
  /** What is hashed: the sender, then the client's number; as bytes and as words. */
  readonly #subject: Uint8Array;
  readonly #words: Int32Array;
  readonly #result = new Int32Array(2);
  /** Whether `#subject` had the cookie `#goodLow`, `#goodHigh` when it was last looked at. */
  #isKnown = false;
  #goodLow = 0;
  #goodHigh = 0;

  /** A sender is told by `peerBytes` bytes, a multiple of 8. */
  constructor(entropy: Entropy, peerBytes: number) {
    this.#entropy = entropy;
    this.#peerBytes = peerBytes;
    this.#subject = new Uint8Array(peerBytes + CLIENT_BYTES);
    this.#words = new Int32Array(this.#subject.buffer);
  }

  /** Makes the cookie of a client at the sender `peers[at...]`. `now` is in ms, and never falls. */
  make(now: number, peers: Uint8Array, at: number, clientLow: number, clientHigh: number): void {
    this.#renew(now);
    this.#name(peers, at, clientLow, clientHigh);
    this.#hash(this.#key);
    this.low = this.#result[0] as number;
    this.high = this.#result[1] as number;
  }

  /** Whether `low` and `high` are its cookie. One comparison while the sender stays the same. */
  isGood(
    now: number,
    peers: Uint8Array,
    at: number,
    clientLow: number,
    clientHigh: number,
    low: number,
    high: number,
  ): boolean {
    this.#renew(now);
    const isCached = this.#isKnown && this.#goodLow === (low | 0) && this.#goodHigh === (high | 0);
    if (isCached && this.#isNamed(peers, at, clientLow, clientHigh)) return true;
    this.#name(peers, at, clientLow, clientHigh);
    if (!this.#matches(this.#key, low, high) && !this.#matches(this.#previous, low, high)) {
      return false;
    }
    this.#isKnown = true;
    this.#goodLow = low | 0;
    this.#goodHigh = high | 0;
    return true;
  }

  #matches(key: Int32Array, low: number, high: number): boolean {
    this.#hash(key);
    return this.#result[0] === (low | 0) && this.#result[1] === (high | 0);
  }

  #hash(key: Int32Array): void {
    sipHash(key, this.#subject, 0, this.#subject.length, this.#result);
  }

  /** Another subject stands here from now on. */
  #name(peers: Uint8Array, at: number, clientLow: number, clientHigh: number): void {
    this.#isKnown = false;
    const words = this.#words;
    const end = at + this.#peerBytes;
    const client = this.#peerBytes >> 2;
    for (let i = 0; i < client; i++) words[i] = word(peers, at + 4 * i, end);
    words[client] = clientLow;
    words[client + 1] = clientHigh;
  }

  #isNamed(peers: Uint8Array, at: number, clientLow: number, clientHigh: number): boolean {
    const client = this.#peerBytes >> 2;
    if (this.#words[client] !== (clientLow | 0)) return false;
    if (this.#words[client + 1] !== (clientHigh | 0)) return false;
    for (let i = 0; i < this.#peerBytes; i++) {
      if (this.#subject[i] !== peers[at + i]) return false;
    }
    return true;
  }

  #renew(now: number): void {
    const age = now - this.#drawnAt;
    if (age < KEY_MS) return;
    this.#isKnown = false;
    const old = this.#previous;
    this.#previous = this.#key;
    this.#key = old;
    this.#draw(this.#key);
    if (age < 2 * KEY_MS) {
      this.#drawnAt += KEY_MS;
      return;
    }
    // The key before has been out of use for so long that it is not good any more.
    this.#draw(this.#previous);
    this.#drawnAt = now;
  }

  #draw(key: Int32Array): void {
    for (let i = 0; i < key.length; i++) key[i] = this.#entropy.u32();
  }
}
