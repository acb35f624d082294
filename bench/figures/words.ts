/**
 * What the page says of each figure: the dissertation's claim in our words, how ours was measured,
 * and where its curves and the models' part.
 */

import type { Words } from './page.js';
import type { FigureName } from './series.js';

const LOAD_OF_ONE = `one operation after the other, in turns of at most 60 ms; of every turn the
  median, which pauses of the machine hardly move`;

export const WORDS: Readonly<Record<FigureName, Words>> = {
  '4.4': {
    claim: `RDMA needs a connection (queue pair) of each client process in the card, whose cache
      they outgrow, so latency rises with the number of processes, also with newer cards. Clio is
      connectionless and stays flat to 1,000 (section 4.7.1).`,
    measured: `16 B, up to 1,000 clients in eight processes, each with a socket and ids of its own
      (over tcp with a connection of its own). All clients together make 3,000 operations a second,
      one at a time and each through another client in turn, so that what is seen is what a client
      costs by being there. The dissertation does not say how its processes were loaded; a latency
      that stays flat to 1,000 of them leaves no other way. An operation that could not start
      because the one before it was late counts from when it was due.`,
    differences: [
      `What a client costs a node over udp are rows of a record of fixed size, and those by time and
       not by client; over tcp it is a connection with its buffers, in the kernel and in the node.
       Neither has to fit into a card: where a curve rises here, what is colder are the caches of
       the processors, for the kernel's socket, the client's own tables and its code, which each
       operation finds as the last of this client left them. Of 1,000 clients each waits for
       999 others before its next turn. The model of RDMA misses in the card's cache at such turns,
       and pays a round trip over the bus each time.`,
    ],
  },
  '4.5': {
    claim: `RDMA slows down beyond 2^8 pages or regions (2^12 on a newer card), worse with regions,
      of which it takes at most 2^18. Clio has two levels: hits of its TLB, below 2^4 pages, and
      misses, which always cost one access to DRAM, whatever the number (section 4.7.1).`,
    measured: `16 B reads, ${LOAD_OF_ONE}. Pages: 2^0 to 2^14 touched pages of 64 KiB, drawn at
      random. Regions: windows over one line of 64 B each, side by side in few pages, 2^0 to 2^12
      of them, drawn at random; a window is our registration: a right to a range, that the node
      checks at each access.`,
    differences: [
      `The node looks a page up in one bucket of a flat hash table, and a window in one record of a
       table: as in Clio's board one access to memory, however many there are. It has no TLB of its
       own; the caches of the processor take that part, with steps where a level is outgrown.
       Beside the microseconds of the loopback such a step can hardly be seen; over shared memory,
       with nothing to hide it, 2^14 pages take half a microsecond more than one, and 2^12 windows
       a microsecond and a half: several lines in a row that no cache has. With more pages more of
       the data itself is cold, too, which is the memory's part and not the table's.`,
      `Clio shows 4 TB by mapping a large range to little memory. Our table has four entries per
       frame that a node lends and no more, so the number of pages ends with the memory of the
       machine; it cannot degrade beyond that, as there is no beyond. A client may have 4,096
       windows open at a node, and a node 2^16.`,
    ],
  },
  '4.6': {
    claim: `RDMA gets much slower at each miss, and a page fault takes it 16.8 ms, for the host's
      operating system has to help. Clio pays one access to DRAM at a miss of its TLB, and nothing
      more at a first access, because free pages lie ready (sections 4.4.3 and 4.7.1).`,
    measured: `16 B, ${LOAD_OF_ONE}. TLB hit: one address again and again. TLB miss: any of 2^14
      pages, so that the bucket of the table and the data are cold. Page fault: each page for the
      first time since it was allocated, 512 of them. MR miss: the first operation of a new client,
      which learns from the controller who has the region, connects to that node and opens its
      window; eight new clients in each turn.`,
    differences: [
      `A first write takes a zeroed frame from a ring that another thread keeps full, as Clio's
       board takes a free page from its own: no system call, no other machine. A first read takes
       no frame at all: it finds the entry without one and gives zeros. The machine gives memory
       when the other thread fills the ring, and that thread shares the two cores with the node.
       Over shared memory a first write is a message to the node, which alone gives frames to
       pages; every later one is the client's own.`,
      `The last column is another thing than a miss of a region's registration in a card, which
       comes again and again as soon as there are too many of them: ours happens once per client and
       region, and again only when the region has moved. It costs some messages, among them those
       that set a connection up; over shared memory also the mapping of the node's files, which is
       nearly all of it.`,
    ],
  },
  '4.7': {
    claim: `Clio's latency hardly varies, because its pipeline has no stalls, no interrupts and no
      operating system; RDMA's tail is much longer, even without page faults (section 4.7.1).`,
    measured: `16 B, 20,000 operations a second are due at fixed times, 40,000 of each kind and
      round; all rounds together make the curve. One that could not start because the one before it
      had not ended counts from when it was due: otherwise a pause of a millisecond would count
      once, and not for the twenty that it held up (coordinated omission).`,
    differences: [
      `Up to the median ours is as steep as a pipeline's: the same instructions each time, polled
       for on both sides. The tail is that of the machine: processes are interrupted, moved and made
       to wait by its scheduler, collections of garbage stop a client for some hundred
       microseconds, and the virtual machine itself is put aside by its host. Nothing of it comes
       from the number of clients or pages. In the simulator, where processors are never
       interrupted, that tail is absent.`,
    ],
  },
  '4.8': {
    claim: `With 1 KiB requests Clio's asynchronous interface reaches the port's line rate (9.4
      Gbit/s) with few client threads, and its synchronous one with some more (section 4.7.1).`,
    measured: `1 KiB, clients with sockets and ids of their own, all in one process on one core, the
      node on the other: more processes than cores would measure who gets a turn. One at a time:
      every client awaits each operation. Async: 64 under way for each client.`,
    differences: [
      `There is no line whose rate could be reached: the limits are the instructions that one core
       has for all clients and another for the node, most of them in the kernel for udp and tcp.
       One at a time, the first client leaves both cores waiting for each other; more clients fill
       those gaps until one core is busy, and then the curve is flat. Asynchronous clients have no
       gaps from the first one on. Over shared memory there is no node in the way: what is copied
       is limited by the client's core alone, and more clients on that core change nothing.`,
      `Asynchronous reads over udp are far below writes. The node keeps nothing of a client, so not
       the length that its path takes either: an answer is at most as long as the datagram that
       asks. Requests to write carry their KiB and are long; those to read are short, so two KiB
       go to a datagram on the way back, and datagrams are what the kernel's network stack costs.
       Over tcp there is no such bound.`,
    ],
  },
  '4.10': {
    claim: `Reads of Clio are close to native RDMA and to HERD; HERD on a SmartNIC and LegoOS, whose
      address translation is software, are about twice as slow for small requests (section 4.7.1).`,
    measured: `Reads of 4 B to 1 MiB upon touched memory, ${LOAD_OF_ONE}.`,
    differences: [
      `A small read takes what two passes through the kernel's network stack and two wake-ups by
       polling take, so its size does not matter below some KiB, as on Clio's wire. Beyond that
       copies and checksums grow with the size: two copies by the kernel and one by each side, and
       CRC-32C on both. Over udp everything above the size of a datagram goes as several parts.
       Reads over shared memory are copies by the client's own thread.`,
    ],
  },
  '4.11': {
    claim: `Writes of Clio take about as long as its reads; RDMA's are faster, as its card answers
      before the data is in memory; Clover needs two round trips or more (section 4.7.1).`,
    measured: `Writes of 4 B to 1 MiB upon touched memory, ${LOAD_OF_ONE}.`,
    differences: [
      `A write is answered when the bytes are in the node's memory, so it takes what a read takes.
       What is added over udp is a row in the node's record, by which a repetition is known. A write
       of several pieces (more than 64 KiB, or over a border of pages) first asks the node to set
       frames aside, which is one more round trip: a step in the curve that neither Clio nor RDMA
       has, and the reason why such a write never runs out of memory halfway.`,
    ],
  },
  '4.12': {
    claim: `Allocating physical memory takes Clio less than 20 us; its virtual allocation is much
      faster than registering memory for RDMA; both grow with size (section 4.7.1).`,
    measured: `Allocations of 2 MiB to 1 GiB in pages of 2 MiB, each freed at once; medians of
      twelve. Over udp, too, these calls go over the link's stream.`,
    differences: [
      `An allocation is two calls: the first finds an address and writes the entries of the page
       table, the second confirms it, so that a client that dies in between leaves nothing. The
       first waits for the thread that chooses addresses, which sleeps when there is nothing to do.
       These hand-overs are most of the time of a small allocation, and entries are written at some
       nanoseconds each, so that growth is seen only towards 512 pages; when they are freed none is
       seen. Registration of RDMA pins every 4 KiB, and grows with the size from the start. Frames
       are not part of it: they come at the first write (figure 4.6).`,
    ],
  },
  '4.13': {
    claim: `An allocation whose pages would overflow a bucket of the hash table is tried elsewhere.
      Clio needs no retry below half of the memory, and at most 60 even close to full, of about
      0.5 ms each (section 4.7.1).`,
    measured: `A node that lends 2 GiB in pages of 512 KiB is filled with allocations of one size
      until it refuses, through the same calls that programs use; the node counts retries. At
      100 percent as many pages are allocated as there are frames; a node allocates twice as many,
      because many stay untouched.`,
    differences: [
      `Clio's table has twice as many entries as there are pages in memory, ours four times as many
       as frames; so at 100 percent ours is a quarter full, and half full when the node refuses.
       A retry is not a new attempt either: the search is one pass over the region, in which a full
       bucket pushes the window on by as many pages as it must, within some nanoseconds.`,
    ],
  },
  '4.14': {
    claim: `Of the time at Clio's board most goes to DRAM and to the wire, the more the larger the
      request; a TLB miss is one access to DRAM. The client's library adds 250 ns (section 4.7.1).`,
    measured: `Over udp. The node times its stations for every request: network stack (form,
      checksum, cookie, reply and handing it to the system), translation (window and page table),
      memory access, the rest (its record of changes). Network: median round trip of a short ping
      without what the node was at work on it, sending included, so both kernels and the wake-ups.
      Client: what is left of the median latency; the ping's own client is in the network.`,
    differences: [
      `The order is turned around: what is most of Clio's time, memory, is the smallest part of
       ours, and what Clio's hardware has done away with, the operating system's network stack, is
       nearly all of it. Translation is one look at one bucket in both. The node's own network
       stack contains the system call that sends the reply, which carries a datagram over the
       loopback into the client's socket: on real wires that part would be the card's.`,
    ],
  },
  '4.16': {
    claim: `A utility that compresses and decompresses images, with a process and protected memory
      for each client: with Clio the run time of a client stays the same up to 200 clients, with
      RDMA it rises, as each client's memory is a registration of its own and the card cannot hold
      them all (section 4.7.2; the text states no figures).`,
    measured: `The service in examples/image-compression with 1 to 200 clients, a process each with
      windows over its own collection; 20 images of 256 x 256 pixels per client (the text has
      1,000), tiles of photographs. All clients on one core, the rack on the other. By turns: ten
      of the clients run, one after the other. All at once: all of them together. First all rounds
      over tcp, then all over shm: 400 processes at a time do not fit into the machine.`,
    differences: [
      `By turns a client takes the same time whatever their number: a client that waits costs the
       node a connection, two windows and its memory, and neither is looked through. All at once
       the run time is the number of clients times that of one: two hundred programs that compress
       share one core, which the machines of the dissertation's clients had more of. What the
       memory adds to that does not grow. Nearly all of the run time is compressing, as JPEG takes
       some milliseconds per image; over tcp 408 KiB per image are carried by two kernels, over
       shared memory they are copied.`,
    ],
  },
};
