/**
 * How much a link may have under way: a window in bytes, of requests and the replies that are
 * expected, kept so that queues on the way stay short (after Clio, section 4.4.4, and Swift).
 *
 *   round    from an answer until all that was sent by then is answered or lost
 *   judged   at its end, by the least delay among what was sent since the window last shrank
 *
 *   nothing was answered                 x 0.5
 *   a twentieth was lost                 x 0.7, but not below two datagrams for that alone; of 40
 *                                        datagrams at least, so two lost ones
 *   least delay above the target         x 0.7; of three datagrams and more as much as lets the
 *                                        queue run empty, if that is less; below an eighth of one
 *                                        less the nearer the delay is to the target
 *   otherwise, if the window was used    + a quarter of the root of the window, in datagrams, and
 *                                        at most 1; below one datagram + an eighth of the window,
 *                                        and less the nearer the delay is to the target;
 *                                        doubled below `threshold` (slow start)
 *
 * A larger window grows by more, so that it soon fills a long path, but by a smaller part of
 * itself, so that those that have less than others catch up.
 *
 * Of a window of 2.4 datagrams two are under way for part of the time, and three for the rest.
 * Below one datagram the next is sent (round trip / window) after the one before, so each is a
 * round. The target is the best delay of late and an allowance that grows as the window shrinks:
 * those that have less than others grow where those shrink, until all have the same. What keeps the
 * best delay from being that of a queue which never empties: see `common-drain.ts`.
 */

import { assert } from '../../base/assert.js';
import { MiB } from '../../base/units.js';
import { CommonDrain } from './common-drain.js';

export interface CongestionOptions {
  /** A number in [0, 1), another one each time; for the jitter of pacing. */
  readonly fraction: () => number;
  /** The window is never larger; in bytes. */
  readonly windowBytesMax?: number;
  /** What an average full datagram takes, as in `CongestionWindow.datagramBytes`. */
  readonly datagramBytes?: number;
}

const WINDOW_BYTES_MAX = MiB;
/** An Ethernet frame. */
const DATAGRAM_BYTES = 1514;
/** Many may begin at once: what they send before they know anything is the best delay of others. */
const DATAGRAMS_AT_FIRST = 1;
const DATAGRAMS_MIN = 1 / 256;

const SHRINK = 0.7;
const SHRINK_MIN = 1 / 8;
/** Of the window that would fill the path, and no queue. */
const DRAIN = 0.8;
const FEW_DATAGRAMS = 3;
/**
 * Below so much of a datagram each round is one datagram in many round trips: to shrink as larger
 * windows do would lead far before the next answer. So it shrinks by this part of the part by which
 * the delay is beyond its target.
 */
const SMALL = 1 / 8;
const SHRINK_SMALL = 1 / 4;
const SHRINK_SILENT = 0.5;
/** Of the root of a window in datagrams, for a round. */
const GROWTH = 1 / 4;
/** Of a window of less than a datagram, for each that was answered. */
const GROWTH_SMALL = 1 / 8;
/** Less loss is the network's noise. */
const LOST_MAX = 1 / 20;
/**
 * Loss alone does not take the window below this. Some networks lose a fifth whatever is sent, and
 * there every shrinking would be followed by the next one; where it is a queue that runs over, most
 * of what is still too much comes back as delay, or as silence.
 */
const LOSSY_DATAGRAMS_MIN = 2;
/** Fewer are no base for that part: loss is summed up over rounds until there are as many. */
const LOSS_DATAGRAMS = 40;

/** A delay is the best one for 10 to 20 s: routes change. */
const BEST_FOR_MS = 10_000;
/** Beyond the best delay a queue is allowed this long, or this part of the best delay. */
const ALLOWANCE_MS = 1;
const ALLOWANCE_PART = 1 / 4;
const JITTER = 0.25;
/** However small the window, with jitter: no longer wait between two datagrams than a second. */
const PACE_MS_MAX = 1000 / (1 + JITTER);
/** Waiting for less would be waiting for a rounding error. */
const CLOCK_STEP_MS = 1e-3;
const SMOOTHING = 1 / 8;

export class CongestionWindow {
  /** In bytes; may be less than one datagram. */
  window: number;
  /** Bytes that were sent, and are neither answered nor lost. */
  underWay = 0;
  /** What the window grows by: request, reply and headers of a full datagram. */
  datagramBytes: number;
  readonly #fraction: () => number;
  readonly #windowMax: number;
  /** Below this the window doubles in a round. */
  #threshold = Infinity;
  readonly #drain: CommonDrain;
  #smoothedMs = 0;
  #latestMs = 0;
  /** The network's delay of late: the least of the last round in which there was an answer. */
  #delayMs = 0;
  /** The least delays of this slot of time and of the one before. */
  #leastMs = Infinity;
  #leastBeforeMs = Infinity;
  #slotEnd = -Infinity;
  /** When the window shrank: what was sent before says nothing about it. */
  #shrunkAt = -Infinity;
  #wasSilent = false;

  /** Bytes ever sent, and ever answered, lost or dropped. */
  #sentBytes = 0;
  #doneBytes = 0;
  /** The round ends when so many are done; -1 until the first answer or loss. */
  #roundEnd = -1;
  /** Of what was sent since the window last shrank, and of all. */
  #roundLeastMs = Infinity;
  #roundLeastOfAllMs = Infinity;
  #roundAnswered = 0;
  /** All of it, and that which was sent since the window last shrank. */
  #roundLost = 0;
  #roundLostNew = 0;
  #roundMost = 0;
  /** Of one or more rounds. */
  #lossDone = 0;
  #lossLost = 0;

  /** The last datagram: when it was sent, its bytes so far, and how its pace varies. */
  #lastAt = -Infinity;
  #lastBytes = 0;
  #lastJitter = 1;
  /** The part of a datagram by which more may be under way than the window, until the next. */
  #more = 0;

  constructor(options: CongestionOptions) {
    this.#fraction = options.fraction;
    this.#drain = new CommonDrain(options.fraction);
    this.#windowMax = options.windowBytesMax ?? WINDOW_BYTES_MAX;
    this.datagramBytes = options.datagramBytes ?? DATAGRAM_BYTES;
    this.window = Math.min(DATAGRAMS_AT_FIRST * this.datagramBytes, this.#windowMax);
  }

  /** The best delay of late, without the node's residence, in milliseconds; Infinity at first. */
  get bestMs(): number {
    return Math.min(this.#leastMs, this.#leastBeforeMs);
  }

  /** A round whose least delay is above this shrinks the window. */
  get targetMs(): number {
    const best = this.bestMs;
    const allowance = Math.max(ALLOWANCE_MS, best * ALLOWANCE_PART);
    return best + allowance * (1 + Math.sqrt(this.datagramBytes / this.window));
  }

  /** A full datagram takes so much from now on. A window that never shrank begins anew with it. */
  resize(datagramBytes: number): void {
    this.datagramBytes = datagramBytes;
    if (this.#threshold !== Infinity) return;
    const first = Math.min(DATAGRAMS_AT_FIRST * datagramBytes, this.#windowMax);
    this.window = Math.max(this.window, first);
  }

  /**
   * Whether a datagram of `bytes` may be sent now, as far as it is known. What is larger than the
   * window goes alone.
   */
  mayTake(bytes: number, now: number): boolean {
    const more = this.window < this.datagramBytes ? 0 : this.#more * bytes;
    if (this.underWay > 0 && this.underWay + bytes > this.window + more) return false;
    return this.#paceMs(now) === 0;
  }

  /**
   * Whether `bytes` more may go in the datagram that was sent last. One that goes alone may be a
   * full one: below one datagram the window says how often one is sent, and not how much is in it.
   */
  mayAdd(bytes: number): boolean {
    if (this.underWay + bytes <= this.window) return true;
    const all = this.#lastBytes + bytes;
    return this.underWay === this.#lastBytes && all <= this.datagramBytes;
  }

  /** How long until time alone opens the window; Infinity where an answer or a loss must. */
  waitMs(now: number): number {
    const ms = this.#paceMs(now);
    if (this.underWay === 0) return ms;
    return ms > 0 && this.underWay < this.window ? ms : Infinity;
  }

  /** A datagram of `bytes`, as far as it is known. */
  sent(bytes: number, now: number): void {
    this.#drain.sent(now);
    this.#lastAt = now;
    this.#lastBytes = 0;
    this.#more = this.#fraction();
    this.#lastJitter = 1 - JITTER + 2 * JITTER * this.#fraction();
    this.added(bytes);
  }

  /** So many more in the datagram that was sent last. */
  added(bytes: number): void {
    assert(bytes > 0, 'a datagram has a header');
    this.#lastBytes += bytes;
    this.#sentBytes += bytes;
    this.underWay += bytes;
    this.#roundMost = Math.max(this.#roundMost, this.underWay);
  }

  /**
   * One round trip of a datagram took `ms`, of which it was `residenceMs` at the node. To be told
   * before its `ended`; what was never `sent`, or is lost already, may be told as well. The answer
   * says `nodeClock`, in milliseconds.
   */
  delay(ms: number, residenceMs: number, now: number, nodeClock: number): void {
    const net = Math.max(0, ms - residenceMs);
    this.#latestMs = ms;
    this.#smoothedMs =
      this.#smoothedMs === 0 ? ms : this.#smoothedMs + (ms - this.#smoothedMs) * SMOOTHING;
    if (now >= this.#slotEnd) {
      this.#leastBeforeMs = now >= this.#slotEnd + BEST_FOR_MS ? Infinity : this.#leastMs;
      this.#leastMs = Infinity;
      this.#slotEnd = now + BEST_FOR_MS;
    }
    if (net < this.#leastMs) {
      this.#leastMs = net;
      this.#drain.heard(nodeClock, net, now);
    }
    if (net < this.#roundLeastOfAllMs) this.#roundLeastOfAllMs = net;
    if (net < this.#roundLeastMs && now - ms >= this.#shrunkAt) this.#roundLeastMs = net;
  }

  /** `bytes` that were sent are answered. */
  ended(bytes: number, now: number): void {
    this.#roundAnswered += bytes;
    this.#lossDone += bytes;
    this.#done(bytes, now);
  }

  /** `bytes` that were sent at `sentAt` are taken for lost; nothing more is told of them. */
  lost(bytes: number, now: number, sentAt = now): void {
    this.#roundLost += bytes;
    if (sentAt >= this.#shrunkAt) {
      this.#roundLostNew += bytes;
      this.#lossLost += bytes;
      this.#lossDone += bytes;
    }
    this.#done(bytes, now);
  }

  /** `bytes` that were sent are not waited for any more, and that says nothing of the network. */
  dropped(bytes: number, now: number): void {
    this.#done(bytes, now);
  }

  #paceMs(now: number): number {
    const drainMs = this.#drain.waitMs(this.#delayMs, this.window / this.datagramBytes, now);
    return drainMs > CLOCK_STEP_MS ? drainMs : this.#gapMs(now);
  }

  /**
   * By the shorter of the mean and the latest round trip: who sends seldom would wait for long by
   * what was true before.
   */
  #gapMs(now: number): number {
    if (this.#lastBytes <= this.window) return 0;
    const roundMs = Math.min(this.#smoothedMs, this.#latestMs);
    const gap = Math.min((roundMs * this.#lastBytes) / this.window, PACE_MS_MAX);
    const ms = this.#lastAt + gap * this.#lastJitter - now;
    return ms > CLOCK_STEP_MS ? ms : 0;
  }

  #done(bytes: number, now: number): void {
    assert(bytes <= this.underWay, 'each datagram ends once');
    if (this.#roundEnd < 0) this.#roundEnd = this.#sentBytes;
    this.underWay -= bytes;
    this.#doneBytes += bytes;
    if (this.#doneBytes >= this.#roundEnd) this.#endRound(now);
  }

  #endRound(now: number): void {
    const least = this.#roundLeastMs;
    if (this.#roundAnswered > 0) this.#wasSilent = false;
    if (this.#isSilent()) this.#shrinkSilent(now);
    else if (this.#isLossy()) this.#shrink(this.#lossFactor(), now);
    else if (least === Infinity) {
      // All that was answered was sent before the window shrank: this round is not judged.
    } else if (least > this.targetMs) this.#shrink(this.#slowFactor(least), now);
    else if (this.#mayGrow()) this.#grow();
    if (this.#lossDone >= LOSS_DATAGRAMS * this.datagramBytes) {
      this.#lossDone = 0;
      this.#lossLost = 0;
    }
    this.#roundEnd = -1;
    if (this.#roundLeastOfAllMs < Infinity) this.#delayMs = this.#roundLeastOfAllMs;
    this.#roundLeastMs = Infinity;
    this.#roundLeastOfAllMs = Infinity;
    this.#roundAnswered = 0;
    this.#roundLost = 0;
    this.#roundLostNew = 0;
    this.#roundMost = this.underWay;
  }

  /** One lost datagram says nothing, also where there is but one in a round. */
  #isSilent(): boolean {
    return this.#roundAnswered === 0 && this.#roundLostNew >= 2 * this.datagramBytes;
  }

  #isLossy(): boolean {
    const base = Math.max(this.#lossDone, LOSS_DATAGRAMS * this.datagramBytes);
    return this.#lossLost >= LOST_MAX * base;
  }

  /** A window that is smaller already stays as it is. */
  #lossFactor(): number {
    const least = (LOSSY_DATAGRAMS_MIN * this.datagramBytes) / this.window;
    return Math.min(1, Math.max(SHRINK, least));
  }

  /** What was there before a silence is regained quickly, but for a half. */
  #shrinkSilent(now: number): void {
    const threshold = this.#wasSilent ? this.#threshold : this.window * SHRINK_SILENT;
    this.#shrink(SHRINK_SILENT, now);
    this.#threshold = threshold;
    this.#wasSilent = true;
  }

  #shrink(factor: number, now: number): void {
    this.window = Math.max(this.window * factor, DATAGRAMS_MIN * this.datagramBytes);
    this.#threshold = this.window;
    this.#shrunkAt = now;
    this.#lossDone = 0;
    this.#lossLost = 0;
  }

  /**
   * A queue that is never empty hides the best delay from those who come later, who then keep it
   * longer still. So all who have a share in it let it run empty. Of a few datagrams it is not
   * known whether they stood in a queue or waited for a collection of garbage.
   */
  #slowFactor(leastMs: number): number {
    if (this.#isSmall) return Math.max(SHRINK, 1 - SHRINK_SMALL * (leastMs / this.targetMs - 1));
    if (this.window < FEW_DATAGRAMS * this.datagramBytes) return SHRINK;
    return Math.min(SHRINK, Math.max((DRAIN * this.bestMs) / leastMs, SHRINK_MIN));
  }

  get #isSmall(): boolean {
    return this.window < SMALL * this.datagramBytes;
  }

  /** A window of which less than half was in use is proved by nothing. */
  #mayGrow(): boolean {
    const isUsed = 2 * this.#roundMost >= this.window;
    return isUsed && this.#roundLost <= LOST_MAX * this.#roundAnswered;
  }

  /** By a round, in datagrams. */
  #growth(): number {
    const datagrams = this.window / this.datagramBytes;
    if (datagrams >= 1) return Math.min(1, GROWTH * Math.sqrt(datagrams));
    // Who has more is answered, and grows, more often: so less of it, the longer the queue is.
    const { targetMs } = this;
    const room = (targetMs - this.#roundLeastMs) / (targetMs - this.bestMs);
    return datagrams * GROWTH_SMALL * Math.min(1, 2 * room);
  }

  #grow(): void {
    const unit = this.datagramBytes;
    const answered = this.#roundAnswered;
    if (this.window < this.#threshold) {
      this.window = Math.min(this.window + answered, this.#threshold);
    } else {
      // One that is larger than the window is a round, however short it is.
      const rounds = this.#lastBytes > this.window ? 1 : Math.min(1, answered / this.window);
      this.window += unit * rounds * this.#growth();
    }
    this.window = Math.min(this.window, this.#windowMax);
  }
}

/**
 * Incast: how many bytes of replies may be expected at a time, by all links that share a receive
 * buffer.
 */
export class ExpectedReplies {
  bytes = 0;
  readonly bytesMax: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Whether a reply of so many bytes may be asked for; one alone always may. */
  mayTake(bytes: number): boolean {
    return this.bytes === 0 || this.bytes + bytes <= this.bytesMax;
  }

  expected(bytes: number): void {
    this.bytes += bytes;
  }

  /** It came, or is not expected any more. */
  ended(bytes: number): void {
    assert(bytes <= this.bytes, 'more replies than were expected');
    this.bytes -= bytes;
  }
}
