/**
 * What the page says of each figure's models and of our code in the simulator: where their shapes
 * differ from the dissertation's, and why. Paragraphs; the page breaks their lines.
 */

import {
  CLIO,
  CLOUD_CARD,
  type Constant,
  DRAM,
  LOCAL_CARD,
  NETWORK,
  RDMA,
} from '../../src/sim/hardware/constants.js';
import { OUR_WORK } from '../../src/sim/hardware/our-rack.js';
import type { FigureName } from './series.js';

const PROCESSOR_TIME = `With processor time a datagram costs either side what it costs on one
  machine over the loopback, system calls included, and each process works on one after the other.
  This is where nearly all of ours goes: the protocol alone takes a trip there and back and the
  time of its bytes on the wires.`;

export const explanations: Readonly<Record<FigureName, readonly string[]>> = {
  '4.4': [
    `Models: four requests are under way at a time, by processes that take turns by chance. RDMA
     is flat while the cards at both ends know all connections, and grows by a trip over PCIe at
     either end when they do not: 1.2 to 1.6 us for a read at 1,000 processes. The text gives no
     figure for it, and none for how many connections a card holds, so where the curve bends is
     assumed; more than two trips per request (work queues that fall out of the cache too) would
     make it steeper. Clio has no state that could be missed and is flat.`,
    `Simulator: 1 to 1,000 clients, each with its socket, its ids and its windows, under the same
     load. Flat as well: nothing in the node depends on their number. ${PROCESSOR_TIME} The step
     from 1 to 10 clients is the queue of four requests at the node's one thread, not their
     number.`,
  ],
  '4.5': [
    `Models: RDMA bends where the text says, at 2^8 and 2^12. Regions cost twice what pages cost,
     because each has a translation of its own too: the card reads one and then the other. Beyond
     2^18 the card refuses, and the curve ends. Clio's two levels are one access to its memory
     apart, and between 2^4 and 2^8 pages some of them still hit. The dissertation draws the
     second level as a step, which random accesses to 2^5 pages through 2^4 entries cannot show.`,
    `Simulator: flat by construction of the node, where every access is one look at one bucket;
     what a processor's caches add is in the measured curves alone. Fewer pages, of 64 KiB,
     because the simulator's memory is real.`,
  ],
  '4.6': [
    `Models: RDMA's fault comes out at 16.78 ms because the request is dropped and sent again
     after 4.096 us x 2^12, InfiniBand's local time-out with exponent 12. That the 16.8 ms of the
     text are this time-out is our inference; nothing else we know of gives that number. Clio's
     fault is a miss and three cycles of 4 ns, as long as a prepared page is there: first touches
     come 30 us apart here. One after the other without a pause they use up the thirty prepared
     pages within some 60 us, and then each waits for the ARM, at up to 20 us a page: the text's
     argument, that pages are made faster than the line brings data, holds for pages that are
     filled and not for pages that are only touched.`,
    `The projected ASIC reads a little faster than RDMA and writes slower, as in the text; that
     the first is so was used to choose two constants (the card and the vendor's MAC), the second
     came out by itself.`,
    `Simulator: a first write takes a frame from the ring and costs no message more. With neither
     TLB nor registration there is nothing to be missed. Without pauses our ring runs dry too,
     and the write comes again after a moment.`,
  ],
  '4.7': [
    `Models: the load touches 2^9 pages by chance, so the smaller card misses for half of its
     reads and Clio for nearly all. Clio's tail is bounded: what is left of a refresh of its
     memory, 0.35 us at most. RDMA's is a miss, a refresh and the spread of PCIe. The
     dissertation's tail of RDMA is much longer; what makes it (pauses by congestion, the host's
     other traffic, a card's internal scheduling) is in no source that we could take constants
     from, so the model lacks it.`,
    `Simulator: the tail is queueing alone, as nobody's processor is interrupted. With processor
     time the steps are one, two or three requests ahead at the node.`,
  ],
  '4.8': [
    `Models: Clio's 9.4 Gbit/s is not put in: it comes out of 1 KiB in frames of 1,090 bytes (38
     of Ethernet, 28 of Clio) on 10 Gbit/s. Asynchronous threads reach it at once, synchronous
     ones with four or eight. RDMA's card has 40 Gbit/s and is bounded by that.`,
    `Simulator: the protocol alone fills the link as Clio does; without Ethernet's framing, which
     the simulated network does not count. With processor time ours is bounded by the node's one
     thread: 4.85 us for a datagram, and a KiB is one datagram where a path takes 1,500 bytes.
     Asynchronous reads do better where several requests share a datagram, which depends on who
     waits for whom: this curve is not smooth, and not to be read closely. With sixteen threads
     of sixteen writes each, more is under way than the node's socket keeps (208 KiB), as a queue
     of a millisecond is allowed: datagrams are dropped and sent again.`,
  ],
  '4.10': [
    `Models: beside the artifact's published runs Clio's reads lie within a fifth up to 1 KiB:
     its bytes wait to be stored at the MAC, at the switch's slower port and on the wire, 2 ns
     each. At 4 KiB the artifact takes 10.1 us and the model 6.9: three packets overlap in the
     model, and hardly do in the board's DMA. RDMA has 40 Gbit/s all the way, so it grows by a
     fourth of that.`,
    `Simulator: the protocol alone is below both models since nobody in it needs time to work;
     ${PROCESSOR_TIME} Above 1 KiB a read is several parts, each in a datagram.`,
  ],
  '4.11': [
    `Models: RDMA's writes are answered before they are in memory, so short ones take half of a
     read; longer than 220 bytes the sender's card fetches them first. Clio's writes are stored
     at the switch and not at the MAC, and so are faster than its reads: within an eighth of the
     artifact's runs up to 1 KiB, and 5.9 instead of 10.3 us at 4 KiB, as with reads.`,
    `Simulator: as reads, whose bytes go the other way. Of the record of changes only its
     processor time could be seen, and that is within 0.42 us.`,
  ],
  '4.12': [
    `Models: Clio's allocation crosses twice to the ARM (40 us each) and looks at every page of a
     range; 2 us a page is what makes 0.5 ms of a retry of 1 GiB and "a few microseconds" of one
     page, both in the text. Registration is a system call and 0.15 us for each 4 KiB that is
     pinned, which is assumed; with pages on demand it is the call alone, and the page fault of
     figure 4.6 comes later. Freeing was given the constants of allocating.`,
    `Simulator: two calls, and a thread that is woken to choose an address, within 1 to 50 us.
     All of the spread is that. It does not grow with the size, as looking at pages takes no time
     there.`,
  ],
  '4.13': [
    `Both are played with whole tables, by the same hash. Clio: 2^18 pages of 4 MB, buckets of
     16, twice as many entries as pages; a search begins anew behind the page whose bucket is
     full. None below half, and up to some forty for 1 GiB close to full, where the text has 60
     at most; the sizes of its allocations are not stated. One page at a time there is hardly
     ever one.`,
    `Ours is the chooser that memory nodes run, on a table with four entries per frame: full
     memory is a table that is a quarter full, with next to no retries. Twice the memory, which
     may be allocated, fills it as Clio's is when memory is full, with about as many retries. On
     a table of Clio's size our search has fewer: a bucket that the range itself has filled costs
     the pages up to the one that went into it, not the whole range.`,
  ],
  '4.14': [
    `Model: which part of the board's fixed time is the network stack's is not stated; that
     station was given what is left of the artifact's 2.03 us when everything else is counted, so
     its height is no finding. What grows with the size does so by the model: the wire, and the
     frame that the MAC stores (rest of the node). The text has memory among the largest parts,
     with its slow controller; here it is 0.2 us, because an access is taken to be the artifact's
     0.13 us.`,
    `Simulator: the client's and the node's parts are what each adds when its processor time is
     counted. The stations within the node are measured, not simulated.`,
  ],
  '4.16': [
    `Models: waiting for memory alone; compressing takes the same with any of them. An image is
     102 transfers of 4 KiB here, one after the other, and of four clients at work by chance, each
     with two registrations and pages of 2 MiB (Clio: of 4). RDMA's smaller card has outgrown its
     caches with 200 clients, which costs a fraction of a transfer's time: the text's rise must
     come from smaller pages or smaller transfers than these, of which it says nothing.`,
  ],
};

function rows(who: string, table: Readonly<Record<string, Constant>>): string[] {
  return Object.entries(table).map(([name, { value, unit, basis, source }]) => {
    const amount = unit === '' ? `${value}` : `${value} ${unit}`;
    return `${who}, \`${name}\`: ${amount}, ${basis}; ${source}.`;
  });
}

/** All constants of the models, one paragraph each: a list for the end of the page. */
export function constantsList(): string[] {
  const cards = [LOCAL_CARD, CLOUD_CARD].flatMap(({ name, connections, regions, translations }) =>
    rows(name, { connections, regions, translations }),
  );
  return [
    ...rows('Network', NETWORK),
    ...rows('Memory', DRAM),
    ...rows('RDMA', RDMA),
    ...cards,
    ...rows('Clio', CLIO),
    ...rows('Memrack, one side', { ...OUR_WORK }),
  ];
}

/** What stands above that list. */
export const ABOUT_CONSTANTS: readonly string[] = [
  `Every constant of the models stands in src/sim/hardware/constants.ts, and here. Stated: a
   source says so. Derived: follows from what sources say. Fitted: chosen so that one stated time
   comes out, which the source names; such a time is then no finding. Assumed: of the usual order
   of magnitude, and no more. HERD, Clover and LegoOS, which the dissertation compares too, have
   no model here.`,
];
