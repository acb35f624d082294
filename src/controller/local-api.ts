/** `ControllerApi` over a controller of the same process. */
import type { RegionIndex, SpaceId } from '../base/brands.js';
import type { Metric } from '../base/metric.js';
import { Status } from '../base/status.js';
import { sleep, type Clock, type Timers } from '../runtime/clock.js';
import { SpaceKind } from '../wire/messages.js';
import type { ControllerApi, RegionFacts } from './api.js';
import type { Controller } from './controller.js';
import { eventPage } from './event-pages.js';
import { rackMetrics } from './metrics.js';
import type { MoveEnd, MoveWish } from './moves.js';
import { quote } from './names.js';
import { isRefusal, ok, refuse, type Refusal } from './refusal.js';
import { memberFacts, rackStatus, spaceFacts, type ReportContext } from './report.js';

const MOVE_WITHIN_MS = 5_000;
const MOVE_AGAIN_MS = 500;

export interface LocalApiOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Where the controller listens; known once it does. */
  readonly address: () => string;
  /** Of the controller: pids are shown for members of the same machine. */
  readonly machine: string;
  readonly isDurable: boolean;
  /** Numbers of other parts of the process, for metrics. */
  readonly otherMetrics?: () => Promise<Metric[]>;
}

/** A kind that there is not gets a number that there is not, and is refused by name. */
const KIND_NUMBERS: Readonly<Record<string, number>> = {
  dram: SpaceKind.DRAM,
  persistent: SpaceKind.PERSISTENT,
};
const KIND_UNKNOWN = 255;

const BUSY: Refusal = {
  status: Status.Busy,
  message: 'too many changes wait for their turn: try again',
};

function lostRegionsOf({ metadata }: Controller, node: string): number {
  return [...metadata.regionsOfNode(node).values()].filter(({ state }) => state === 'lost').length;
}

function refuseChange({ changes, restoration }: Controller): Refusal | undefined {
  return changes.isFull ? BUSY : restoration.refusal();
}

function regionFacts({ regions, metadata }: Controller, space: SpaceId): RegionFacts[] {
  return regions.list(space, 0, Infinity).map(({ region, node, epoch, state }) => {
    const isMoving = metadata.moveOf({ space, region }) !== undefined;
    return { region, node, epoch, state: isMoving ? 'moving' : state };
  });
}

/** What ends by itself is waited for: a node takes nothing back that it gave away a moment ago. */
async function moved(
  { moves }: Controller,
  wish: MoveWish,
  { clock, timers }: LocalApiOptions,
): Promise<MoveEnd> {
  const lastMs = clock.now() + MOVE_WITHIN_MS - MOVE_AGAIN_MS;
  for (;;) {
    const end = await moves.move(wish);
    const isBusy = end.end === 'refused' && end.status === Status.Busy;
    if (!isBusy || clock.now() > lastMs) return end;
    await sleep(timers, MOVE_AGAIN_MS);
  }
}

export function localApi(controller: Controller, options: LocalApiOptions): ControllerApi {
  const { clock, machine, isDurable } = options;
  const context = (): ReportContext => ({
    nowMs: clock.now(),
    wallMs: clock.wall(),
    address: options.address(),
    isDurable,
  });
  return {
    status: () => rackStatus(controller, context()),
    members: () =>
      memberFacts(controller).map(({ pid, ...facts }) =>
        facts.machine === machine ? { ...facts, pid } : facts,
      ),
    spaces: () => controller.spaces.list().map((space) => spaceFacts(controller, space)),
    createSpace: async (name, kindName, pageBytes) => {
      const isKnown = controller.metadata.spaceIds.has(name);
      const unsure = isKnown ? undefined : refuseChange(controller);
      if (unsure !== undefined) return unsure;
      const kind = KIND_NUMBERS[kindName] ?? KIND_UNKNOWN;
      const opened = await controller.spaces.open({ name, create: true, kind, pageBytes });
      if (isRefusal(opened)) return opened;
      return ok({ space: spaceFacts(controller, opened.space), created: opened.created });
    },
    removeSpace: async (name) => refuseChange(controller) ?? controller.spaces.remove(name),
    removeNode: async (id, isLost) => {
      if (controller.changes.isFull) return BUSY;
      const before = lostRegionsOf(controller, id);
      const result = await controller.membership.remove(id, isLost);
      if (isRefusal(result)) return result;
      await controller.nodeRemoved();
      return ok({ regionsLost: lostRegionsOf(controller, id) - before });
    },
    backup: () => controller.changes.run(() => controller.metadata.copy()),
    adoptSpace: async (id, name) => {
      const refusal = refuseChange(controller);
      if (refusal !== undefined) return refusal;
      const called = name === '' ? `recovered-${id}` : name;
      const adopted = await controller.spaces.adopt(id as SpaceId, called);
      return isRefusal(adopted) ? adopted : ok({ space: spaceFacts(controller, adopted.space) });
    },
    regions: (name) => {
      const space = controller.metadata.spaceIds.get(name);
      if (space === undefined) return refuse(Status.NotFound, `there is no space ${quote(name)}`);
      return ok({ regions: regionFacts(controller, space) });
    },
    moveRegion: async (name, region, to) => {
      const space = controller.metadata.spaceIds.get(name);
      if (space === undefined) return refuse(Status.NotFound, `there is no space ${quote(name)}`);
      const refusal = refuseChange(controller);
      if (refusal !== undefined) return refusal;
      const end = await moved(controller, { space, region: region as RegionIndex, to }, options);
      return end.end === 'done' ? ok({}) : refuse(end.status, `not moved: ${end.reason}`);
    },
    drain: async (node, isForced) =>
      refuseChange(controller) ?? controller.drains.start(node, isForced),
    drains: () => controller.drains.list(),
    drainOf: (node) => controller.drains.facts(node),
    cancelDrain: async (node) =>
      controller.changes.isFull ? BUSY : controller.drains.cancel(node),
    events: (query) => eventPage(controller.metadata, query, clock.wall()),
    files: (prefix, after, limit) => controller.files.list(prefix, after, limit),
    file: (key) => controller.files.get(key),
    metrics: async () => {
      const own = rackMetrics(controller, context());
      return [...own, ...((await options.otherMetrics?.()) ?? [])];
    },
  };
}
