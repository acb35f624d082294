/** The workloads by name. */

import { allocFree } from './alloc-free.js';
import { devices, keptDevices, nearDevices, resizedDevices } from './devices.js';
import { directory, fullDisks } from './directory.js';
import { drains, oneSidedDrains } from './drains.js';
import { large } from './large.js';
import { keptDatagramLeases, keptLeases, leases, oneSidedLeases } from './leases.js';
import { datagramLocks, locks, oneSidedLocks } from './locks.js';
import { datagramRestarts, datagrams, fallingOver, mixed } from './mixed.js';
import { datagramMoves, moves, movingMixed, oneSidedMoves, restoredMoves } from './moves.js';
import { oneSided } from './one-sided.js';
import { durableMoves, oneSidedPersistent, persistent } from './persistent.js';
import { registers } from './registers.js';
import { restarts } from './restarts.js';
import { restored } from './restored.js';
import { shortMemory } from './short-memory.js';
import { unequalPaths } from './unequal-paths.js';
import type { Workload } from './workload.js';

export const WORKLOADS: readonly Workload[] = [
  registers,
  allocFree,
  restarts,
  large,
  mixed,
  directory,
  oneSided,
  leases,
  oneSidedLeases,
  locks,
  oneSidedLocks,
  keptLeases,
  datagrams,
  datagramLocks,
  fallingOver,
  unequalPaths,
  keptDatagramLeases,
  datagramRestarts,
  restored,
  moves,
  datagramMoves,
  oneSidedMoves,
  movingMixed,
  drains,
  oneSidedDrains,
  shortMemory,
  persistent,
  oneSidedPersistent,
  fullDisks,
  durableMoves,
  devices,
  keptDevices,
  nearDevices,
  resizedDevices,
  restoredMoves,
];

export function workloadNamed(name: string): Workload | undefined {
  return WORKLOADS.find((workload) => workload.name === name);
}
