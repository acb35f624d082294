/**
 * The figures' curves by our own code in the simulator: the protocol alone, and with the processor
 * time that datagrams cost where we measured it.
 */

import { type Load, type Outcome, play, quantile } from '../../src/sim/hardware/load.js';
import { OurRack, type OurRackOptions } from '../../src/sim/hardware/our-rack.js';
import {
  ACCESS_BYTES,
  CLIENTS_AT_ONCE,
  distribution,
  DISTRIBUTION_PAGES,
  GOODPUT_BYTES,
  goodputPanels,
  goodputSeries,
  latencySeries,
  panelOf,
  SIZES,
  type Subject,
  THREADS,
  TOUCH_PAUSE_NS,
} from './models.js';
import type { Series } from './series.js';

const SEED = 4;
const NS_PER_US = 1_000;
const OPERATIONS = 500;

interface Form {
  readonly name: string;
  readonly note: string;
  readonly work: boolean;
}

/** What a request costs beyond the network. */
const FORMS: readonly Form[] = [
  {
    name: 'Memrack over udp, protocol alone',
    note: 'processors take no time',
    work: false,
  },
  {
    name: 'Memrack over udp, with processor time',
    note: '4.43 us a datagram and 0.42 us a part at each side, as measured on one machine',
    work: true,
  },
];

function start(form: Form, options: Omit<OurRackOptions, 'seed'>): Promise<OurRack> {
  return OurRack.start({ seed: SEED, clientWork: form.work, nodeWork: form.work, ...options });
}

function run(rack: OurRack, load: Omit<Load, 'seed' | 'operations'>, operations = OPERATIONS) {
  return play(rack, { seed: SEED, operations, ...load });
}

/** With so many clients connected; the more there are, the longer the start takes. */
const RACKS = [1, 10, 100, 300, 1_000];

async function clientsFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    const points: Record<string, [number, Outcome][]> = { read: [], write: [] };
    for (const clients of RACKS) {
      const rack = await start(form, { clients, pages: 16 });
      for (const isWrite of [false, true]) {
        const active = Math.min(clients, CLIENTS_AT_ONCE);
        const load = { clients, active, isWrite, bytes: ACCESS_BYTES, warmUp: 50 };
        points[panelOf(isWrite)]?.push([clients, await run(rack, load, 2 * OPERATIONS)]);
      }
    }
    for (const [panel, of] of Object.entries(points)) {
      const subject = { figure: '4.4', kind: 'simulated', xUnit: 'processes', panel } as const;
      all.push(latencySeries({ ...subject, note: form.note }, form.name, of));
    }
  }
  return all;
}

const PAGES = [0, 2, 4, 6, 8, 10].map((power) => 2 ** power);

async function pagesFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    const base = { clients: 1, active: 1, isWrite: false, bytes: ACCESS_BYTES };
    const pages: [number, Outcome][] = [];
    const windows: [number, Outcome][] = [];
    for (const count of PAGES) {
      const ofPages = await start(form, { clients: 1, pages: count });
      pages.push([count, await run(ofPages, { ...base, pages: count })]);
      const ofWindows = await start(form, { clients: 1, pages: 16, windows: count });
      windows.push([count, await run(ofWindows, { ...base, regions: count })]);
    }
    const subject = { figure: '4.5', kind: 'simulated' } as const;
    const note = `${form.note}; pages of 64 KiB`;
    all.push(
      latencySeries({ ...subject, panel: 'pages', xUnit: 'pages', note }, form.name, pages),
      latencySeries(
        { ...subject, panel: 'regions', xUnit: 'regions', note: `${form.note}; windows` },
        form.name,
        windows,
      ),
    );
  }
  return all;
}

const FRESH_PAGES = 256;
const HIT = 0;
const FAULT = 2;

async function accessFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    for (const isWrite of [false, true]) {
      const base = { clients: 1, active: 1, isWrite, bytes: ACCESS_BYTES };
      const touched = await start(form, { clients: 1, pages: 1 });
      const points: [number, Outcome][] = [[HIT, await run(touched, base)]];
      const fresh = await start(form, { clients: 1, pages: FRESH_PAGES, areFresh: true });
      const inTurn = { ...base, pages: FRESH_PAGES, isInTurn: true, pauseNs: TOUCH_PAUSE_NS };
      points.push([FAULT, await run(fresh, inTurn, FRESH_PAGES)]);
      const subject = { figure: '4.6', kind: 'simulated', xUnit: 'label' } as const;
      const note = `${form.note}; there is no TLB, and there are no regions to be missed`;
      all.push(latencySeries({ ...subject, panel: panelOf(isWrite), note }, form.name, points));
    }
  }
  return all;
}

async function distributionFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    const rack = await start(form, { clients: CLIENTS_AT_ONCE, pages: DISTRIBUTION_PAGES });
    for (const isWrite of [false, true]) {
      const outcome = await run(
        rack,
        {
          clients: CLIENTS_AT_ONCE,
          active: CLIENTS_AT_ONCE,
          pages: DISTRIBUTION_PAGES,
          bytes: ACCESS_BYTES,
          isWrite,
        },
        20 * OPERATIONS,
      );
      const clients = `${CLIENTS_AT_ONCE} clients, ${DISTRIBUTION_PAGES} pages by chance`;
      const note = `${form.note}; ${clients}`;
      const subject = { figure: '4.7', kind: 'simulated', xUnit: 'us', note } as const;
      all.push(distribution({ ...subject, panel: panelOf(isWrite) }, form.name, outcome));
    }
  }
  return all;
}

async function goodputFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    for (const { isWrite, window, panel } of goodputPanels()) {
      const points: [number, Outcome][] = [];
      for (const threads of THREADS) {
        const rack = await start(form, { clients: threads, pages: 16 });
        const load = { clients: threads, active: threads, bytes: GOODPUT_BYTES, isWrite, window };
        // Windows of bytes grow first.
        points.push([threads, await run(rack, { ...load, warmUp: 1_000 }, 4 * OPERATIONS)]);
      }
      const note = `${form.note}; the node's link has 10 Gbit/s; ${window} under way per thread`;
      const subject: Subject = { figure: '4.8', panel, kind: 'simulated', xUnit: 'threads', note };
      all.push(goodputSeries(subject, form.name, points));
    }
  }
  return all;
}

async function sizesFigures(): Promise<Series[]> {
  const all: Series[] = [];
  for (const form of FORMS) {
    const rack = await start(form, { clients: 1, pages: 16 });
    for (const isWrite of [false, true]) {
      const points: [number, Outcome][] = [];
      for (const bytes of SIZES) {
        points.push([bytes, await run(rack, { clients: 1, active: 1, isWrite, bytes })]);
      }
      const figure = isWrite ? '4.11' : '4.10';
      const subject = { figure, kind: 'simulated', xUnit: 'bytes', note: form.note } as const;
      all.push(latencySeries(subject, form.name, points));
    }
  }
  return all;
}

const ALLOCATIONS = 21;
const ALLOCATION_SIZES = [16, 18, 20, 22, 24, 26].map((power) => 2 ** power);

async function allocationFigure(): Promise<Series[]> {
  const form = FORMS[0] as Form;
  // Twice the frames may be allocated, and the rack has twice as many frames as pages.
  const rack = await start(form, { clients: 1, pages: 2 ** 9 });
  const columns: Record<string, Float64Array[]> = { allocate: [], free: [] };
  for (const bytes of ALLOCATION_SIZES) {
    const alloc = new Float64Array(ALLOCATIONS);
    const free = new Float64Array(ALLOCATIONS);
    for (let i = 0; i < ALLOCATIONS; i++) {
      const { allocNs, freeNs } = await rack.allocate(bytes);
      alloc[i] = allocNs / NS_PER_US;
      free[i] = freeNs / NS_PER_US;
    }
    columns['allocate']?.push(alloc.sort());
    columns['free']?.push(free.sort());
  }
  return Object.entries(columns).map(([panel, runs]) => ({
    figure: '4.12',
    panel,
    kind: 'simulated',
    system: 'Memrack',
    x: ALLOCATION_SIZES,
    y: runs.map((sorted) => quantile(sorted, 0.5)),
    yLow: runs.map((sorted) => quantile(sorted, 0)),
    yHigh: runs.map((sorted) => quantile(sorted, 1)),
    xUnit: 'bytes',
    yUnit: 'us',
    note: 'two calls; the thread that chooses addresses needs 1 to 50 us to wake',
  }));
}

const CLIENT = 0;
const NETWORK = 1;
const REST = 5;

/** The difference that it makes whether a side takes time. */
async function stationsFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const bytes of [4, 1_024]) {
    const sides = [{}, { clientWork: true }, { nodeWork: true }];
    const racks: OurRack[] = [];
    for (const side of sides) {
      racks.push(await OurRack.start({ seed: SEED, clients: 1, pages: 16, ...side }));
    }
    for (const isWrite of [false, true]) {
      const us: number[] = [];
      for (const rack of racks) {
        const { latenciesNs } = await run(rack, { clients: 1, active: 1, isWrite, bytes });
        us.push(quantile(latenciesNs, 0.5) / NS_PER_US);
      }
      const [wire = 0, client = 0, node = 0] = us;
      all.push({
        figure: '4.14',
        panel: panelOf(isWrite),
        kind: 'simulated',
        system: `Memrack over udp, ${bytes} bytes`,
        x: [CLIENT, NETWORK, REST],
        y: [client - wire, wire, node - wire],
        xUnit: 'label',
        yUnit: 'us',
        note: 'what a side adds when its processor time is counted',
      });
    }
  }
  return all;
}

export const OUR_FIGURES: Readonly<Record<string, () => Promise<Series[]>>> = {
  '4.4': clientsFigure,
  '4.5': pagesFigure,
  '4.6': accessFigure,
  '4.7': distributionFigure,
  '4.8': goodputFigure,
  '4.10': sizesFigures,
  '4.12': allocationFigure,
  '4.14': stationsFigure,
};
