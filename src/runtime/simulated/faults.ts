/**
 * What goes wrong, how often, and whether it mattered.
 *
 * Some kinds come by themselves, once in so many operations (`rates`, per million); the others
 * are made to happen by a call on the world (kill, pause, crash, partition, ...). All are counted
 * when injected. A fault has *mattered* when something took another way because of it: a stream
 * was told closed, an operation on a disk rejected, a partial message was left for later, bytes
 * that lost something were read again, or (`TOLD_BY_OUTCOME`) a client's operation that overlapped
 * it was retried, failed or of unknown outcome. A kind that never matters proves nothing.
 */

import type { Prng } from '../../base/prng.js';

export const FaultKind = {
  /** Streams: cut at any byte; both sides told, each at its own time. */
  StreamReset: 'stream-reset',
  /** Reset, but only one side learns of it before it sends or a keepalive runs out. */
  HalfOpen: 'half-open',
  StreamCorruption: 'stream-corruption',
  /** What arrived is shown in pieces cut anywhere, at times byte by byte. */
  StreamSplit: 'stream-split',
  /** A stream whose reader takes little and late. */
  SlowPeer: 'slow-peer',
  DatagramLoss: 'datagram-loss',
  DatagramDuplicate: 'datagram-duplicate',
  DatagramReorder: 'datagram-reorder',
  DatagramDelay: 'datagram-delay',
  DatagramCorruption: 'datagram-corruption',
  /** Longer datagrams than before vanish between two machines, or are refused. */
  PathShrunk: 'path-shrunk',
  Partition: 'partition',
  PartitionOneWay: 'partition-one-way',
  /** A wire passes datagrams and no streams, or the other way round, as a firewall may. */
  StreamsCut: 'streams-cut',
  DatagramsCut: 'datagrams-cut',
  Kill: 'kill',
  Pause: 'pause',
  MachineCrash: 'machine-crash',
  /** At a machine's crash: bytes, or names, that were not flushed are gone. */
  UnflushedLoss: 'unflushed-loss',
  TornWrite: 'torn-write',
  NameLoss: 'name-loss',
  DiskFull: 'disk-full',
  DiskReadError: 'disk-read-error',
  DiskWriteError: 'disk-write-error',
  DiskFlushError: 'disk-flush-error',
  DatabaseError: 'database-error',
  /** A commit was under way when its process or machine ended. */
  CommitInterrupted: 'commit-interrupted',
  /** A thread that was woken runs much later than usual. */
  SlowWake: 'slow-wake',
  ClockJump: 'clock-jump',
  /** Other programs of a machine take most of its memory. */
  MemoryShort: 'memory-short',
  /** A thread is stopped in the middle of its accesses of shared memory (`Memory.run`). */
  StepStopped: 'step-stopped',
} as const;
export type FaultKind = (typeof FaultKind)[keyof typeof FaultKind];

export const FAULT_KINDS: readonly FaultKind[] = Object.values(FaultKind);

export type FaultRates = { [Kind in FaultKind]?: number };
export type FaultCounts = { [Kind in FaultKind]: number };

/** Nothing wrong, though chunks still come in pieces: that is how streams are. */
export const NO_FAULTS: FaultRates = {};

/** A rough day: per million operations of the kind's sort. */
export const ROUGH_FAULTS: FaultRates = {
  [FaultKind.StreamReset]: 300,
  [FaultKind.HalfOpen]: 100,
  [FaultKind.StreamSplit]: 30_000,
  [FaultKind.SlowPeer]: 20_000,
  [FaultKind.DatagramLoss]: 20_000,
  [FaultKind.DatagramDuplicate]: 10_000,
  [FaultKind.DatagramReorder]: 20_000,
  [FaultKind.DatagramDelay]: 5_000,
  [FaultKind.SlowWake]: 10_000,
};

export interface Fault {
  readonly kind: FaultKind;
  readonly fromNs: number;
  /** Infinity while it lasts; a fault of an instant ends when it begins. */
  untilNs: number;
  /** Numbers of the machines it touches. */
  readonly machines: readonly number[];
  mattered: boolean;
}

/** How many faults of each kind are remembered for `noteOutcome`. */
const REMEMBERED = 64;
/** What lasted still shows for so long after it ended: processes come back, clients reconnect. */
const AFTERMATH_NS = 1_000_000_000;

/**
 * Kinds that nothing but an operation's outcome tells about. All others are attributed where they
 * act (a stream closed by them, a rejected write), and an outcome adds nothing.
 */
const TOLD_BY_OUTCOME: { readonly [Kind in FaultKind]?: 'machine' | 'neighbour' } = {
  // Only those at the client's own machine: a lost datagram concerns its sender and receiver.
  [FaultKind.DatagramLoss]: 'machine',
  [FaultKind.DatagramDuplicate]: 'machine',
  [FaultKind.DatagramReorder]: 'machine',
  [FaultKind.DatagramDelay]: 'machine',
  [FaultKind.DatagramCorruption]: 'machine',
  // Those at any machine that the client's machine talks to.
  [FaultKind.SlowPeer]: 'neighbour',
  [FaultKind.SlowWake]: 'neighbour',
  [FaultKind.ClockJump]: 'neighbour',
  [FaultKind.Partition]: 'neighbour',
  [FaultKind.PartitionOneWay]: 'neighbour',
  [FaultKind.StreamsCut]: 'neighbour',
  [FaultKind.DatagramsCut]: 'neighbour',
  [FaultKind.Kill]: 'neighbour',
  [FaultKind.Pause]: 'neighbour',
  [FaultKind.MachineCrash]: 'neighbour',
  [FaultKind.MemoryShort]: 'neighbour',
  [FaultKind.StepStopped]: 'neighbour',
};

export class Faults {
  readonly injected: FaultCounts = zeroCounts();
  readonly mattered: FaultCounts = zeroCounts();
  /** While false nothing comes by itself; what is injected by a call still is. */
  enabled = true;
  readonly #rates: FaultCounts = zeroCounts();
  readonly #recent: { [Kind in FaultKind]?: Fault[] } = {};
  readonly #prng: Prng;
  readonly #nowNs: () => number;

  constructor(rates: FaultRates, prng: Prng, nowNs: () => number) {
    for (const kind of FAULT_KINDS) this.#rates[kind] = rates[kind] ?? 0;
    this.#prng = prng;
    this.#nowNs = nowNs;
  }

  /** Whether a fault of this kind happens now. */
  roll(kind: FaultKind): boolean {
    return this.enabled && this.#prng.chance(this.#rates[kind]);
  }

  setRate(kind: FaultKind, perMillion: number): void {
    this.#rates[kind] = perMillion;
  }

  /** Counts and remembers one; it ends at once unless it `lasts`. */
  inject(kind: FaultKind, machines: readonly number[], lasts = false): Fault {
    const fromNs = this.#nowNs();
    const untilNs = lasts ? Infinity : fromNs;
    const fault: Fault = { kind, fromNs, untilNs, machines, mattered: false };
    this.injected[kind] += 1;
    const recent = (this.#recent[kind] ??= []);
    if (recent.length === REMEMBERED) recent.shift();
    recent.push(fault);
    return fault;
  }

  end(fault: Fault): void {
    fault.untilNs = Math.min(fault.untilNs, this.#nowNs());
  }

  matter(fault: Fault | undefined): void {
    if (fault === undefined || fault.mattered) return;
    fault.mattered = true;
    this.mattered[fault.kind] += 1;
  }

  /** An operation begun at `sinceNs` went wrong: the faults that it met there have mattered. */
  matterSince(sinceNs: number, machine: number, neighbours: ReadonlySet<number>): void {
    for (const kind of FAULT_KINDS) {
      const reach = TOLD_BY_OUTCOME[kind];
      if (reach === undefined) continue;
      for (const fault of this.#recent[kind] ?? []) {
        const aftermathNs = fault.untilNs > fault.fromNs ? AFTERMATH_NS : 0;
        if (fault.untilNs + aftermathNs < sinceNs) continue;
        const touches =
          reach === 'machine'
            ? fault.machines.includes(machine)
            : fault.machines.some((one) => neighbours.has(one));
        if (touches) this.matter(fault);
      }
    }
  }
}

function zeroCounts(): FaultCounts {
  return Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as FaultCounts;
}
