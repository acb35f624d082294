/**
 * Every constant of the models, with where it comes from. Sections and figures are those of the
 * dissertation's chapter 4 (Clio) unless another source is named.
 *
 * `stated`: a source says so. `derived`: follows from what sources state, as `source` tells.
 * `fitted`: chosen so that one stated end-to-end figure comes out, which `source` names.
 * `assumed`: no source; of the usual order of magnitude for such hardware.
 */

export type Basis = 'stated' | 'derived' | 'fitted' | 'assumed';

export interface Constant {
  readonly value: number;
  readonly unit: string;
  readonly basis: Basis;
  readonly source: string;
}

function row(value: number, unit: string, basis: Basis, source: string): Constant {
  return { value, unit, basis, source };
}

/** What lies between compute nodes and memory nodes, in both models. */
export const NETWORK = {
  computeNodes: row(4, 'machines', 'stated', 'section 4.7, environment'),
  cardGbps: row(40, 'Gbit/s', 'stated', 'section 4.7: ConnectX-3 cards and a switch of 40 Gbps'),
  oneWayNs: row(
    150,
    'ns',
    'assumed',
    'switch, transceivers and cables; vendors name 150 to 250 ns from port to port',
  ),
  ethernetBytes: row(
    38,
    'bytes',
    'stated',
    'IEEE 802.3: preamble 8, header 14, check sequence 4, gap between frames 12',
  ),
  frameBytesMin: row(84, 'bytes', 'stated', 'IEEE 802.3: 64, and preamble and gap of 20'),
  datagramBytesMax: row(
    1_472,
    'bytes',
    'stated',
    'IEEE 802.3: a packet of 1,500 bytes, less 20 of IPv4 and 8 of UDP',
  ),
  packetBytesMax: row(1_408, 'bytes', 'assumed', 'data in a packet of at most 1,500 bytes'),
} as const;

/** Of DDR4 memory, also of the hosts. */
export const DRAM = {
  refreshEveryNs: row(7_800, 'ns', 'stated', 'JEDEC JESD79-4: tREFI'),
  refreshNs: row(350, 'ns', 'stated', 'JEDEC JESD79-4: tRFC of chips of 8 Gbit'),
} as const;

/** A card of the ConnectX class that serves one-sided operations. */
export const RDMA = {
  pcieReadNs: row(
    500,
    'ns',
    'assumed',
    'a read of 64 bytes of host memory by a card; Neugebauer et al., SIGCOMM 2018, measured such',
  ),
  pcieSpreadNs: row(80, 'ns', 'assumed', 'between the fastest of these reads and nearly all'),
  pcieBytesPerNs: row(7.9, 'bytes/ns', 'derived', 'PCIe 3.0, 8 lanes of 8 GT/s, 128b/130b'),
  pcieReadsAtOnce: row(16, 'reads', 'assumed', 'reads that a card has under way'),
  passNs: row(
    62,
    'ns',
    'fitted',
    'four passes through cards: a read of 16 bytes takes 16.8 ms / 14100 = 1.19 us (4.2.2, 4.4.3)',
  ),
  operationNs: row(30, 'ns', 'assumed', 'a card takes some 35 million operations a second'),
  inlineBytes: row(220, 'bytes', 'assumed', 'a longer write is fetched from the host by the card'),
  headerBytes: row(30, 'bytes', 'stated', 'InfiniBand: LRH 8, BTH 12, CRCs 6, RETH or AETH mean'),
  regionsMax: row(2 ** 18, 'regions', 'stated', 'figure 4.5: fails beyond'),
  timeoutBaseNs: row(4_096, 'ns', 'stated', 'InfiniBand 1.3, 9.7.6.1.3: local ACK time-out'),
  timeoutExponent: row(
    12,
    '',
    'derived',
    'a page fault of 16.8 ms (4.4.3) is 4.096 us x 2^12, the time-out with this exponent',
  ),
  faultServiceNs: row(300_000, 'ns', 'assumed', 'interrupt, host pages the memory in, tells card'),
  registerNs: row(50_000, 'ns', 'assumed', 'system call and command to the card'),
  pinNs: row(150, 'ns', 'assumed', 'per page of 4 KiB: pinned, and written to the translations'),
  unpinNs: row(50, 'ns', 'assumed', 'per page of 4 KiB'),
  hostPageBytes: row(4_096, 'bytes', 'stated', 'x86'),
} as const;

/** What cards of one generation hold. */
export interface CardSizes {
  readonly name: string;
  readonly connections: Constant;
  readonly regions: Constant;
  readonly translations: Constant;
}

export const LOCAL_CARD: CardSizes = {
  name: 'RDMA, local cluster',
  connections: row(2 ** 8, 'entries', 'assumed', 'as many as of the others'),
  regions: row(2 ** 8, 'entries', 'stated', 'section 4.7.1: degrades beyond 2^8'),
  translations: row(2 ** 8, 'entries', 'stated', 'section 4.7.1: degrades beyond 2^8'),
};

export const CLOUD_CARD: CardSizes = {
  name: 'RDMA, CloudLab',
  connections: row(2 ** 9, 'entries', 'assumed', '2^12 of 64 bytes make 2^9 contexts of 512'),
  regions: row(2 ** 12, 'entries', 'stated', 'section 4.7.1: degrades beyond 2^12'),
  translations: row(2 ** 12, 'entries', 'stated', 'section 4.7.1: degrades beyond 2^12'),
};

/** The board, and the library at its clients. */
export const CLIO = {
  portGbps: row(10, 'Gbit/s', 'stated', 'section 4.5'),
  libraryNs: row(250, 'ns', 'stated', 'section 4.7.1: CLib, in total'),
  cardNs: row(
    40,
    'ns',
    'fitted',
    'a plain card, once each way; with vendorNs, so that a projected read beats RDMA',
  ),
  headerBytes: row(28, 'bytes', 'derived', 'artifact, net_header.h: 16, and 12 of read or write'),
  cycleNs: row(4, 'ns', 'stated', 'section 4.5: 250 MHz'),
  asicCycleNs: row(0.5, 'ns', 'stated', 'section 4.7.1: projected to 2 GHz'),
  cycleBytes: row(64, 'bytes', 'stated', 'section 4.5: 512 bits a cycle, initiation interval 1'),
  stackCycles: row(
    110,
    'cycles',
    'fitted',
    'network stack, once each way, so that a read of 4 bytes takes 2.03 us (artifact)',
  ),
  vendorNs: row(40, 'ns', 'fitted', 'PHY and MAC of others, once each way; the same in an ASIC'),
  translateCycles: row(6, 'cycles', 'assumed', 'look into the TLB, rights, decision'),
  faultCycles: row(3, 'cycles', 'stated', 'section 4.4.3: a page fault, handled in hardware'),
  tlbEntries: row(16, 'entries', 'stated', 'section 4.7.1: hits below 2^4 pages'),
  memoryNs: row(
    130,
    'ns',
    'derived',
    'artifact: reads over 2^0 to 2^22 pages differ by 0.13 us, one access of memory (4.4.2)',
  ),
  asicMemoryNs: row(
    90,
    'ns',
    'assumed',
    'access of memory in a server (4.7.1 used a measured one)',
  ),
  moverCycles: row(
    10,
    'cycles',
    'fitted',
    'of the DMA that is not pipelined: 110 Gbps at 4 KiB on the board (4.7.1)',
  ),
  freePages: row(30, 'pages', 'stated', 'artifact, page_fifo.c'),
  freePageNs: row(20_000, 'ns', 'stated', 'section 4.7.1: allocation of a page below 20 us'),
  armCores: row(4, 'cores', 'stated', 'section 4.5'),
  crossingNs: row(40_000, 'ns', 'stated', 'section 4.5: between FPGA and ARM'),
  treeNs: row(5_000, 'ns', 'assumed', 'a search in the tree of ranges, on the ARM'),
  checkNs: row(
    2_000,
    'ns',
    'derived',
    'per page and try: 0.5 ms per retry (4.7.1) of 256 pages; a few us for one (4.4.2)',
  ),
  pageBytes: row(2 ** 22, 'bytes', 'stated', 'section 4.4.2: 4 MB'),
  slotsPerBucket: row(16, 'entries', 'stated', 'artifact, pgtable.h; K in section 4.4.2'),
  slotsPerPage: row(2, 'entries', 'stated', 'section 4.4.2: twice as many slots as pages'),
  physicalBytes: row(2 ** 40, 'bytes', 'stated', 'artifact, pgtable.h: the table is made for'),
} as const;
