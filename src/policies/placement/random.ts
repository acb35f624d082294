/** Any node, evenly: the yardstick for the other policies. */
import { draw, type PlacementPolicy } from './candidate.js';

export const random: PlacementPolicy = ({ candidates, chance }) => draw(chance, candidates.length);
