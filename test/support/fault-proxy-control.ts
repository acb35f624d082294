/** What a test and its fault proxy say to each other, over the channel between the processes. */

/** Probabilities are per datagram, from 0 to 1; each fault is drawn for itself. */
export interface Faults {
  /** Lost. */
  readonly loss: number;
  /** Sent twice. */
  readonly duplication: number;
  /** Held until 1 to `behindMax` later ones of the same client have gone, or `reorderMs` later. */
  readonly reordering: number;
  readonly behindMax: number;
  readonly reorderMs: number;
  /** 1 to 4 bits or bytes changed, anywhere. */
  readonly corruption: number;
  /** Held for 1 to `delayMs`. */
  readonly delay: number;
  readonly delayMs: number;
  /** Nothing gets through. */
  readonly isCut: boolean;
  /** Longer ones are lost, as on a path that carries no longer ones; bytes of payload. */
  readonly bytesMax: number;
  /** The part of which a copy is kept, of the last 65,536 such. */
  readonly keeping: number;
  /** A copy that is kept is sent again so long after; 0: only when the test says so. */
  readonly replayMs: number;
}

export const NO_FAULTS: Faults = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  behindMax: 8,
  reorderMs: 5,
  corruption: 0,
  delay: 0,
  delayMs: 300,
  isCut: false,
  bytesMax: 65_535,
  keeping: 0,
  replayMs: 0,
};

/** How many datagrams each fault has met. */
export interface FaultCounts {
  /** From the sender. */
  arrived: number;
  lost: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  delayed: number;
  cut: number;
  tooLong: number;
  kept: number;
  replayed: number;
}

/** A pipe that carries so many bytes a second, with a queue in front of it. */
export interface PipeOptions {
  /** Of datagrams with their headers of IPv4 and UDP, 28 bytes each. */
  readonly bytesPerSecond: number;
  /** What finds no room in the queue is lost. */
  readonly queueBytesMax: number;
}

export interface PipeCounts {
  /** What went through, with headers. */
  datagrams: number;
  bytes: number;
  /** What found no room. */
  dropped: number;
  queueBytes: number;
  queueBytesMost: number;
  /** Over all that went through: how long each was in the queue and the pipe. */
  waitMsMean: number;
  waitMsMost: number;
}

/** Of the datagrams of one client. */
export interface ClientCounts {
  /** `HOST:PORT` of the client. */
  readonly client: string;
  readonly toNode: { datagrams: number; bytes: number };
  readonly toClient: { datagrams: number; bytes: number };
}

export type Way = 'toNode' | 'toClient';

/** One address of the proxy: TCP and UDP of the same number go on to `to`, and back. */
export interface Target {
  /** `HOST:PORT`, IPv4. */
  readonly listen: string;
  readonly to: string;
}

export interface ProxyOptions {
  readonly targets: readonly Target[];
  /** Of all that is random. */
  readonly seed: number;
  readonly toNode?: Partial<Faults>;
  readonly toClient?: Partial<Faults>;
  readonly pipeToNode?: PipeOptions;
  readonly pipeToClient?: PipeOptions;
  /** Names of `ip netns`: where clients are, and where the targets' `to` are. */
  readonly namespaces?: { readonly clients: string; readonly nodes: string };
}

export interface ProxyStats {
  readonly toNode: FaultCounts;
  readonly toClient: FaultCounts;
  readonly pipeToNode: PipeCounts | undefined;
  readonly pipeToClient: PipeCounts | undefined;
  readonly clients: readonly ClientCounts[];
  /** Datagrams that the proxy itself did not get sent, or had no room for. */
  readonly missed: number;
  /** Streams that were passed on, since the start. */
  readonly streams: number;
  /** Processor time of the proxy, in milliseconds. */
  readonly cpuMs: number;
}

export type Command =
  | { readonly do: 'set'; readonly way: Way; readonly faults: Partial<Faults> }
  /** Sends kept copies again, the oldest first. */
  | { readonly do: 'replay'; readonly way: Way; readonly count: number }
  | { readonly do: 'stats' }
  /** Peaks and means of the pipes begin anew, and counts of clients. */
  | { readonly do: 'reset' };

/** `id` is given back with the answer. */
export type Asked = Command & { readonly id: number };

export type Told =
  | { readonly is: 'ready' }
  | { readonly is: 'failed'; readonly reason: string }
  | { readonly is: 'answer'; readonly id: number; readonly result: ProxyStats | number };
