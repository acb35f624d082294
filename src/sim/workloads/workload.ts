/**
 * What a client program of a simulated rack is: a function that uses spaces until its share of the
 * work is done. Programs take every choice from their own generator and survive every answer.
 */

import type { Prng } from '../../base/prng.js';
import type { FaultKind } from '../../runtime/simulated/world.js';
import type { Grant } from '../grant.js';
import type { Allocation, Ended, Journal } from '../journal.js';
import type { ObservedDevice, SectorCut } from '../observed-device.js';
import type { ObservedFiles } from '../observed-files.js';
import type { ObservedLeases } from '../observed-leases.js';
import type { ObservedLocks } from '../observed-locks.js';
import type { DrivenWindow, DurableSpace, ObservedSpace } from '../observed-space.js';
import type { DurablePiece } from './durable-words.js';

/** One running client process, as its program sees it. */
export interface ClientProgram {
  /** From 1; a process that takes the place of a killed one has a new number. */
  readonly number: number;
  /** The one that was killed, where it has taken its place. */
  readonly forerunner?: number | undefined;
  readonly prng: Prng;
  readonly journal: Journal;
  /** What the clients tell each other, by other ways than the rack. */
  readonly board: Board;
  readonly pageBytes: number;
  /** Frames of all nodes together. */
  readonly frames: number;
  /** Opens, or creates; again and again while the controller is away. */
  open(name: string): Promise<ObservedSpace>;
  files(): Promise<ObservedFiles>;
  /** A space on disks, and as it is: who uses it judges what it shows. Only on a whole rack. */
  openDurable?(name: string): Promise<DurableSpace>;
  /** The window of this text; only on a whole rack. */
  window?(token: string): Promise<DrivenWindow>;
  /** Connections of their own to the block devices of the rack; only on a whole rack. */
  devices?(): Promise<readonly ObservedDevice[]>;
  /** Another size for a block device, and what is beyond it is lost; only on a whole rack. */
  resize?(device: string, bytes: number): Promise<Ended>;
  leases(): Promise<ObservedLeases>;
  /** Those of the space of this name; only on a whole rack. */
  locks?(space: string): Promise<ObservedLocks>;
  sleep(ms: number): Promise<void>;
  /**
   * One of these that a client is at work on which is stopped in the middle of a step, as soon as
   * there is one; undefined when so much time has passed.
   */
  untilStopped(ms: number, of: readonly Allocation[]): Promise<Allocation | undefined>;
  /** Until no client that is stopped in a step is at work on it, or so much time has passed. */
  untilGoneOn(ms: number, allocation: Allocation): Promise<void>;
  /** Counts one step of the client's share; false when it is used up. */
  step(): boolean;
}

/** A device is to have another size; all clients but one leave it for that. */
export interface Resize {
  readonly device: string;
  readonly bytes: number;
  /** The number of the client that does it. */
  by: number;
  /** What is beyond the new end is zeros when it comes back. */
  readonly cut: SectorCut;
}

/** Shared by all clients of a run. */
export class Board {
  /** Memory that everybody uses and nobody frees before the end. */
  readonly shared: Allocation[] = [];
  /** Of files, of all clients; each is changed by one of them only. */
  readonly keys: string[] = [];
  /** Memory that others use too while its owner frees it, and what was freed last. */
  readonly doomed: Allocation[] = [];
  readonly former: Allocation[] = [];
  /** Memory whose owner changes the rights all the time. */
  readonly guarded: Allocation[] = [];
  /** Windows that were handed out, some of them taken back. */
  readonly grants: Grant[] = [];
  /** Memory on disks by the number of the client that has it. */
  readonly durable: Map<number, readonly DurablePiece[]> = new Map();
  /** By device: the host where most clients look for it. */
  readonly hostOf: Map<string, number> = new Map();
  /** A device gets another size. */
  resize: Resize | undefined;
  /** Nothing that matters happens now: who likes may take it easy. */
  isQuiet = false;
}

export interface Workload {
  readonly name: string;
  /** For the list of workloads. */
  readonly about: string;
  /** How many frames each node lends, at least and at most. */
  readonly frames: readonly [number, number];
  /** Most of its bytes travel in large transfers. */
  readonly isBulky: boolean;
  /**
   * Most clients run on machines of memory nodes and reach their memory without them; their steps
   * are made in parts, and what they copy is seen by halves.
   */
  readonly isOneSided?: boolean;
  /** Most clients send datagrams, and those are lost, doubled, late, out of order and damaged. */
  readonly isByDatagrams?: boolean;
  /** All of them do: nobody is quicker than the others, and has done most when things happen. */
  readonly isByDatagramsAlone?: boolean;
  /** After how long their streams are closed when idle, one for each run; else of all kinds. */
  readonly idleStreamMs?: readonly number[];
  /** Of those most choose their link by themselves, and streams or datagrams alone are cut. */
  readonly isFallingOver?: boolean;
  /** Nodes mind what their machines have left, and that is little at times. */
  readonly isShortOfMemory?: boolean;
  /** All memory is on disks. */
  readonly isPersistent?: boolean;
  /** There are block devices, and hosts that serve them. */
  readonly hasDevices?: boolean;
  /** Each of them with a file at the first host. */
  readonly haveBackups?: boolean;
  /** Hosts run on machines of memory nodes, whose memory they reach in steps, as above. */
  readonly areHostsNear?: boolean;
  /** Regions go from node to node, one after the other. */
  readonly isMoving?: boolean;
  /** Machines have paths of different lengths between them. */
  readonly hasUnequalPaths?: boolean;
  /** Rates of faults that come by themselves, one for each run, where not those of all. */
  readonly rates?: Readonly<Partial<Record<FaultKind, readonly number[]>>>;
  /** Nothing but the controller and its connections is struck: nodes and clients are well. */
  readonly isControllerAlone?: boolean;
  /** Steps of all clients together; each is one to some operations. */
  readonly steps: number;
  /** How many blows fall in a run, at least and at most, where not as many as usual. */
  readonly blowCount?: readonly [number, number];
  /** How often each kind of blow falls, relative to the others. */
  readonly blows: Readonly<Partial<Record<BlowName, number>>>;
  run(client: ClientProgram): Promise<void>;
}

/** What the fault driver does to the rack; see faults/blows.ts. */
export const BLOW_NAMES = [
  'cut',
  'corrupt',
  'partition',
  'split',
  // Between clients and a node, of streams or of datagrams alone.
  'cut-streams',
  'cut-datagrams',
  'pause-node',
  'pause-client',
  'kill-node',
  'kill-supervisor',
  'kill-client',
  'kill-controller',
  'pause-controller',
  'crash-node',
  'crash-controller',
  'stop-node',
  'stop-controller',
  'shrink-path',
  // Of disks: most flushes of a moment.
  'fail-flushes',
  // There is no room for changes of metadata.
  'fill-disk',
  // An operator keeps copies of the controller's database, and puts one back.
  'copy-metadata',
  'put-back-metadata',
  // A region is to go to another node; one of the processes that have to do with it is struck then.
  'move-region',
  'strike-in-move',
  // An operator empties a node, ends it when it is drained, and uses it again.
  'drain-node',
  'squeeze',
  // Of clients in the middle of a step over shared memory, where there is one.
  'stop-in-step',
  'pause-in-step',
  'kill-in-step',
  'kill-node-in-step',
  // Of those that serve block devices.
  'kill-host',
  'pause-host',
  'kill-host-in-copy',
  // The memory of a node goes, while every slab of block devices has another copy.
  'lose-copies',
  'lose-all-memory',
  // Of all nodes and hosts at once.
  'cut-power',
] as const;
export type BlowName = (typeof BLOW_NAMES)[number];

/** Runs `count` lanes at once, each repeating `step` until the client's share is used up. */
export async function inLanes(
  client: ClientProgram,
  count: number,
  step: (lane: number) => Promise<void>,
): Promise<void> {
  const lanes = Array.from({ length: count }, async (_, lane) => {
    while (client.step()) await step(lane);
  });
  await Promise.all(lanes);
}

/** Whether the answer is an allocation and not a refusal. */
export function isGiven(answer: Allocation | Ended): answer is Allocation {
  return 'id' in answer;
}

/** Allocates shared memory until there is enough of it, whoever comes first. */
export async function share(
  client: ClientProgram,
  spaces: readonly ObservedSpace[],
  wanted: number,
  counters: (words: number) => number[],
): Promise<void> {
  while (client.board.shared.length < wanted) {
    // Only one of the clients at a time; a lost race makes one more, which does no harm.
    const bytes = client.pageBytes * client.prng.between(1, 2);
    const words = bytes / 8;
    const given = await client.prng.pick(spaces).alloc(bytes, counters(words));
    if (isGiven(given)) client.board.shared.push(given);
    else await client.sleep(client.prng.between(5, 50));
  }
}
