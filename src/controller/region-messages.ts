/** Regions as messages: every node is named once, and regions point to it. */
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import { REGIONS_PER_MESSAGE_MAX } from '../wire/limits.js';
import { NodeState, type MessageType, type Reply } from '../wire/messages.js';
import type { NodePlace, RegionPlace } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { Controller } from './controller.js';
import type { PlacedRegion } from './regions.js';

type RegionsReply = Reply<typeof MessageType.SpaceRegions>;

/** The regions of a space above region `after`, as many as one message takes. */
export function spaceRegions(controller: Controller, space: SpaceId, after: number): RegionsReply {
  const listed = controller.regions.list(space, after + 1, REGIONS_PER_MESSAGE_MAX + 1);
  const shown = listed.slice(0, REGIONS_PER_MESSAGE_MAX);
  const { restoration, moves } = controller;
  const mayLack = restoration.mayLack || moves.mayHaveGone(space) ? 1 : 0;
  return regionsReply(shown, listed.length > shown.length ? 1 : 0, mayLack);
}

/**
 * A region that its node has not confirmed yet stands under a second entry of that node, with the
 * state AWAY: the node is there, but a client would find nothing.
 */
export function regionsReply(
  regions: readonly PlacedRegion[],
  more: 0 | 1,
  mayLack: 0 | 1 = 0,
): RegionsReply {
  const nodes: Fields<typeof NodePlace>[] = [];
  const indexes = new Map<string, number>();
  const places = regions.map((placed): Fields<typeof RegionPlace> => {
    const entry = `${placed.state} ${placed.node}`;
    let node = indexes.get(entry);
    if (node === undefined) {
      node = nodes.length;
      indexes.set(entry, node);
      const state = stateNumber(placed.state);
      // Memory that is lost is nowhere; and one entry for all of it is enough.
      const memoryId = placed.state === 'lost' ? 0 : placed.memoryId;
      nodes.push({ id: placed.node, address: placed.address, memoryId, state });
    }
    const { region, epoch } = placed;
    return { region, epoch, node, lost: placed.state === 'lost' ? 1 : 0 };
  });
  return { status: Status.Ok, more, mayLack, nodes, regions: places };
}

function stateNumber(state: PlacedRegion['state']): number {
  const { SERVING, AWAY, LOST } = NodeState;
  return { serving: SERVING, away: AWAY, lost: LOST }[state];
}
