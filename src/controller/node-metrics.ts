/**
 * The numbers of the memory nodes for Prometheus, asked of each when somebody looks. A node that
 * does not answer in time has no samples then, but for the one that says so.
 */
import { gauge, type Metric } from '../base/metric.js';
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import { asNumbers, metricsTold, type Told } from './node-metric-list.js';

/** Of one node: long enough for one that is busy, short beside the ten seconds of a scrape. */
export const NODE_COUNTERS_MS = 1_000;
/** Whoever looks more often sees the same again. */
const KEEP_MS = 500;

export interface AskedNode {
  readonly id: string;
  /** Its `Counters` call. */
  ask(): Promise<{ readonly status: Status; readonly json?: string }>;
}

export interface NodeMetricsParts {
  readonly clock: Clock;
  /** Those that serve. */
  readonly nodes: () => readonly AskedNode[];
}

/** What came of asking one, and how long that took. */
interface Asked {
  readonly told: Told;
  readonly tookMs: number;
}

export class NodeMetrics {
  readonly #parts: NodeMetricsParts;
  #made: Promise<Metric[]> | undefined;
  #madeAt = 0;

  constructor(parts: NodeMetricsParts) {
    this.#parts = parts;
  }

  read(): Promise<Metric[]> {
    const now = this.#parts.clock.now();
    if (this.#made === undefined || now - this.#madeAt > KEEP_MS) {
      this.#madeAt = now;
      this.#made = this.#ask();
    }
    return this.#made;
  }

  async #ask(): Promise<Metric[]> {
    const { clock, nodes } = this.#parts;
    const asked = await Promise.all(nodes().map((node) => askOne(node, clock)));
    this.#madeAt = clock.now();
    const told = asked.map((each) => each.told);
    return [
      gauge(
        'memrack_node_answered',
        'Whether the node has told its numbers: 1 or 0.',
        told.map(([node, counters]) => ({
          labels: { node },
          value: counters === undefined ? 0 : 1,
        })),
      ),
      gauge(
        'memrack_node_answer_seconds',
        'From the question for its numbers to the answer.',
        asked.flatMap(({ told: [node, counters], tookMs }) =>
          counters === undefined ? [] : [{ labels: { node }, value: tookMs / 1000 }],
        ),
      ),
      ...metricsTold(told),
    ];
  }
}

async function askOne(node: AskedNode, clock: Clock): Promise<Asked> {
  const askedMs = clock.now();
  const reply = await node.ask();
  const tookMs = clock.now() - askedMs;
  const isAnswer = reply.status === Status.Ok && reply.json !== undefined;
  return { told: [node.id, isAnswer ? numbersIn(reply.json ?? '') : undefined], tookMs };
}

function numbersIn(json: string): Told[1] {
  try {
    return asNumbers(JSON.parse(json));
  } catch {
    return undefined;
  }
}
