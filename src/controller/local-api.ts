/** `ControllerApi` over a controller of the same process. */
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { SpaceKind } from '../wire/messages.js';
import type { ControllerApi, Metric } from './api.js';
import type { Controller } from './controller.js';
import { rackMetrics } from './metrics.js';
import { isRefusal, ok, type Refusal } from './refusal.js';
import { memberFacts, rackStatus, spaceFacts, type ReportContext } from './report.js';

export interface LocalApiOptions {
  readonly clock: Clock;
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
      if (controller.changes.isFull) return BUSY;
      const kind = KIND_NUMBERS[kindName] ?? KIND_UNKNOWN;
      const opened = await controller.spaces.open({ name, create: true, kind, pageBytes });
      if (isRefusal(opened)) return opened;
      return ok({ space: spaceFacts(controller, opened.space), created: opened.created });
    },
    removeSpace: async (name) =>
      controller.changes.isFull ? BUSY : controller.spaces.remove(name),
    files: (prefix, after, limit) => controller.files.list(prefix, after, limit),
    file: (key) => controller.files.get(key),
    metrics: async () => {
      const own = rackMetrics(controller, context());
      return [...own, ...((await options.otherMetrics?.()) ?? [])];
    },
  };
}
