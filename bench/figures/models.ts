/** The figures' curves by the models of RDMA and of Clio's board, and of memory that fills up. */

import { CLIO, CLOUD_CARD, LOCAL_CARD, RDMA } from '../../src/sim/hardware/constants.js';
import { ClioAllocator } from '../../src/sim/hardware/clio-allocator.js';
import { CLIO_STATIONS, ClioSystem } from '../../src/sim/hardware/clio-board.js';
import { fillClio, type Filling, fillOurs } from '../../src/sim/hardware/filling.js';
import {
  type Load,
  mean,
  type MemorySystem,
  type Outcome,
  play,
  quantile,
} from '../../src/sim/hardware/load.js';
import { RdmaSystem } from '../../src/sim/hardware/rdma.js';
import type { FigureName, Kind, Series } from './series.js';

const SEED = 4;
const NS_PER_US = 1_000;

/** A curve in the making. */
export interface Subject {
  readonly figure: FigureName;
  readonly panel?: string;
  readonly kind: Kind;
  readonly xUnit: string;
  readonly note?: string;
}

/** Mean latency by x, with the median of the slowest hundredth and of the fastest beside it. */
export function latencySeries(
  subject: Subject,
  system: string,
  points: readonly (readonly [number, Outcome])[],
): Series {
  const us = (ns: number): number => ns / NS_PER_US;
  return {
    ...subject,
    system,
    x: points.map(([x]) => x),
    y: points.map(([, { latenciesNs }]) => us(mean(latenciesNs))),
    yLow: points.map(([, { latenciesNs }]) => us(quantile(latenciesNs, 0.01))),
    yHigh: points.map(([, { latenciesNs }]) => us(quantile(latenciesNs, 0.99))),
    yUnit: 'us',
  };
}

type Make = () => MemorySystem;

const clio: Make = () => new ClioSystem({ seed: SEED });
const asic: Make = () => new ClioSystem({ seed: SEED, isAsic: true });
const localRdma: Make = () => new RdmaSystem({ seed: SEED, sizes: LOCAL_CARD });
const cloudRdma: Make = () => new RdmaSystem({ seed: SEED, sizes: CLOUD_CARD });

const OPERATIONS = 4_000;
/** More would not fit into any cache anyway. */
const WARM_UP_MAX = 10_000;

type LoadOf = (x: number) => Omit<Load, 'seed' | 'operations'>;

/** A new system for each x. */
async function sweep(
  make: Make,
  xs: readonly number[],
  load: LoadOf,
): Promise<{ name: string; points: [number, Outcome][] }> {
  const points: [number, Outcome][] = [];
  let name = '';
  for (const x of xs) {
    const system = make();
    name = system.name;
    points.push([x, await play(system, { seed: SEED, operations: OPERATIONS, ...load(x) })]);
  }
  return { name, points };
}

export const CLIENTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];
export const ACCESS_BYTES = 16;
export const CLIENTS_AT_ONCE = 4;

export function panelOf(isWrite: boolean): string {
  return isWrite ? 'write' : 'read';
}

async function clientsFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const isWrite of [false, true]) {
    const load: LoadOf = (clients) => ({
      clients,
      active: Math.min(clients, CLIENTS_AT_ONCE),
      isWrite,
      bytes: ACCESS_BYTES,
      warmUp: 2 * clients,
    });
    const note = `${CLIENTS_AT_ONCE} at work at a time, by turns of chance`;
    const subject = { figure: '4.4', kind: 'model', xUnit: 'processes', note } as const;
    for (const make of [localRdma, cloudRdma, clio]) {
      const { name, points } = await sweep(make, CLIENTS, load);
      all.push(latencySeries({ ...subject, panel: panelOf(isWrite) }, name, points));
    }
  }
  return all;
}

const powers = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => 2 ** (from + i * step));

async function pagesFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const make of [localRdma, cloudRdma, clio]) {
    const base = { clients: 1, active: 1, isWrite: false, bytes: ACCESS_BYTES };
    const warmUp = (x: number): number => Math.min(x, WARM_UP_MAX);
    const pages = await sweep(make, powers(0, 20, 2), (x) => ({
      ...base,
      pages: x,
      warmUp: warmUp(x),
    }));
    const kind = 'model';
    all.push(
      latencySeries(
        { figure: '4.5', panel: 'pages', kind, xUnit: 'pages' },
        pages.name,
        pages.points,
      ),
    );
    // Clio has no regions: what would be one is an allocation, of at least a page.
    const isClio = make === clio;
    const regions = await sweep(
      make,
      powers(0, 20, 2).filter(isClio ? () => true : isTaken),
      (x) =>
        isClio
          ? { ...base, pages: x, warmUp: warmUp(x) }
          : { ...base, regions: x, warmUp: warmUp(x) },
    );
    const note = isClio ? 'allocations of one page each' : 'registered over the same memory';
    const subject = { figure: '4.5', panel: 'regions', kind, xUnit: 'regions', note } as const;
    all.push(latencySeries(subject, regions.name, regions.points));
  }
  return all;
}

/** Whether a card takes so many registrations. */
function isTaken(regions: number): boolean {
  return new RdmaSystem({ seed: SEED, sizes: LOCAL_CARD }).registerNs(1, regions - 1) !== undefined;
}

const HIT = 0;
const MISS = 1;
const FAULT = 2;
const REGION_MISS = 3;
const MANY = 2 ** 14;
/** A fault of RDMA takes 17 ms, but no time of ours. */
const FAULTS = 400;
/** Between two first touches, so that who prepares pages keeps up. */
export const TOUCH_PAUSE_NS = 30_000;

async function accessFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const isWrite of [false, true]) {
    const base = { clients: 1, active: 1, isWrite, bytes: ACCESS_BYTES, seed: SEED };
    const run = (system: MemorySystem, load: Partial<Load>): Promise<Outcome> =>
      play(system, { operations: OPERATIONS, ...base, ...load });
    const cold = { pages: MANY, warmUp: WARM_UP_MAX };
    const fresh = { pages: FAULTS, operations: FAULTS, isInTurn: true, pauseNs: TOUCH_PAUSE_NS };
    const subject = {
      figure: '4.6',
      kind: 'model',
      xUnit: 'label',
      panel: panelOf(isWrite),
    } as const;
    for (const isAsic of [false, true]) {
      const make = (isOnDemand: boolean): ClioSystem =>
        new ClioSystem({ seed: SEED, isAsic, isOnDemand });
      const points: [number, Outcome][] = [[HIT, await run(make(false), {})]];
      points.push([MISS, await run(make(false), cold)]);
      points.push([FAULT, await run(make(true), fresh)]);
      all.push(latencySeries(subject, make(false).name, points));
    }
    for (const sizes of [LOCAL_CARD, CLOUD_CARD]) {
      const make = (isOnDemand: boolean): RdmaSystem =>
        new RdmaSystem({ seed: SEED, sizes, isOnDemand });
      const points: [number, Outcome][] = [[HIT, await run(make(false), {})]];
      points.push([MISS, await run(make(false), cold)]);
      points.push([FAULT, await run(make(true), fresh)]);
      points.push([REGION_MISS, await run(make(false), { ...cold, pages: 1, regions: MANY })]);
      all.push(latencySeries(subject, sizes.name, points));
    }
  }
  return all;
}

export const QUANTILES = [
  0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999,
];
export const DISTRIBUTION_PAGES = 2 ** 9;

export function distribution(subject: Subject, system: string, { latenciesNs }: Outcome): Series {
  const x = QUANTILES.map((part) => quantile(latenciesNs, part) / NS_PER_US);
  return { ...subject, system, x, y: QUANTILES, yUnit: 'quantile' };
}

async function distributionFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const isWrite of [false, true]) {
    for (const make of [localRdma, cloudRdma, clio]) {
      const system = make();
      const outcome = await play(system, {
        seed: SEED,
        operations: 10 * OPERATIONS,
        clients: CLIENTS_AT_ONCE,
        active: CLIENTS_AT_ONCE,
        pages: DISTRIBUTION_PAGES,
        warmUp: 2 * DISTRIBUTION_PAGES,
        bytes: ACCESS_BYTES,
        isWrite,
      });
      const note = `${CLIENTS_AT_ONCE} clients, ${DISTRIBUTION_PAGES} pages by chance`;
      const subject = { figure: '4.7', kind: 'model', xUnit: 'us', note } as const;
      all.push(distribution({ ...subject, panel: panelOf(isWrite) }, system.name, outcome));
    }
  }
  return all;
}

export const THREADS = [1, 2, 4, 8, 16];
export const GOODPUT_BYTES = 1_024;
export const ASYNC_WINDOW = 16;

/** The panel, and how many operations a thread has under way. */
export function goodputPanels(): { isWrite: boolean; window: number; panel: string }[] {
  return [false, true].flatMap((isWrite) =>
    [1, ASYNC_WINDOW].map((window) => ({
      isWrite,
      window,
      panel: `${panelOf(isWrite)}, ${window === 1 ? 'one at a time' : 'async'}`,
    })),
  );
}

export function goodputSeries(
  subject: Subject,
  system: string,
  points: readonly (readonly [number, Outcome])[],
): Series {
  const y = points.map(([, { goodputGbps }]) => goodputGbps);
  return { ...subject, system, x: points.map(([x]) => x), y, yUnit: 'Gbit/s' };
}

async function goodputFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const { isWrite, window, panel } of goodputPanels()) {
    for (const make of [clio, localRdma]) {
      const { name, points } = await sweep(make, THREADS, (threads) => ({
        clients: threads,
        active: threads,
        window,
        isWrite,
        bytes: GOODPUT_BYTES,
        warmUp: threads * window,
      }));
      const gbps = make === clio ? CLIO.portGbps.value : 40;
      const note = `the node's link has ${gbps} Gbit/s; ${window} under way per thread`;
      const subject = { figure: '4.8', panel, kind: 'model', xUnit: 'threads', note } as const;
      all.push(goodputSeries(subject, name, points));
    }
  }
  return all;
}

export const SIZES = [4, 16, 64, 256, 512, 1_024, 2_048, 4_096];

async function sizesFigures(): Promise<Series[]> {
  const all: Series[] = [];
  for (const isWrite of [false, true]) {
    for (const make of [localRdma, clio, asic]) {
      const load: LoadOf = (bytes) => ({ clients: 1, active: 1, isWrite, bytes });
      const { name, points } = await sweep(make, SIZES, load);
      const figure = isWrite ? '4.11' : '4.10';
      all.push(latencySeries({ figure, kind: 'model', xUnit: 'bytes' }, name, points));
    }
  }
  return all;
}

async function clioAllocation(bytes: number): Promise<{ allocNs: number; freeNs: number }> {
  const system = new ClioSystem({ seed: SEED });
  const allocator = new ClioAllocator(CLIO.physicalBytes.value / CLIO.pageBytes.value, 1);
  const pages = Math.max(1, Math.ceil(bytes / CLIO.pageBytes.value));
  const timed = async (armNs: number): Promise<number> => {
    const startNs = system.nowNs;
    let isDone = false;
    system.call(armNs, () => (isDone = true));
    await system.run(() => isDone);
    return system.nowNs - startNs;
  };
  const allocNs = await timed(allocator.allocate(0, pages)?.armNs ?? Number.NaN);
  // Nothing is searched, but every page's entry is emptied.
  return { allocNs, freeNs: await timed(CLIO.treeNs.value + pages * CLIO.checkNs.value) };
}

async function allocationFigure(): Promise<Series[]> {
  const sizes = powers(12, 30, 2);
  const clioSizes = sizes.filter((bytes) => bytes >= CLIO.pageBytes.value);
  const subject = { figure: '4.12', kind: 'model', xUnit: 'bytes', yUnit: 'us' } as const;
  const us = (values: readonly number[]): number[] => values.map((ns) => ns / NS_PER_US);
  const times = await Promise.all(clioSizes.map(clioAllocation));
  const all: Series[] = [
    {
      ...subject,
      panel: 'allocate',
      system: 'Clio, addresses',
      x: clioSizes,
      y: us(times.map(({ allocNs }) => allocNs)),
    },
    {
      ...subject,
      panel: 'free',
      system: 'Clio, addresses',
      x: clioSizes,
      y: us(times.map(({ freeNs }) => freeNs)),
    },
  ];
  for (const isOnDemand of [false, true]) {
    const rdma = new RdmaSystem({ seed: SEED, sizes: LOCAL_CARD, isOnDemand });
    const system = isOnDemand ? 'RDMA, registration on demand' : 'RDMA, registration';
    const note = `by a sum of constants: ${RDMA.pinNs.value} ns to pin 4 KiB (assumed)`;
    const alloc = us(sizes.map((bytes) => rdma.registerNs(bytes) ?? Number.NaN));
    const free = us(sizes.map((bytes) => rdma.deregisterNs(bytes)));
    all.push({ ...subject, panel: 'allocate', system, x: sizes, y: alloc, note });
    all.push({ ...subject, panel: 'free', system, x: sizes, y: free, note });
  }
  return all;
}

function fillingSeries(kind: Kind, system: string, filling: Filling, note: string): Series {
  return {
    figure: '4.13',
    kind,
    system,
    x: filling.percent,
    y: filling.mean,
    yLow: filling.mean,
    yHigh: filling.most,
    xUnit: 'percent',
    yUnit: 'retries',
    note,
  };
}

function retriesFigure(): Series[] {
  const all: Series[] = [];
  for (const count of [1, 16, 256]) {
    const size = `${(count * CLIO.pageBytes.value) / 2 ** 20} MiB`;
    const note = 'mean, and the most of any allocation';
    all.push(fillingSeries('model', `Clio, ${size}`, fillClio(SEED, count), note));
    const ours = fillOurs({ seed: SEED, count, entriesPerPage: 4, overcommit: 2 });
    const noteOurs = `${note}; four entries per frame, up to twice the frames are allocated`;
    all.push(fillingSeries('simulated', `Memrack, ${size}`, ours, noteOurs));
  }
  const small = fillOurs({ seed: SEED, count: 256, entriesPerPage: 2, overcommit: 1 });
  const note = "Memrack's search on a table of Clio's size";
  all.push(fillingSeries('simulated', "Memrack's search, Clio's table, 1024 MiB", small, note));
  return all;
}

async function stationsFigure(): Promise<Series[]> {
  const all: Series[] = [];
  for (const isWrite of [false, true]) {
    for (const bytes of [4, 1_024]) {
      const system = new ClioSystem({ seed: SEED });
      const load = { clients: 1, active: 1, isWrite, bytes, pages: MANY, operations: OPERATIONS };
      await play(system, { seed: SEED, ...load });
      all.push({
        figure: '4.14',
        panel: panelOf(isWrite),
        kind: 'model',
        system: `Clio, ${bytes} bytes`,
        x: CLIO_STATIONS.map((_, station) => station),
        y: [...system.spentNs].map((ns) => ns / system.packets / NS_PER_US),
        xUnit: 'label',
        yUnit: 'us',
        note: 'every access misses the TLB',
      });
    }
  }
  return all;
}

export const COMPRESSING_CLIENTS = [1, 10, 50, 100, 200];
/** Of an image: its pixels are read and written, and about 12 KiB of JPEG are, too. */
export const IMAGE_KIB = 192 + 12;
const TRANSFER_BYTES = 4_096;
const IMAGES_PLAYED = 20;

/** Transfers of 4 KiB by clients of which four are at work, each in two regions of its own. */
async function imagesFigure(): Promise<Series[]> {
  const all: Series[] = [];
  const operations = (IMAGES_PLAYED * IMAGE_KIB * 1_024) / TRANSFER_BYTES;
  for (const make of [localRdma, cloudRdma, clio]) {
    const pagesOfOne = make === clio ? 2 : 3;
    const waits: number[] = [];
    for (const clients of COMPRESSING_CLIENTS) {
      const active = Math.min(clients, CLIENTS_AT_ONCE);
      const regions = make === clio ? {} : { regions: 2 * clients };
      const base = { seed: SEED, operations, clients, active, pages: pagesOfOne * clients };
      const load = { ...base, ...regions, bytes: TRANSFER_BYTES, warmUp: 6 * clients };
      const read = await play(make(), { ...load, isWrite: false });
      const written = await play(make(), { ...load, isWrite: true });
      const ns = ((read.elapsedNs + written.elapsedNs) * active) / IMAGES_PLAYED;
      waits.push(ns / NS_PER_US / 1_000);
    }
    all.push({
      figure: '4.16',
      panel: 'waiting for memory, by turns',
      kind: 'model',
      system: make().name,
      x: COMPRESSING_CLIENTS,
      y: waits,
      xUnit: 'processes',
      yUnit: 'ms',
      note: `${TRANSFER_BYTES} bytes at a time, one after the other, of clients by chance`,
    });
  }
  return all;
}

/** Each is a figure of its own, for who wants one alone. */
export const MODEL_FIGURES: Readonly<Record<string, () => Promise<Series[]> | Series[]>> = {
  '4.4': clientsFigure,
  '4.5': pagesFigure,
  '4.6': accessFigure,
  '4.7': distributionFigure,
  '4.8': goodputFigure,
  '4.10': sizesFigures,
  '4.12': allocationFigure,
  '4.13': retriesFigure,
  '4.14': stationsFigure,
  '4.16': imagesFigure,
};
