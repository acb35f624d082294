/**
 * A device as its users see it: the same one while leases come and go behind it. What ends because
 * the lease was lost, and was done nowhere, is done under the next one; what may have been done is
 * told as unknown, because somebody else may have written there meanwhile.
 */

import { Columns } from '../base/columns.js';
import { type Outcome, Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { type Clock, sleep, type Timers } from '../runtime/clock.js';
import type { Device } from './device.js';
import { DeviceCounters, type Kind, READ, WRITE } from './device-counters.js';
import { type FairShare, Share } from './fair-share.js';
import { type DeviceAllowance, RateLimit } from './rate-limit.js';

/** What is done under one lease, until that is lost. */
export interface Tenure {
  readonly device: Device;
  /** Of the device, as they were when this began. */
  readonly bytes: number;
  /** Of the lease. */
  readonly epoch: number;
  /** The last one before in which another host may have held it. */
  readonly heldBefore: number;
  /** Resolves when it is over. */
  readonly ended: Promise<void>;
  /** Stops the device, what is under way may end before that, and gives the lease up. */
  release(): Promise<void>;
}

export interface ServedDeviceParts {
  readonly clock: Pick<Clock, 'now'>;
  readonly timers: Timers;
  readonly bytes: number;
  /** Whether a flush has something to do. */
  readonly isBackedUp?: boolean;
  /** Takes the lease; or says why it cannot be had now. Never rejects. */
  open(): Promise<Tenure | Status>;
  /** How long something waits for a lease. */
  readonly patienceMs: number;
  /** Counted on; missing: from nothing. */
  readonly counters?: DeviceCounters;
  /** With other devices of the host; missing: there are none. */
  readonly fairShare?: FairShare;
}

/** Beside those that are counted: a write of no bytes. */
const TRIM = 2;

/** Under way at a time; more are `Busy`. */
const ROWS_MAX = 4096;
const ROW_BYTES = 8 * 7 + 1;
const AGAIN_MS_MIN = 50;
const AGAIN_MS_MAX = 2_000;
/** Of timers. */
const HELD_MS_MIN = 1;

export class ServedDevice implements CompletionSink {
  readonly counters: DeviceCounters;
  /** Told when another host may have written since the last lease. */
  readonly strangers = new Set<() => void>();
  /** Parts of large requests for zeros, under way for all users. */
  zeroing = 0;
  readonly #parts: ServedDeviceParts;
  #tenure: Tenure | undefined;
  #bytes: number;
  #lastEpoch = 0;
  #isOpening = false;
  #isClosed = false;
  #wasServed = false;
  /** Why there is no lease. */
  #refusal: Status = Status.Unavailable;
  /** Rows that wait for a lease, in the order in which they came. */
  #waiting: number[] = [];
  /** Undefined: there is none. */
  #limit: RateLimit | undefined;
  /** Rows that wait for the limit, in the order in which they came. */
  readonly #held: number[] = [];
  #isHolding = false;
  readonly #share: Share | undefined;
  readonly #offset: Float64Array;
  readonly #start: Float64Array;
  readonly #length: Float64Array;
  readonly #token: Float64Array;
  readonly #deadline: Float64Array;
  /** The last that was known here when it came. */
  readonly #epoch: Float64Array;
  /** When it was begun, beside others; 0: it was not. */
  readonly #beganMs: Float64Array;
  readonly #kind: Uint8Array;
  readonly #buffer: (Uint8Array | undefined)[] = [];
  readonly #sink: (CompletionSink | undefined)[] = [];
  readonly #free: number[] = [];
  #made = 0;

  constructor(parts: ServedDeviceParts) {
    this.#parts = parts;
    this.#bytes = parts.bytes;
    this.counters = parts.counters ?? new DeviceCounters();
    const columns = new Columns(ROWS_MAX * ROW_BYTES);
    this.#offset = columns.float64(ROWS_MAX);
    this.#start = columns.float64(ROWS_MAX);
    this.#length = columns.float64(ROWS_MAX);
    this.#token = columns.float64(ROWS_MAX);
    this.#deadline = columns.float64(ROWS_MAX);
    this.#epoch = columns.float64(ROWS_MAX);
    this.#beganMs = columns.float64(ROWS_MAX);
    this.#kind = columns.uint8(ROWS_MAX);
    const { fairShare } = parts;
    this.#share = fairShare && new Share(fairShare, (row) => this.#go(row));
  }

  /** As was heard last. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Under one lease it can only grow; without one somebody may shrink it meanwhile. */
  async measure(ask: () => Promise<number | undefined>): Promise<void> {
    const tenure = this.#tenure;
    const bytes = (await ask()) ?? 0;
    if (tenure !== undefined && tenure === this.#tenure) {
      this.#bytes = Math.max(this.#bytes, bytes);
    }
  }

  get isBackedUp(): boolean {
    return this.#parts.isBackedUp === true;
  }

  /** That it is served, undefined: not now. */
  get device(): Device | undefined {
    return this.#tenure?.device;
  }

  /** Takes the lease if it is not held, within so long. Whether it is, and why not. */
  async begin(withinMs: number): Promise<Status> {
    const deadline = this.#parts.clock.now() + withinMs;
    while (this.#tenure === undefined && !this.#isClosed) {
      if (!this.#isOpening) void this.#open();
      if (this.#parts.clock.now() >= deadline || isFinal(this.#refusal)) return this.#refusal;
      await sleep(this.#parts.timers, AGAIN_MS_MIN);
    }
    return this.#isClosed ? Status.Closed : Status.Ok;
  }

  /** Gives the lease up; what is under way ends. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const shared = this.#share?.takeAll() ?? [];
    const waiting = [...this.#waiting.splice(0), ...shared, ...this.#held.splice(0)];
    for (const row of waiting) this.#tell(row, Status.Closed);
    await this.#tenure?.release();
  }

  /** Of whole sectors, within a piece. `into` belongs to the device until told. */
  read(
    offset: number,
    into: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#begin(READ, offset, into, start, bytes, sink, token);
  }

  /** As `read`. */
  write(
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    this.#begin(WRITE, offset, from, start, bytes, sink, token);
  }

  /** Whole blocks within a piece are zeros then, and give memory back. Not limited. */
  trim(offset: number, bytes: number, sink: CompletionSink, token: number): void {
    this.#begin(TRIM, offset, undefined, 0, bytes, sink, token);
  }

  /** Done when they return, with `Ok`; or `NOT_NOW`, and the verbs above do it. */
  readNow(offset: number, into: Uint8Array, start: number, bytes: number): number {
    if (this.#tenure === undefined || offset + bytes > this.#bytes) return NOT_NOW;
    if (this.#limit !== undefined && !this.#mayGo()) return NOT_NOW;
    const startMs = this.counters.isTimed(READ) ? this.#parts.clock.now() : -1;
    const status = this.#tenure.device.readNow(offset, into, start, bytes);
    if (status === Status.Ok) this.#doneAtOnce(READ, bytes, startMs);
    return status;
  }

  writeNow(offset: number, from: Uint8Array, start: number, bytes: number): number {
    if (this.#tenure === undefined || offset + bytes > this.#bytes) return NOT_NOW;
    if (this.#limit !== undefined && !this.#mayGo()) return NOT_NOW;
    const startMs = this.counters.isTimed(WRITE) ? this.#parts.clock.now() : -1;
    const status = this.#tenure.device.writeNow(offset, from, start, bytes);
    if (status === Status.Ok) this.#doneAtOnce(WRITE, bytes, startMs);
    return status;
  }

  /** `Ok` when all that was told to be written before is as safe as it is going to be. */
  async flush(): Promise<Status> {
    const deadline = this.#parts.clock.now() + this.#parts.patienceMs;
    while (!this.#isClosed) {
      const tenure = this.#tenure;
      const status = await (tenure?.device.flush() ?? Status.Unavailable);
      if (status === Status.Ok && tenure === this.#tenure) return status;
      if (this.#parts.clock.now() >= deadline) return Status.Unavailable;
      const mayChange = status === Status.Ok || status === Status.Stale || tenure === undefined;
      if (!mayChange) return status;
      if (tenure === undefined && !this.#isOpening) void this.#open();
      await sleep(this.#parts.timers, AGAIN_MS_MIN);
    }
    return Status.Closed;
  }

  /** From now on, for what waits, too. */
  allow(allowance: DeviceAllowance): void {
    const { weight = 1, ...limits } = allowance;
    if (this.#share !== undefined) this.#share.weight = weight;
    const isLimited = limits.bytesPerS !== undefined || limits.requestsPerS !== undefined;
    if (isLimited) this.#limit ??= new RateLimit(this.#parts.clock);
    this.#limit?.set(limits);
    this.#letGo();
    if (!isLimited) this.#limit = undefined;
  }

  /** Whether a request that comes now may go at once. */
  #mayGo(): boolean {
    const limit = this.#limit;
    return limit === undefined || (this.#held.length === 0 && limit.waitMs() === 0);
  }

  /** What may go, in order; the rest when its time has come. */
  #letGo(): void {
    const limit = this.#limit;
    while (limit !== undefined && this.#held.length > 0) {
      const waitMs = limit.waitMs();
      if (waitMs > 0) {
        this.#letGoIn(Math.max(waitMs, HELD_MS_MIN));
        return;
      }
      const row = this.#held.shift() as number;
      limit.take(this.#length[row] as number);
      this.#enter(row, this.#parts.clock.now());
    }
  }

  #letGoIn(ms: number): void {
    if (this.#isHolding) return;
    this.#isHolding = true;
    this.#parts.timers.after(ms, () => {
      this.#isHolding = false;
      this.#letGo();
    });
  }

  #doneAtOnce(kind: Kind, bytes: number, startMs: number): void {
    this.#limit?.take(bytes);
    const ms = startMs < 0 ? -1 : this.#parts.clock.now() - startMs;
    this.counters.doneAtOnce(kind, bytes, ms);
  }

  /** For the controller; `device` is its number. */
  report(device: number): ReturnType<DeviceCounters['report']> {
    const tenure = this.#tenure;
    const waiting =
      this.#waiting.length +
      this.#held.length +
      (this.#share?.waiting ?? 0) +
      (tenure?.device.waiting ?? 0);
    const now = { device: tenure?.device, epoch: tenure?.epoch ?? 0, waiting };
    return this.counters.report(device, now);
  }

  #begin(
    kind: Kind | typeof TRIM,
    offset: number,
    buffer: Uint8Array | undefined,
    start: number,
    bytes: number,
    sink: CompletionSink,
    token: number,
  ): void {
    const row = this.#free.pop() ?? (this.#made < ROWS_MAX ? this.#made++ : -1);
    if (row < 0 || this.#isClosed) {
      if (row >= 0) this.#free.push(row);
      const status = row < 0 ? Status.Busy : Status.Closed;
      this.#parts.timers.soon(() => sink.completed(token, status, outcomeOf(status), 0, 0));
      return;
    }
    this.#kind[row] = kind;
    this.#epoch[row] = this.#lastEpoch;
    this.#offset[row] = offset;
    this.#buffer[row] = buffer;
    this.#start[row] = start;
    this.#length[row] = bytes;
    this.#sink[row] = sink;
    this.#token[row] = token;
    this.#beganMs[row] = 0;
    const now = this.#parts.clock.now();
    this.#deadline[row] = now + this.#parts.patienceMs;
    if (kind === TRIM || this.#mayGo()) {
      if (kind !== TRIM) this.#limit?.take(bytes);
      this.#enter(row, now);
      return;
    }
    this.#held.push(row);
    this.#letGo();
  }

  /** How many bytes have to go through the network. */
  #moved(row: number): number {
    return this.#kind[row] === TRIM ? 0 : (this.#length[row] as number);
  }

  /** Now, or when it is the turn of this device. */
  #enter(row: number, now: number): void {
    const bytes = this.#moved(row);
    if (this.#share === undefined || this.#share.begin(row, bytes, now)) this.#goAt(row, now);
  }

  #go(row: number): void {
    this.#goAt(row, this.#parts.clock.now());
  }

  /** To wait for a limit, or for others, was no failure. */
  #goAt(row: number, now: number): void {
    this.#beganMs[row] = now;
    this.#deadline[row] = now + this.#parts.patienceMs;
    this.#run(row);
  }

  #run(row: number): void {
    const tenure = this.#tenure;
    if (tenure === undefined) {
      this.#wait(row);
      return;
    }
    const { device } = tenure;
    if (!this.#mayRun(row, tenure)) {
      this.#tellSoon(row, Status.Unavailable);
      return;
    }
    const offset = this.#offset[row] as number;
    const bytes = this.#length[row] as number;
    // It was larger when the client came.
    if (offset + bytes > this.#bytes) {
      this.#tellSoon(row, Status.Invalid);
      return;
    }
    const kind = this.#kind[row];
    if (kind === TRIM) {
      device.trim(offset, bytes, this, row);
      return;
    }
    const buffer = this.#buffer[row] as Uint8Array;
    const start = this.#start[row] as number;
    if (kind === READ) device.read(offset, buffer, start, bytes, this, row);
    else device.write(offset, buffer, start, bytes, this, row);
  }

  completed(row: number, status: Status, _outcome: Outcome): void {
    const isLate = this.#parts.clock.now() >= (this.#deadline[row] as number);
    if (status === Status.Stale && !this.#isClosed && !isLate) this.#again(row);
    else this.#tell(row, status === Status.Stale ? Status.Unavailable : status);
  }

  /** Whoever has just asked is not told within the asking. */
  #tellSoon(row: number, status: Status): void {
    this.#parts.timers.soon(() => this.#tell(row, status));
  }

  #tell(row: number, status: Status): void {
    const sink = this.#sink[row] as CompletionSink;
    const token = this.#token[row] as number;
    const now = this.#parts.clock.now();
    const bytes = this.#moved(row);
    const tookMs = now - (this.#deadline[row] as number) + this.#parts.patienceMs;
    const kind = this.#kind[row] === READ ? READ : WRITE;
    this.counters.ended(kind, status, bytes, tookMs);
    const beganMs = this.#beganMs[row] as number;
    this.#buffer[row] = undefined;
    this.#sink[row] = undefined;
    this.#free.push(row);
    sink.completed(token, status, outcomeOf(status), 0, 0);
    if (beganMs > 0) this.#share?.end(beganMs, bytes, now);
  }

  /** Under the next lease; where that is there already, a little later. */
  #again(row: number): void {
    if (this.#tenure === undefined) this.#wait(row);
    else this.#parts.timers.after(AGAIN_MS_MIN, () => this.#run(row));
  }

  #wait(row: number): void {
    if (this.#isClosed) {
      this.#tell(row, Status.Closed);
      return;
    }
    this.#waiting.push(row);
    if (!this.#isOpening && this.#tenure === undefined) void this.#open();
  }

  /** Until there is a lease, or nobody waits for one. */
  async #open(): Promise<void> {
    const { timers, clock } = this.#parts;
    this.#isOpening = true;
    for (let pauseMs = AGAIN_MS_MIN; !this.#isClosed; ) {
      const tenure = await this.#parts.open();
      if (typeof tenure !== 'number') {
        this.#begun(tenure);
        break;
      }
      this.#refusal = tenure;
      const isOver = isFinal(tenure);
      const now = clock.now();
      const late = this.#waiting.filter((row) => isOver || now >= (this.#deadline[row] as number));
      this.#waiting = this.#waiting.filter((row) => !late.includes(row));
      for (const row of late) this.#tell(row, isOver ? tenure : Status.Unavailable);
      // Whoever else has the lease looks after it.
      const isKept = this.#wasServed && !isOver && tenure !== Status.Conflict;
      if (this.#waiting.length === 0 && !isKept) break;
      await sleep(timers, pauseMs);
      pauseMs = Math.min(2 * pauseMs, AGAIN_MS_MAX);
    }
    this.#isOpening = false;
  }

  #begun(tenure: Tenure): void {
    if (this.#isClosed) {
      tenure.device.stop();
      void tenure.release();
      return;
    }
    const isChanged = this.#wasServed && tenure.heldBefore > this.#lastEpoch;
    this.#tenure = tenure;
    this.#bytes = tenure.bytes;
    this.#lastEpoch = tenure.epoch;
    this.#wasServed = true;
    // Before anything is read under it.
    if (isChanged) for (const tell of [...this.strangers]) tell();
    void tenure.ended.then(() => {
      if (this.#tenure === tenure) this.#tenure = undefined;
      // Also where nobody reads or writes: copies that are missing are to be made.
      if (!this.#isOpening) void this.#open();
    });
    for (const row of this.#waiting.splice(0)) this.#run(row);
  }

  /**
   * Of a write only where nobody else can have been the writer since it came: whoever sent it may
   * have given it up, and written something newer through another host.
   */
  #mayRun(row: number, { epoch, heldBefore }: Tenure): boolean {
    const known = this.#epoch[row] as number;
    return this.#kind[row] === READ || (known >= heldBefore && known <= epoch);
  }
}

/** There is no such device, whoever asks again. */
const isFinal = (status: Status): boolean =>
  status === Status.NotFound || status === Status.Invalid || status === Status.Unsupported;
