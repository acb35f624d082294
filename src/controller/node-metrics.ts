/**
 * The numbers of the memory nodes for Prometheus, asked of each when somebody looks. A node that
 * does not answer in time has no samples then, but for the one that says so.
 */
import { Status } from '../base/status.js';
import type { Clock } from '../runtime/clock.js';
import type { Metric, MetricSample } from './api.js';

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

type Numbers = Readonly<Record<string, unknown>>;
/** What one node has told; undefined: it did not answer. */
type Told = readonly [id: string, counters: Numbers | undefined];

interface Wanted {
  readonly name: string;
  readonly kind: Metric['kind'];
  readonly help: string;
  /** The value, by the value of the label where there is one; undefined: the node has none. */
  readonly of: (counters: Numbers) => unknown;
  readonly label?: string;
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
    const told = await Promise.all(this.#parts.nodes().map(askOne));
    this.#madeAt = this.#parts.clock.now();
    const answered: Metric = {
      name: 'memrack_node_answered',
      kind: 'gauge',
      help: 'Whether the node has told its numbers: 1 or 0.',
      samples: told.map(([node, counters]) => ({
        labels: { node },
        value: counters === undefined ? 0 : 1,
      })),
    };
    return [answered, ...WANTED.map((wanted) => metricOf(wanted, told))];
  }
}

async function askOne(node: AskedNode): Promise<Told> {
  const reply = await node.ask();
  if (reply.status !== Status.Ok || reply.json === undefined) return [node.id, undefined];
  try {
    return [node.id, asNumbers(JSON.parse(reply.json))];
  } catch {
    return [node.id, undefined];
  }
}

function asNumbers(value: unknown): Numbers {
  return typeof value === 'object' && value !== null ? (value as Numbers) : {};
}

function metricOf({ name, kind, help, of, label }: Wanted, told: readonly Told[]): Metric {
  const samples: MetricSample[] = [];
  const add = (labels: Readonly<Record<string, string>>, value: unknown): void => {
    if (typeof value === 'number' && Number.isFinite(value)) samples.push({ labels, value });
  };
  for (const [node, counters] of told) {
    if (counters === undefined) continue;
    const value = of(counters);
    if (label === undefined) add({ node }, value);
    else addAll(node, label, asNumbers(value), add);
  }
  return { name, kind, help, samples };
}

function addAll(
  node: string,
  label: string,
  values: Numbers,
  add: (labels: Readonly<Record<string, string>>, value: unknown) => void,
): void {
  for (const [key, value] of Object.entries(values)) add({ node, [label]: key }, value);
}

const datagrams = (counters: Numbers): Numbers => asNumbers(counters['datagrams']);

function counter(
  name: string,
  help: string,
  of: (counters: Numbers) => unknown,
  label?: string,
): Wanted {
  const wanted = { name: `memrack_node_${name}_total`, kind: 'counter', help, of } as const;
  return label === undefined ? wanted : { ...wanted, label };
}

function gauge(name: string, help: string, of: (counters: Numbers) => unknown): Wanted {
  return { name: `memrack_node_${name}`, kind: 'gauge', help, of };
}

/** Names are kept: dashboards have them. */
const WANTED: readonly Wanted[] = [
  counter('operations', 'Data messages and parts, by type.', (all) => all['operations'], 'type'),
  counter('refusals', 'Those that were refused, by status.', (all) => all['refusals'], 'status'),
  counter('read_bytes', 'Bytes read by clients.', (all) => all['bytesRead']),
  counter('written_bytes', 'Bytes written by clients.', (all) => all['bytesWritten']),
  counter(
    'datagrams_received',
    'Datagrams that came.',
    (all) => datagrams(all)['datagramsReceived'],
  ),
  counter('datagrams_sent', 'Datagrams of answers.', (all) => datagrams(all)['datagramsSent']),
  counter(
    'datagrams_dropped',
    'Datagrams that found no room in the receive buffer: net.core.rmem_max is small.',
    (all) => datagrams(all)['dropped'],
  ),
  counter(
    'datagrams_unsent',
    'Datagrams that the system did not take.',
    (all) => datagrams(all)['unsent'],
  ),
  counter(
    'datagrams_malformed',
    'Datagrams, of the last two kinds parts of them, that break a rule, by rule.',
    (all) => datagrams(all)['malformed'],
    'kind',
  ),
  counter(
    'datagrams_refused',
    'Datagrams answered without a look at their parts, by reason; held_back: not even answered.',
    (all) => {
      const { cookiesRefused, incarnationsRefused, nacks, refusalsHeldBack } = datagrams(all);
      return {
        cookie: cookiesRefused,
        incarnation: incarnationsRefused,
        checksum: nacks,
        held_back: refusalsHeldBack,
      };
    },
    'reason',
  ),
  counter(
    'datagram_parts',
    'Parts of datagrams, by what became of them; recorded: duplicates, answered from the record.',
    (all) => {
      const { partsExecuted, partsRecorded, again, never, late } = datagrams(all);
      return { executed: partsExecuted, recorded: partsRecorded, again, never, late };
    },
    'outcome',
  ),
  counter('datagram_hellos', 'Hellos in datagrams.', (all) => datagrams(all)['hellos']),
  counter('datagram_pings', 'Pings in datagrams.', (all) => datagrams(all)['pings']),
  gauge(
    'datagram_record_rows',
    'Changes that are remembered.',
    (all) => datagrams(all)['recordRows'],
  ),
  gauge('datagram_record_bytes', 'Memory of that record.', (all) => datagrams(all)['recordBytes']),
  gauge(
    'datagram_receive_buffer_bytes',
    'What the system keeps of datagrams that the node has not taken yet.',
    (all) => datagrams(all)['receiveBytes'],
  ),
];
