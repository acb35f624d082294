/**
 * Clients and nodes in network namespaces of their own, with two routers between:
 *
 *   clients ---- near ---- far ---- nodes
 *
 * The interfaces of both ends take long packets whatever the routers take, so nothing but the path
 * itself tells how long they may be.
 */
import { ip, namespacesNamed } from './namespaces.js';

/** Of all interfaces that limit nothing. */
const LONG_BYTES = 9000;
/** What tcp puts into a packet where nobody would tell it that its packets are too long. */
const SEGMENT_BYTES = 1200;

/**
 * `told`: who sends a packet that is too long hears so from a router (ICMP), as packets are
 * forwarded over a link that takes less. `silent`: the routers' ends of the links to them take
 * less, and what is longer vanishes there without a word.
 */
export type Manner = 'told' | 'silent';

export interface RoutedPath {
  readonly clients: string;
  readonly nodes: string;
  /** Where nodes listen. */
  readonly host: string;
  /** Packets of so many bytes, with their IP header, arrive from now on, and no longer ones. */
  take(bytes: number, manner: Manner): void;
  /** How often the clients' side was told that something of it did not arrive. */
  timesTold(): number;
  remove(): void;
}

interface Hop {
  readonly left: string;
  readonly right: string;
  readonly subnet: string;
}

function join({ left, right, subnet }: Hop): void {
  const peer = ['type', 'veth', 'peer', 'name', 'left', 'netns', right];
  ip('link', 'add', 'name', 'right', 'netns', left, ...peer);
  for (const [at, device, number] of [
    [left, 'right', 1],
    [right, 'left', 2],
  ] as const) {
    ip('-n', at, 'address', 'add', `${subnet}.${number}/24`, 'dev', device);
    ip('-n', at, 'link', 'set', device, 'mtu', String(LONG_BYTES), 'up');
  }
}

/** What a script prints there. */
function run(namespace: string, script: string): string {
  return ip('netns', 'exec', namespace, 'sh', '-c', script);
}

/** The sum that the system keeps of ICMP messages of one kind. */
function icmpSum(namespace: string, name: string): number {
  const lines = run(namespace, 'cat /proc/net/snmp').split('\n');
  const [names = [], sums = []] = lines
    .filter((line) => line.startsWith('Icmp:'))
    .map((line) => line.split(' '));
  return Number(sums[names.indexOf(name)]);
}

export function makeRoutedPath(): RoutedPath {
  const roles = ['clients', 'near', 'far', 'nodes'] as const;
  const { names, remove } = namespacesNamed(roles, (clients, near, far, nodes) => {
    for (const one of [clients, near, far, nodes]) ip('-n', one, 'link', 'set', 'lo', 'up');
    join({ left: clients, right: near, subnet: '10.78.1' });
    join({ left: near, right: far, subnet: '10.78.2' });
    join({ left: far, right: nodes, subnet: '10.78.3' });
    ip('-n', near, 'route', 'add', '10.78.3.0/24', 'via', '10.78.2.2');
    ip('-n', far, 'route', 'add', '10.78.1.0/24', 'via', '10.78.2.1');
    for (const router of [near, far]) run(router, 'echo 1 > /proc/sys/net/ipv4/ip_forward');
  });
  const [clients, near, far, nodes] = names;
  const set = (at: string, device: string, bytes: number): void => {
    ip('-n', at, 'link', 'set', device, 'mtu', String(bytes));
  };
  const take = (bytes: number, manner: Manner): void => {
    const [outer, inner] = manner === 'told' ? [LONG_BYTES, bytes] : [bytes, LONG_BYTES];
    set(near, 'left', outer);
    set(far, 'right', outer);
    set(near, 'right', inner);
    set(far, 'left', inner);
    // Somebody has to tell tcp, as at the edge of many networks: datagrams help themselves.
    const segments = manner === 'told' ? [] : ['advmss', String(SEGMENT_BYTES)];
    ip('-n', clients, 'route', 'replace', 'default', 'via', '10.78.1.2', ...segments);
    ip('-n', nodes, 'route', 'replace', 'default', 'via', '10.78.3.1', ...segments);
  };
  take(LONG_BYTES, 'told');
  const timesTold = (): number => icmpSum(clients, 'InDestUnreachs');
  return { clients, nodes, host: '10.78.3.2', take, timesTold, remove };
}
