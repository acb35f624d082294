/**
 * One node after the other, whatever their size: even where all nodes are alike, and easy to
 * predict. (The monitor of Clio places regions this way: host/main_monitor.c of its release.)
 */
import type { PlacementPolicy } from './candidate.js';

export const roundRobin: PlacementPolicy = ({ candidates, turn }) => turn % candidates.length;
