/**
 * The part of `memrack doctor` that looks at the network: what happens to datagrams between this
 * machine and each memory node of a rack.
 */

import type { Member } from '../apps/library.js';
import { formatDuration } from '../apps/terminal.js';
import { formatBytes, KiB, MiB } from '../base/units.js';
import type { PathReport } from '../client/ping/path.js';
import { PATH_BYTES } from '../fabric/datagram/path-size.js';
import { DATAGRAM_BYTES_SURE } from '../wire/datagram.js';
import type { Finding } from './finding.js';

/** Codes are kept: scripts match on them. Each has its row in docs/seeing.md. */
export const NETWORK_CODES = [
  'NETWORK_LEFT_OUT',
  'RACK_UNREACHABLE',
  'NODES_NOT_SERVING',
  'UDP_NOT_OFFERED',
  'UDP_ADDRESS_UNUSABLE',
  'UDP_NOT_ANSWERED',
  'UDP_ROUND_TRIP',
  'UDP_LOSS',
  'UDP_PATH_LENGTH',
  'UDP_RECEIVE_BUFFER',
] as const;
export type NetworkCode = (typeof NETWORK_CODES)[number];

type NetworkFinding = Finding & { readonly code: NetworkCode };

/** More loss costs speed; from here on the network is to blame. */
const LOSS_MAX = 0.01;
/** From here on hardly anything works. */
const LOSS_BAD = 0.2;
/** A round trip beyond this is no rack. */
const ROUND_TRIP_MS_MAX = 10;
/** What our sockets ask for, and what is little of it. */
const BUFFER_BYTES = 4 * MiB;
const BUFFER_BYTES_MIN = MiB;

export function leftOut(): NetworkFinding {
  const found = 'left out: no rack was named';
  const remedy = 'name one to have the way to its nodes measured: --rack URL, or MEMRACK_URL';
  return { code: 'NETWORK_LEFT_OUT', check: 'network', state: 'skipped', found, remedy };
}

export function rackUnreachable(url: string, why: string): NetworkFinding {
  const remedy = 'start it, or correct the address; where it runs, open its port for tcp';
  return { code: 'RACK_UNREACHABLE', check: `rack ${url}`, state: 'bad', found: why, remedy };
}

export function notServing(node: Member): NetworkFinding {
  const remedy = 'see memrack status; it is not measured';
  const found = `${node.state}, at ${node.address}`;
  const check = `network to ${node.id}`;
  return { code: 'NODES_NOT_SERVING', check, state: 'warning', found, remedy };
}

export function notOffered(node: Member): NetworkFinding {
  const found = `listens at ${node.address}: it takes no datagrams`;
  const check = `datagrams to ${node.id}`;
  return { code: 'UDP_NOT_OFFERED', check, state: 'skipped', found, remedy: 'use another link' };
}

export function unusable(node: Member, why: string): NetworkFinding {
  const check = `datagrams to ${node.id}`;
  const remedy = `correct the name in ${node.address}: start the node with --listen ADDRESS`;
  return { code: 'UDP_ADDRESS_UNUSABLE', check, state: 'warning', found: why, remedy };
}

/** What was measured to one node; `ownReceiveBytes` is of this machine. */
export function findingsOf(
  node: Member,
  report: PathReport | undefined,
  ownReceiveBytes: number,
): NetworkFinding[] {
  if (report === undefined) return [notAnswered(node)];
  return [
    roundTrip(node, report),
    loss(node, report),
    pathLength(node, report),
    receiveBuffer(`receive buffer of ${node.id}`, report.nodeReceiveBytes, node.machine),
    receiveBuffer('receive buffer here', ownReceiveBytes, 'this machine'),
  ];
}

function notAnswered(node: Member): NetworkFinding {
  const port = /:(\d+)$/.exec(node.address)?.[1] ?? '';
  const remedy =
    `open port ${port} for udp at ${node.machine} and in every firewall between, both ways; ` +
    "link 'tcp' works without";
  const found = `none is answered at ${node.address.replace('tcp:', 'udp:')}`;
  const check = `datagrams to ${node.id}`;
  return { code: 'UDP_NOT_ANSWERED', check, state: 'warning', found, remedy };
}

function roundTrip(node: Member, { minMs, p50Ms, p99Ms, answered }: PathReport): NetworkFinding {
  const times = `min ${formatDuration(minMs)}, p50 ${formatDuration(p50Ms)}`;
  const found = answered === 0 ? 'no ping was answered' : `${times}, p99 ${formatDuration(p99Ms)}`;
  const isGood = answered > 0 && p50Ms <= ROUND_TRIP_MS_MAX;
  const remedy = isGood ? '' : 'memory that far away is slow: use nodes that are nearer';
  const state = isGood ? 'good' : 'warning';
  return { code: 'UDP_ROUND_TRIP', check: `round trip to ${node.id}`, state, found, remedy };
}

function loss(node: Member, { sent, answered }: PathReport): NetworkFinding {
  const share = (sent - answered) / sent;
  const state = share > LOSS_BAD ? 'bad' : share > LOSS_MAX ? 'warning' : 'good';
  const percent = `${(share * 100).toFixed(1)} %`;
  const found = `${sent - answered} of ${sent} pings (${percent})${meaning(share)}`;
  const remedy =
    state === 'good'
      ? ''
      : 'look for a full link, a bad cable or a small buffer on the way (ip -s link, ' +
        'nstat -az UdpRcvbufErrors at both ends)';
  return { code: 'UDP_LOSS', check: `loss to ${node.id}`, state, found, remedy };
}

function meaning(share: number): string {
  if (share === 0) return '';
  if (share <= LOSS_MAX) return ': noise, what is lost is sent again';
  if (share <= 0.05) return ': lost ones wait for a time-out, the 99th percentile suffers';
  return ': windows shrink, throughput falls';
}

function pathLength(node: Member, { bytesThere, bytesBoth }: PathReport): NetworkFinding {
  const isGood = bytesBoth >= DATAGRAM_BYTES_SURE;
  const used = PATH_BYTES.filter((bytes) => bytes <= bytesBoth).at(-1);
  const links = used === undefined ? '' : `; links use ${formatLength(used)}`;
  const there = bytesThere === bytesBoth ? '' : `, ${formatLength(bytesThere)} there`;
  const found = `${formatLength(bytesBoth)} there and back${there}${links}`;
  const remedy = isGood
    ? ''
    : `the path must take datagrams of ${DATAGRAM_BYTES_SURE} bytes: raise the MTU of what is ` +
      "between to 1,280 at least, or use link 'tcp'";
  const state = isGood ? 'good' : 'bad';
  return { code: 'UDP_PATH_LENGTH', check: `datagram length to ${node.id}`, state, found, remedy };
}

const formatLength = (bytes: number): string => `${bytes.toLocaleString('en-US')} bytes`;

function receiveBuffer(check: string, bytes: number, where: string): NetworkFinding {
  const isGood = bytes >= BUFFER_BYTES_MIN;
  const remedy = isGood
    ? ''
    : `at ${where}: sysctl -w net.core.rmem_max=${BUFFER_BYTES} and start again; a burst that ` +
      'finds no room is lost';
  const state = isGood ? 'good' : 'warning';
  const found = bytes < KiB ? `${bytes} bytes` : formatBytes(bytes);
  return { code: 'UDP_RECEIVE_BUFFER', check, state, found, remedy };
}
