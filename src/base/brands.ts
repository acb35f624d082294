/**
 * Numbers that must not be mixed up, told apart by the compiler and free at run time.
 *
 * All are integers below 2^53: a bigint would cost two to five times as much in the codecs.
 */

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** A byte address in an address space. */
export type VirtualAddress = Branded<number, 'VirtualAddress'>;
/** A virtual address divided by the page size. */
export type PageNumber = Branded<number, 'PageNumber'>;
/** The place of a frame in a memory node: its byte offset divided by the page size. */
export type FrameIndex = Branded<number, 'FrameIndex'>;
/** The number that the controller gave to an address space; never used twice. */
export type SpaceId = Branded<number, 'SpaceId'>;
/** A virtual address divided by `REGION_BYTES`. */
export type RegionIndex = Branded<number, 'RegionIndex'>;
/** A version of an ownership: who holds a lower one changes nothing any more. */
export type Epoch = Branded<number, 'Epoch'>;
/** A random number that a client process gives itself at start; 53 bits. */
export type ClientId = Branded<number, 'ClientId'>;
/** The name of a memory node or host in this rack. */
export type NodeId = Branded<string, 'NodeId'>;
